/* SPDX-License-Identifier: MIT */
#include "api/routes.h"

#include "api/admin.h"
#include "api/console.h"
#include "api/event_board.h"
#include "api/issue.h"
#include "api/levers.h"
#include "api/queries.h"
#include "common/actuator.h"

#include <assert.h>

/* clang-format off */
static const struct http_route own[] = {
	{ "POST", "/api/user-coupons/issue-async", issue_post, HTTP_JSON_BODY },
	{ "GET", "/api/user-coupons/{couponId}/{userId}", status_get, 0 },
	{ "GET", "/api/user-coupons", user_coupons_list, 0 },
	{ "GET", "/api/coupons/{id}", coupon_get, 0 },
	{ "GET", "/api/coupons", coupons_list, 0 },
	{ "POST", "/api/coupons", coupon_post, HTTP_ADMIN | HTTP_JSON_BODY },
	{ "POST", "/api/coupons/{id}/open", coupon_open_post, HTTP_ADMIN },
	{ "POST", "/api/coupons/{id}/close", coupon_close_post, HTTP_ADMIN },
	{ "PUT", "/api/coupons/{id}/total", coupon_total_put,
		HTTP_ADMIN | HTTP_JSON_BODY },
};
/* clang-format on */

/* Those of /actuator and /console. */
#define OPERATOR_MAX 40

static struct http_route table[ARRAY_SIZE(own) + OPERATOR_MAX];

static void
add(size_t *n, const struct http_route *more, size_t n_more)
{
	assert(n_more <= ARRAY_SIZE(table) - *n);
	memcpy(&table[*n], more, n_more * sizeof(table[0]));
	*n += n_more;
}

const struct http_route *
routes(size_t *ret_count)
{
	size_t n = 0;

	add(&n, own, ARRAY_SIZE(own));
	add(&n, actuator_routes, actuator_n_routes);
	add(&n, levers_routes, levers_n_routes);
	add(&n, event_board_routes, event_board_n_routes);
	add(&n, console_routes, console_n_routes);
	*ret_count = n;
	return table;
}
