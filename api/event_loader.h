/* SPDX-License-Identifier: MIT */
/*
 * event_loader - brings an event from PostgreSQL into Redis: changes of one
 * that Redis has directly, everything else through the rebuild.
 *
 * Blocking; for worker threads.
 */
#ifndef API_EVENT_LOADER_H
#define API_EVENT_LOADER_H

#include "common/compiler.h"

#include <stdint.h>

struct coupon;
struct error;
struct event_figures;
struct pg_pools;
struct rebuild;
struct redis_shards;

/* Where events come from and go to; all borrowed. */
struct event_loader {
	struct redis_shards *shards;
	struct pg_pools *pg;
	struct rebuild *rebuild;
};

enum event_load {
	EVENT_LOADED,  /* Redis has it now */
	EVENT_UNKNOWN, /* PostgreSQL does not know it */
	EVENT_REBUILT, /* that is under way and takes longer */
};

/* Redis said MISSING: rebuild it, and wait for that until the deadline. */
int event_load(const struct event_loader *loader, int64_t coupon_id,
	int64_t deadline_ns, enum event_load *ret, struct error *err) NODISCARD;

/*
 * Bring Redis to the version of `coupon`, which PostgreSQL has committed: an
 * event that Redis has is updated (never its numbers), one it lacks is
 * rebuilt, which the call waits for until its deadline.
 */
int event_publish(const struct event_loader *loader,
	const struct coupon *coupon, int64_t deadline_ns,
	struct error *err) NODISCARD;

/* What Redis holds of an event. */
int event_figures_read(const struct event_loader *loader, int64_t coupon_id,
	int64_t deadline_ns, struct event_figures *ret,
	struct error *err) NODISCARD;

#endif
