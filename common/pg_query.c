/* SPDX-License-Identifier: MIT */
#include "common/pg_query.h"

int
pg_query(struct pool *pool, int64_t deadline_ns,
	const struct pg_statement *statement, const char *const *values,
	PGresult **ret, struct error *err)
{
	const struct pg_wait wait = { deadline_ns, -1 };
	const struct pg_params params = {
		.values = values,
		.binary_result = true,
	};
	struct pool_entry *entry;
	int rc = pool_acquire(pool, statement->name, deadline_ns, &entry, err);

	if (rc != 0)
		return rc;
	struct pg_conn *conn = entry->resource;

	rc = pg_execute(conn, &wait, statement, &params, ret, err);
	pool_release(pool, &entry, pg_verdict(conn, rc));
	return rc;
}
