/* SPDX-License-Identifier: MIT */
#include "common/http_router.h"
#include "common/tests/unit.h"

#include <string.h>

static void
handler(struct http_request *req UNUSED)
{
}

static const struct http_route routes[] = {
	{ "GET", "/coupons/{id}", handler, 0 },
	{ "PUT", "/coupons/{id}", handler, 0 },
	{ "GET", "/coupons", handler, 0 },
	{ "POST", "/coupons", handler, 0 },
	{ "POST", "/coupons/{id}/open", handler, 0 },
	{ "GET", "/coupons/special", handler, 0 },
	{ "GET", "/users/{couponId}/{userId}", handler, 0 },
	{ "GET", "/metrics/{*name}", handler, HTTP_MANAGEMENT },
};

/* The template found for it, or "404", "405". */
static const char *
find(const struct router *router, enum http_method method, const char *path)
{
	struct router_match match;

	router_find(router, method, path, &match);
	if (match.route == NULL)
		return match.allow == 0 ? "404" : "405";
	assert_ptr_equal(match.route, &routes[match.index]);
	return match.route->template;
}

static void
the_most_literal_template_wins(void **state UNUSED)
{
	struct router *router = router_new(routes, ARRAY_SIZE(routes), 0, 0);
	static const struct {
		enum http_method method;
		const char *path;
		const char *template;
	} rows[] = {
		{ HTTP_GET, "/coupons", "/coupons" },
		{ HTTP_HEAD, "/coupons", "/coupons" },
		{ HTTP_POST, "/coupons", "/coupons" },
		{ HTTP_DELETE, "/coupons", "405" },
		{ HTTP_OPTIONS, "/coupons", "405" },
		{ HTTP_OTHER, "/coupons", "405" },
		{ HTTP_GET, "/coupons/7", "/coupons/{id}" },
		{ HTTP_PUT, "/coupons/7", "/coupons/{id}" },
		{ HTTP_GET, "/coupons/special", "/coupons/special" },
		{ HTTP_PUT, "/coupons/special", "405" },
		{ HTTP_GET, "/coupons/", "404" },
		{ HTTP_GET, "/coupons/7/", "404" },
		{ HTTP_POST, "/coupons/7/open", "/coupons/{id}/open" },
		{ HTTP_GET, "/coupons/7/open", "405" },
		{ HTTP_POST, "/coupons//open", "404" },
		{ HTTP_GET, "/users/1/2", "/users/{couponId}/{userId}" },
		{ HTTP_GET, "/users/1", "404" },
		{ HTTP_GET, "/users/1/2/3", "404" },
		{ HTTP_GET, "/metrics/a/b.c", "/metrics/{*name}" },
		{ HTTP_GET, "/metrics/", "404" },
		{ HTTP_GET, "/metrics", "404" },
		{ HTTP_GET, "/", "404" },
		{ HTTP_GET, "", "404" },
		{ HTTP_GET, "/couponsX", "404" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *found = find(router, rows[i].method, rows[i].path);

		if (strcmp(found, rows[i].template) != 0)
			fail_msg("%s: %s, not %s", rows[i].path, found,
				rows[i].template);
	}
	router_free(router);
}

static void
parameters_are_where_the_template_has_them(void **state UNUSED)
{
	struct router *router = router_new(routes, ARRAY_SIZE(routes), 0, 0);
	struct router_match match;

	router_find(router, HTTP_GET, "/users/12/x%2Fy", &match);
	assert_int_equal(match.n_params, 2);
	assert_memory_equal(match.params[0].name, "couponId", 8);
	assert_int_equal(match.params[0].name_len, 8);
	assert_int_equal(match.params[0].value_len, 2);
	assert_memory_equal(match.params[0].value, "12", 2);
	assert_int_equal(match.params[1].value_len, 5);
	assert_memory_equal(match.params[1].value, "x%2Fy", 5);
	router_find(router, HTTP_GET, "/metrics/a/b", &match);
	assert_int_equal(match.n_params, 1);
	assert_memory_equal(match.params[0].name, "name", 4);
	assert_int_equal(match.params[0].value_len, 3);
	router_free(router);
}

static void
allow_lists_the_methods_of_a_path(void **state UNUSED)
{
	struct router *router = router_new(routes, ARRAY_SIZE(routes), 0, 0);
	struct router_match match;
	char allow[ROUTER_ALLOW_SIZE];

	router_find(router, HTTP_DELETE, "/coupons/7", &match);
	router_format_allow(match.allow, allow);
	assert_string_equal(allow, "GET, HEAD, PUT, OPTIONS");
	router_find(router, HTTP_GET, "/nowhere", &match);
	assert_int_equal(match.allow, 0);
	router_format_allow(~0U, allow);
	assert_string_equal(
		allow, "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS");
	router_free(router);
}

static void
flags_choose_the_routes_of_a_server(void **state UNUSED)
{
	struct router *with =
		router_new(routes, ARRAY_SIZE(routes), HTTP_MANAGEMENT, 0);
	struct router *without =
		router_new(routes, ARRAY_SIZE(routes), 0, HTTP_MANAGEMENT);

	assert_string_equal(find(with, HTTP_GET, "/coupons"), "404");
	assert_string_equal(
		find(with, HTTP_GET, "/metrics/a"), "/metrics/{*name}");
	assert_string_equal(find(without, HTTP_GET, "/coupons"), "/coupons");
	assert_string_equal(find(without, HTTP_GET, "/metrics/a"), "404");
	router_free(with);
	router_free(without);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_most_literal_template_wins),
		cmocka_unit_test(parameters_are_where_the_template_has_them),
		cmocka_unit_test(allow_lists_the_methods_of_a_path),
		cmocka_unit_test(flags_choose_the_routes_of_a_server),
	};

	return cmocka_run_group_tests_name("http_router", tests, NULL, NULL);
}
