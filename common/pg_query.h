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

struct pg_query {
	struct pool *pool;
	int64_t deadline_ns;
	const struct pg_statement *statement;
	const char *const *values; /* text, as many as the statement has */
};

/*
 * Borrow, run, give back.  Results are binary.  Errors are pool_acquire()'s
 * and pg_execute()'s; *ret as the latter's.
 */
int pg_query(const struct pg_query *query, PGresult **ret,
	struct error *err) NODISCARD;

#endif
