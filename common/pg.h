/* SPDX-License-Identifier: MIT */
/*
 * pg - PostgreSQL connections, statements with deadlines, and their pools.
 *
 * All use of libpq is non-blocking under a deadline, and a waiting call can
 * be woken through a file descriptor (a revoked partition must not sit out a
 * dead server).  A pg_conn belongs to one thread at a time: its borrower.
 */
#ifndef COMMON_PG_H
#define COMMON_PG_H

#include "common/compiler.h"
#include "common/pool.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct metrics;
struct settings;
struct pg_conn; /* entry->resource of a pool below */
struct pg_pools;

/* Who is waiting: until when, and what may wake it (fd readable; -1 none). */
struct pg_wait {
	int64_t deadline_ns;
	int cancel_fd;
};

/*
 * The write pool (primary; target_session_attrs=read-write) and the read pool
 * (the replica if configured, else the write pool).  Never waits for a
 * connection unless datasource.hikari.initialization-fail-timeout > 0.
 * `application` is application_name.  Metrics: hikaricp.connections.* with
 * aliases hikari.connections.*, tag pool="postgres" / "postgres-read".
 */
int pg_pools_new(const struct settings *settings, const char *application,
	struct metrics *metrics, struct pg_pools **ret, struct error *err)
	NODISCARD;
void pg_pools_free(struct pg_pools *pools);
bool pg_pools_drain(struct pg_pools *pools, int64_t deadline_ns);
void pg_pools_configure(struct pg_pools *pools,
	const struct settings *settings);
struct pool *pg_write_pool(struct pg_pools *pools);
struct pool *pg_read_pool(struct pg_pools *pools);
bool pg_pools_has_replica(const struct pg_pools *pools);

/*
 * A statement: prepared on first use on each connection under its name.
 * One static const per statement.
 */
struct pg_statement {
	const char *name;
	const char *sql;
	int n_params;
};

struct pg_params {
	const char *const *values;
	const int *lengths; /* may be NULL when formats is */
	const int *formats; /* NULL: all text */
	bool binary_result;
};

/*
 * Run a statement.  0 and *ret (PQclear it) for PGRES_TUPLES_OK and
 * PGRES_COMMAND_OK, or with *ret untouched:
 *   -ERROR_TIMEOUT, -ERROR_CANCELLED  outcome unknown: destroy the connection
 *   -ERROR_DATABASE_DOWN              connection lost, or SQLSTATE 25006,
 *                                     57P01-57P03, 08xxx: destroy it; the whole
 *                                     write pool has been told to reconnect
 *   -ERROR_DATABASE_ERROR             err->code is the SQLSTATE
 */
int pg_execute(struct pg_conn *conn, const struct pg_wait *wait,
	const struct pg_statement *statement, const struct pg_params *params,
	PGresult **ret, struct error *err) NODISCARD;

/*
 * Unprepared, no parameters, may hold several statements (BEGIN, DDL); *ret
 * is the last result.
 */
int pg_command(struct pg_conn *conn, const struct pg_wait *wait,
	const char *sql, PGresult **ret, struct error *err) NODISCARD;

/*
 * How to give a connection back after `rc`: REUSE only if no transaction is
 * open, no result unread, and nothing made it unsafe meanwhile.
 */
enum pool_return pg_verdict(struct pg_conn *conn, int rc);

/* For CLEANUP(). */
void pg_result_cleanup(PGresult **result);

/* PostgreSQL counts microseconds from 2000-01-01T00:00:00Z. */
#define PG_EPOCH_MS INT64_C(946684800000)

/* Binary column readers; the column must be of that type and not NULL. */
int64_t pg_int8(const PGresult *result, int row, int column);
int32_t pg_int4(const PGresult *result, int row, int column);
/* timestamptz -> unix ms */
int64_t pg_timestamp_ms(const PGresult *result, int row, int column);

/*
 * A binary array parameter, grown element by element and reused.
 * Init with {0}; pg_array_free() at the end.
 */
struct pg_array {
	char *data;
	size_t len, size;
	int32_t count;
	uint32_t oid;
};
enum pg_array_type { PG_ARRAY_INT8, PG_ARRAY_INT4, PG_ARRAY_TEXT,
	PG_ARRAY_TIMESTAMPTZ };
void pg_array_start(struct pg_array *array, enum pg_array_type type);
void pg_array_int8(struct pg_array *array, int64_t value);
void pg_array_int4(struct pg_array *array, int32_t value);
void pg_array_text(struct pg_array *array, const char *value);
void pg_array_timestamp_ms(struct pg_array *array, int64_t unix_ms);
void pg_array_null(struct pg_array *array); /* of any type */
/* Completes the header; data/len are the parameter. */
void pg_array_finish(struct pg_array *array);
void pg_array_free(struct pg_array *array);

#endif
