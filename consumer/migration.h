/* SPDX-License-Identifier: MIT */
/*
 * migration - brings the schema up to date in the background, for as long as
 * it takes PostgreSQL to come up.
 */
#ifndef CONSUMER_MIGRATION_H
#define CONSUMER_MIGRATION_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct error;
struct migration;
struct pool;

/* Starts the thread "migration"; `pool` is borrowed. */
struct migration *migration_start(struct pool *pool);

/* Wait until it is done, at most until `deadline_ns`. */
void migration_await(struct migration *migration, int64_t deadline_ns);

/* Ends it, done or not.  NULL is a no-op. */
void migration_free(struct migration *migration);

/* Once, in the caller's thread (--migrate). */
int migration_run(struct pool *pool, int64_t deadline_ns, int cancel_fd,
	int *ret_applied, struct error *err) NODISCARD;

#endif
