/* SPDX-License-Identifier: MIT */
/*
 * routes - which handler answers what: docs/architecture.md's table, as data.
 */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "common/http.h"

#include <stddef.h>

/* Ours and the actuator's; static.  Once, at start. */
const struct http_route *routes(size_t *ret_count);

#endif
