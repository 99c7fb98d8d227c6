/* SPDX-License-Identifier: MIT */
#include "common/schema.h"

#include "common/clock.h"
#include "common/embed.h"
#include "common/pg.h"

#include <inttypes.h>
#include <stdio.h>

EMBED(schema_0001_initial, "common/schema/0001_initial.sql");
EMBED(schema_0002_rebuild, "common/schema/0002_rebuild.sql");
EMBED(schema_0003_dead_letters, "common/schema/0003_dead_letters.sql");
EMBED(schema_0004_counted, "common/schema/0004_counted.sql");
EMBED(schema_0005_newest_message, "common/schema/0005_newest_message.sql");
EMBED(schema_0006_role, "common/schema/0006_role.sql");

/*
 * In the order of their numbers, which are 1, 2, 3 ...: a new file needs a
 * row here (a test counts), an applied one is never changed.
 */
static const struct migration {
	const char *name;
	const char *sql;
} migrations[] = {
	{ "0001_initial", schema_0001_initial },
	{ "0002_rebuild", schema_0002_rebuild },
	{ "0003_dead_letters", schema_0003_dead_letters },
	{ "0004_counted", schema_0004_counted },
	{ "0005_newest_message", schema_0005_newest_message },
	{ "0006_role", schema_0006_role },
};

static const struct pg_statement record = {
	.name = "schema_record",
	.sql = "INSERT INTO schema_migration (version, name)"
	       " VALUES ($1, $2)",
	.n_params = 2,
};

static const struct pg_statement newest = {
	.name = "schema_newest",
	.sql = "SELECT coalesce(max(version), 0)::integer"
	       " FROM schema_migration",
};

/*
 * A migration may take its time, and so may the one of the other daemon that
 * this one waits for: the caller's deadline is the only limit.
 */
static const char begin[] =
	"BEGIN;"
	"SET LOCAL statement_timeout = 0;"
	"SET LOCAL lock_timeout = 0;"
	"SELECT pg_advisory_xact_lock(%d);"
	"SET LOCAL client_min_messages = warning;"
	"CREATE TABLE IF NOT EXISTS schema_migration ("
	"    version integer PRIMARY KEY,"
	"    name text NOT NULL,"
	"    applied_at timestamptz NOT NULL DEFAULT now())";

int
schema_apply(struct pool *pool, const struct pg_wait *wait, int *ret_applied,
	struct error *err)
{
	struct pool_entry *entry;
	int rc = pool_acquire(pool, "schema", wait->deadline_ns, &entry, err);

	if (rc != 0)
		return rc;
	struct pg_conn *conn = entry->resource;
	rc = schema_migrate(conn, wait, ret_applied, err);
	pool_release(pool, &entry, pg_verdict(conn, rc));
	return rc;
}

int
schema_version(void)
{
	return (int)ARRAY_SIZE(migrations);
}

static int
command(struct pg_conn *conn, const struct pg_wait *wait, const char *sql,
	struct error *err)
{
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;

	return pg_command(conn, wait, sql, &result, err);
}

static int
read_newest(struct pg_conn *conn, const struct pg_wait *wait, int *ret_version,
	struct error *err)
{
	static const struct pg_params params = { .binary_result = true };
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	const int rc = pg_execute(conn, wait, &newest, &params, &result, err);

	if (rc == 0)
		*ret_version = pg_int4(result, 0, 0);
	return rc;
}

static int
apply(struct pg_conn *conn, const struct pg_wait *wait, int version,
	struct error *err)
{
	const struct migration *migration = &migrations[version - 1];
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	char number[16];
	const char *values[] = { number, migration->name };
	const struct pg_params params = { .values = values };
	int rc;

	(void)snprintf(number, sizeof(number), "%d", version);
	rc = command(conn, wait, migration->sql, err);
	if (rc == 0)
		rc = pg_execute(conn, wait, &record, &params, &result, err);
	return rc;
}

/* In a transaction that holds the lock: apply the next one, if any. */
static int
step(struct pg_conn *conn, const struct pg_wait *wait, bool *ret_applied,
	struct error *err)
{
	int version = 0;
	int rc = read_newest(conn, wait, &version, err);

	if (rc != 0)
		return rc;
	if (version > schema_version())
		return error_set(err, ERROR_CONFIG_INVALID,
			"the database's schema is version %d, this program "
			"knows up to %d: run the newer program",
			version, schema_version());
	*ret_applied = version < schema_version();
	return *ret_applied ? apply(conn, wait, version + 1, err) : 0;
}

static int
step_in_transaction(struct pg_conn *conn, const struct pg_wait *wait,
	bool *ret_applied, struct error *err)
{
	struct error ignored;
	char sql[sizeof(begin) + 16];
	int rc;

	(void)snprintf(sql, sizeof(sql), begin, SCHEMA_LOCK_MIGRATION);
	rc = command(conn, wait, sql, err);
	if (rc == 0)
		rc = step(conn, wait, ret_applied, err);
	if (rc == 0)
		return command(conn, wait, "COMMIT", err);
	/* if this fails too, pg_verdict() sees the open transaction */
	(void)command(conn, wait, "ROLLBACK", &ignored);
	return rc;
}

int
schema_migrate(struct pg_conn *conn, const struct pg_wait *wait,
	int *ret_applied, struct error *err)
{
	int applied = 0;

	for (;;) {
		bool more = false;
		const int rc = step_in_transaction(conn, wait, &more, err);

		if (rc != 0)
			return rc;
		if (!more)
			break;
		applied++;
	}
	*ret_applied = applied;
	return 0;
}
