/* SPDX-License-Identifier: MIT */
/*
 * pg_query - one statement on a connection borrowed just for it.
 *
 * For threads that may block; any of them.
 */
#ifndef COMMON_PG_QUERY_H
#define COMMON_PG_QUERY_H

#include "common/compiler.h"
#include "common/pg.h"

#include <stdint.h>

/*
 * Borrow from `pool`, run, give back.  `values` are text parameters, as many
 * as the statement has; results are binary.  Errors are pool_acquire()'s and
 * pg_execute()'s; *ret as the latter's.
 */
int pg_query(struct pool *pool, int64_t deadline_ns,
	const struct pg_statement *statement, const char *const *values,
	PGresult **ret, struct error *err) NODISCARD;

#endif
