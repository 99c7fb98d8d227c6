/* SPDX-License-Identifier: MIT */
#include "common/pg_query.h"

int
pg_query(const struct pg_query *query, PGresult **ret, struct error *err)
{
	const struct pg_wait wait = { query->deadline_ns, -1 };
	const struct pg_params params = {
		.values = query->values,
		.binary_result = true,
	};
	struct pool_entry *entry;
	int rc = pool_acquire(query->pool, query->statement->name,
		query->deadline_ns, &entry, err);

	if (rc != 0)
		return rc;
	struct pg_conn *conn = entry->resource;

	rc = pg_execute(conn, &wait, query->statement, &params, ret, err);
	pool_release(query->pool, &entry, pg_verdict(conn, rc));
	return rc;
}
