/* SPDX-License-Identifier: MIT */
/*
 * migration - brings the schema up to date in the background, for as long as
 * it takes PostgreSQL to come up.
 */
#ifndef CONSUMER_MIGRATION_H
#define CONSUMER_MIGRATION_H

#include <stdint.h>

struct migration;
struct pool;

/* Starts the thread "migration"; `pool` is borrowed. */
struct migration *migration_start(struct pool *pool);

/* Wait until it is done, at most until `deadline_ns`. */
void migration_await(struct migration *migration, int64_t deadline_ns);

/* Ends it, done or not.  NULL is a no-op. */
void migration_free(struct migration *migration);

#endif
