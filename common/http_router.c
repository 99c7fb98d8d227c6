/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * Some twenty routes: those without parameters are compared by length, then
 * by bytes, which costs a nanosecond each and needs no tree; the others
 * segment by segment.  All routes of a path are looked at, so that Allow is
 * known for 405 and OPTIONS.
 */
#include "common/http_router.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	const struct http_route *route;
	size_t index;
	size_t len; /* of the template */
	enum http_method method;
	bool is_literal;
};

struct router {
	size_t n_entries;
	struct entry entries[]; /* literal ones first */
};

static void
add(struct router *router, const struct http_route *route, size_t index)
{
	struct entry *entry = &router->entries[router->n_entries++];

	assert(route->template[0] == '/');
	*entry = (struct entry){
		.route = route,
		.index = index,
		.len = strlen(route->template),
		.method = http_method_parse(route->method),
		.is_literal = strchr(route->template, '{') == NULL,
	};
	assert(entry->method != HTTP_OTHER && entry->method != HTTP_OPTIONS);
}

static int
by_literal(const void *a, const void *b)
{
	const struct entry *left = a;
	const struct entry *right = b;

	if (left->is_literal != right->is_literal)
		return left->is_literal ? -1 : 1;
	return (left->index > right->index) - (left->index < right->index);
}

struct router *
router_new(const struct http_route *routes, size_t n_routes, unsigned with,
	unsigned without)
{
	struct router *router = calloc(
		1, sizeof(*router) + n_routes * sizeof(router->entries[0]));

	if (router == NULL)
		return NULL;
	for (size_t i = 0; i < n_routes; i++) {
		if ((routes[i].flags & with) == with &&
			(routes[i].flags & without) == 0)
			add(router, &routes[i], i);
	}
	qsort(router->entries, router->n_entries, sizeof(router->entries[0]),
		by_literal);
	return router;
}

void
router_free(struct router *router)
{
	free(router);
}

/* One "{name}" or "{*rest}" at `*template` against the path at `*path`. */
static bool
match_param(
	const char **template, const char **path, struct router_match *match)
{
	const char *name = *template + 1;
	const char *end = strchr(name, '}');
	bool is_rest = *name == '*';

	assert(end != NULL && match->n_params < ROUTER_PARAMS_MAX);
	if (is_rest)
		name++;
	size_t len = is_rest ? strlen(*path) : strcspn(*path, "/");
	if (len == 0)
		return false;
	match->params[match->n_params++] = (struct router_param){
		.name = name,
		.name_len = (size_t)(end - name),
		.value = *path,
		.value_len = len,
	};
	*template = end + 1;
	*path += len;
	return true;
}

static bool
match_template(
	const char *template, const char *path, struct router_match *match)
{
	match->n_params = 0;
	while (*template != '\0') {
		if (*template == '{') {
			if (!match_param(&template, &path, match))
				return false;
		} else if (*template ++ != *path++) {
			return false;
		}
	}
	return *path == '\0';
}

static unsigned
methods_of(const struct entry *entry)
{
	return entry->method == HTTP_GET ? HTTP_GET | HTTP_HEAD
					 : (unsigned)entry->method;
}

static bool
matches(const struct entry *entry, const char *path, size_t len,
	struct router_match *match)
{
	if (entry->is_literal)
		return entry->len == len &&
		       memcmp(entry->route->template, path, len) == 0;
	return match_template(entry->route->template, path, match);
}

void
router_find(const struct router *router, enum http_method method,
	const char *path, struct router_match *ret)
{
	size_t len = strlen(path);
	unsigned allow = 0;
	bool literal = false;

	ret->route = NULL;
	ret->n_params = 0;
	for (size_t i = 0; i < router->n_entries; i++) {
		const struct entry *entry = &router->entries[i];

		if (literal && !entry->is_literal)
			break; /* "/a/open" is not "/a/{id}" for any method */
		if (!matches(entry, path, len, ret))
			continue;
		literal = entry->is_literal;
		allow |= methods_of(entry) | HTTP_OPTIONS;
		if (methods_of(entry) & method) {
			ret->route = entry->route;
			ret->index = entry->index;
			break;
		}
	}
	ret->allow = allow;
}

void
router_format_allow(unsigned allow, char buf[ROUTER_ALLOW_SIZE])
{
	char *p = buf;

	for (unsigned bit = HTTP_GET; bit <= HTTP_OPTIONS; bit <<= 1) {
		if ((allow & bit) == 0)
			continue;
		if (p != buf)
			p = stpcpy(p, ", ");
		p = stpcpy(p, http_method_name((enum http_method)bit));
	}
	*p = '\0';
}

unsigned
router_methods(const struct router *router)
{
	unsigned methods = HTTP_OPTIONS;

	for (size_t i = 0; i < router->n_entries; i++)
		methods |= methods_of(&router->entries[i]);
	return methods;
}
