/* SPDX-License-Identifier: MIT */
/*
 * instance - this api among the others: its heartbeat in PostgreSQL, and its
 * word that a fenced event holds nothing of ours any more.
 *
 * Runs on a thread of its own that never rebuilds, so a rebuild that waits
 * for every api's word cannot wait for itself.
 */
#ifndef API_INSTANCE_H
#define API_INSTANCE_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct instance;
struct pg_pools;
struct producer;
struct redis_shards;

struct instance_config {
	struct pg_pools *pg; /* borrowed, as all here */
	struct redis_shards *shards;
	struct producer *producer;
	/*
	 * Has every Redis command that was sent before `since_ns` been
	 * answered or dropped?  Any thread.
	 */
	bool (*is_answered_since)(void *arg, int64_t since_ns);
	void *arg;
};

/* Aborts when out of memory or threads: this is start-up. */
struct instance *instance_start(const struct instance_config *config);
/* Says good-bye in PostgreSQL if it can be reached.  NULL ok. */
void instance_stop(struct instance *instance);

/* Unique to this process; borrowed. */
const char *instance_id(const struct instance *instance);

#endif
