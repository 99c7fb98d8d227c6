/* SPDX-License-Identifier: MIT */
#include "common/pg_internal.h"

#include <assert.h>
#include <endian.h>

static bool
is_prepared(const struct pg_conn *conn, const struct pg_statement *statement)
{
	for (size_t i = 0; i < conn->n_prepared; i++)
		if (conn->prepared[i] == statement)
			return true;
	return false;
}

/* libpq took the command, or the connection is gone. */
static int
sent(struct pg_conn *conn, int ok, const char *what, struct error *err)
{
	if (ok != 0)
		return 0;
	conn->dirty = true;
	const int rc = pg_error(conn->raw, ERROR_DATABASE_DOWN, what, err);
	pg_source_failed(conn, err);
	return rc;
}

static int
prepare(struct pg_conn *conn, const struct pg_wait *wait,
	const struct pg_statement *statement, struct error *err)
{
	PGresult *result = NULL;
	int rc;

	assert(conn->n_prepared < PG_STATEMENTS_MAX);
	rc = sent(conn,
		PQsendPrepare(conn->raw, statement->name, statement->sql,
			statement->n_params, NULL),
		statement->name, err);
	if (rc == 0)
		rc = pg_finish(conn, wait, statement->name, &result, err);
	if (rc != 0)
		return rc;
	PQclear(result);
	conn->prepared[conn->n_prepared++] = statement;
	return 0;
}

int
/* NOLINTNEXTLINE(readability-function-size): six parameters, all needed */
pg_execute(struct pg_conn *conn, const struct pg_wait *wait,
	const struct pg_statement *statement, const struct pg_params *params,
	PGresult **ret, struct error *err)
{
	static const struct pg_params none;
	int rc = 0;

	assert(params != NULL || statement->n_params == 0);
	if (params == NULL)
		params = &none;
	if (!is_prepared(conn, statement))
		rc = prepare(conn, wait, statement, err);
	if (rc == 0)
		rc = sent(conn,
			PQsendQueryPrepared(conn->raw, statement->name,
				statement->n_params, params->values,
				params->lengths, params->formats,
				params->binary_result),
			statement->name, err);
	if (rc == 0)
		rc = pg_finish(conn, wait, statement->name, ret, err);
	return rc;
}

int
pg_command(struct pg_conn *conn, const struct pg_wait *wait, const char *sql,
	PGresult **ret, struct error *err)
{
	const int rc = sent(conn, PQsendQuery(conn->raw, sql), "command", err);

	return rc != 0 ? rc : pg_finish(conn, wait, "command", ret, err);
}

enum pool_return
pg_verdict(struct pg_conn *conn, int rc)
{
	const bool survivable = rc == 0 || rc == -ERROR_DATABASE_ERROR;

	/* ACTIVE: a result is still to be read.  INTRANS: one is open. */
	if (survivable && !conn->dirty &&
		PQstatus(conn->raw) == CONNECTION_OK &&
		PQtransactionStatus(conn->raw) == PQTRANS_IDLE)
		return POOL_REUSE;
	return POOL_DESTROY;
}

void
pg_result_cleanup(PGresult **result)
{
	PQclear(*result);
	*result = NULL;
}

static void
read_column(const PGresult *result, int row, int column, void *to, int size)
{
	assert(PQfformat(result, column) == 1);
	assert(PQgetisnull(result, row, column) == 0);
	assert(PQgetlength(result, row, column) == size);
	memcpy(to, PQgetvalue(result, row, column), (size_t)size);
}

int64_t
pg_int8(const PGresult *result, int row, int column)
{
	uint64_t big;

	read_column(result, row, column, &big, sizeof(big));
	return (int64_t)be64toh(big);
}

int32_t
pg_int4(const PGresult *result, int row, int column)
{
	uint32_t big;

	read_column(result, row, column, &big, sizeof(big));
	return (int32_t)be32toh(big);
}

int64_t
pg_timestamp_ms(const PGresult *result, int row, int column)
{
	const int64_t us = pg_int8(result, row, column);
	/* towards the past, also before 2000 */
	const int64_t ms = us / 1000 - (us % 1000 < 0);

	return ms + PG_EPOCH_MS;
}
