/* SPDX-License-Identifier: MIT */
/*
 * migration - brings the schema up to date in the background, for as long as
 * it takes PostgreSQL to come up.
 */
#ifndef COMMON_MIGRATION_H
#define COMMON_MIGRATION_H

#include <stdbool.h>
#include <stdint.h>

struct migration;
struct pool;

/* Starts the thread "migration"; `pool` is borrowed. */
struct migration *migration_start(struct pool *pool);

/* Is it done?  Waits for that, at most until `deadline_ns`. */
bool migration_await(const struct migration *migration, int64_t deadline_ns);

/* Was it tried, whatever came of it?  True a second after the start at the
 * latest: a PostgreSQL that does not answer keeps nobody. */
bool migration_was_tried(const struct migration *migration);

/* Ends it, done or not.  NULL is a no-op. */
void migration_free(struct migration *migration);

#endif
