/* SPDX-License-Identifier: MIT */
/*
 * schema - numbered migrations (common/schema/NNNN_name.sql), applied once.
 *
 * Any daemon may apply them: each migration runs in one transaction under an
 * advisory lock and leaves a row in schema_migration.
 */
#ifndef COMMON_SCHEMA_H
#define COMMON_SCHEMA_H

#include "common/compiler.h"

/*
 * Keys of pg_advisory_xact_lock(bigint).  A positive key is a coupon id: held
 * by the transaction that creates the event and by the one that finally says
 * EVENT_UNKNOWN of it.
 */
enum schema_lock {
	SCHEMA_LOCK_MIGRATION = -1,
	/* -2 and -3 were those of the roles, before api/role.h. */
};

struct error;
struct pg_conn;
struct pg_wait;
struct pool;

/* Bring the schema to the newest version; *ret_applied counts new ones. */
int schema_migrate(struct pg_conn *conn, const struct pg_wait *wait,
	int *ret_applied, struct error *err) NODISCARD;

/* The same with a connection of the pool. */
int schema_apply(struct pool *pool, const struct pg_wait *wait,
	int *ret_applied, struct error *err) NODISCARD;

/* The version this program knows. */
int schema_version(void);

#endif
