/* SPDX-License-Identifier: MIT */
/*
 * pg_internal - what the files of pg share.
 *
 * pg.c statements, pg_io.c waiting for libpq, pg_connect.c new connections,
 * pg_pool.c the pools, pg_array.c parameters.
 */
#ifndef COMMON_PG_INTERNAL_H
#define COMMON_PG_INTERNAL_H

#include "common/pg.h"

#include <stdatomic.h>

/* How many different statements one connection may have prepared. */
#define PG_STATEMENTS_MAX 64

struct pg_source;

struct pg_conn {
	PGconn *raw;
	struct pg_source *source;
	int64_t opened_ns;
	bool dirty; /* must not be used again */
	size_t n_prepared;
	const struct pg_statement *prepared[PG_STATEMENTS_MAX];
};

/* ---- pg_io.c ---- */

/* Until the socket is ready for `events`: 0, -TIMEOUT, -CANCELLED. */
int pg_await(PGconn *raw, short events, const struct pg_wait *wait,
	struct error *err);
/*
 * Send what is queued and read every result of it.  0 and *ret, or as
 * pg_execute(); the connection is dirty after anything but a plain error of
 * the statement `what`.
 */
int pg_finish(struct pg_conn *conn, const struct pg_wait *wait,
	const char *what, PGresult **ret, struct error *err);
/* libpq's own words, on one line. */
int pg_error(
	PGconn *raw, enum error_kind kind, const char *what, struct error *err);

/* ---- pg_connect.c ---- */

/* Where and how to connect: a libpq URI taken apart. */
struct pg_target;
/* NULL when `uri` is none.  `application` and `role` are borrowed. */
struct pg_target *pg_target_new(const char *uri, const char *password,
	const char *application, bool writable);
void pg_target_free(struct pg_target *target);
/* A session with its settings made; each host gets its share of the time. */
int pg_connect(struct pg_target *target, const struct pg_wait *wait,
	PGconn **ret, struct error *err);

/* ---- pg_pool.c ---- */

/*
 * `conn` shows that its server is gone or is no primary any more: replace
 * all of its pool that is as old, once.
 */
void pg_source_failed(struct pg_conn *conn, const struct error *err);

#endif
