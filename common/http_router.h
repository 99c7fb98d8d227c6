/* SPDX-License-Identifier: MIT */
/*
 * http_router - from method and path to a row of the route table.
 *
 * A path matches literally or by segments; a literal template wins over one
 * with parameters.  Immutable once made: any thread.
 */
#ifndef COMMON_HTTP_ROUTER_H
#define COMMON_HTTP_ROUTER_H

#include "common/http.h"
#include "common/http_check.h"

#define ROUTER_PARAMS_MAX 4

struct router;

struct router_match {
	const struct http_route *route; /* NULL: no such path, or not for it */
	size_t index;                   /* of route in the table */
	unsigned allow; /* methods of this path; 0: no such path */
	struct router_param {
		const char *name; /* without its braces, name_len bytes */
		size_t name_len;
		const char *value; /* in the path, still percent-encoded */
		size_t value_len;
	} params[ROUTER_PARAMS_MAX];
	unsigned n_params;
};

/*
 * Keeps the routes that have all flags of `with` and none of `without`.
 * `routes` is borrowed.  A malformed template is a programming error.
 */
struct router *router_new(const struct http_route *routes, size_t n_routes,
	unsigned with, unsigned without);
void router_free(struct router *router);

/* *ret is always set.  OPTIONS is never a route's: route NULL, allow set. */
void router_find(const struct router *router, enum http_method method,
	const char *path, struct router_match *ret);

/* "GET, HEAD, OPTIONS" */
#define ROUTER_ALLOW_SIZE 64
void router_format_allow(unsigned allow, char buf[ROUTER_ALLOW_SIZE]);

/* Every method some route takes, for `OPTIONS *`. */
unsigned router_methods(const struct router *router);

#endif
