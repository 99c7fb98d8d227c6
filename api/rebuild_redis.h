/* SPDX-License-Identifier: MIT */
/*
 * rebuild_redis - what the rebuild reads and writes in Redis: the fence, what
 * is left of the event, and the rebuilt event in place of it.
 *
 * Every function blocks until its call's deadline.
 */
#ifndef API_REBUILD_REDIS_H
#define API_REBUILD_REDIS_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct error;
struct rebuild_event;
struct rebuild_plan;
struct redis_shards;

struct rebuild_redis {
	struct redis_shards *shards;
	int64_t coupon_id;
	int64_t deadline_ns;
	/* Called now and then; its error ends the call. */
	int (*tick)(void *arg, struct error *err);
	void *arg;
};

/* Admit nothing below this epoch.  *ret_fenced false: a later one is there. */
int rebuild_redis_fence(const struct rebuild_redis *call, int64_t epoch,
	bool *ret_fenced, struct error *err) NODISCARD;

/* Every holder in users goes into the plan. */
int rebuild_redis_read(const struct rebuild_redis *call,
	struct rebuild_plan *plan, struct error *err) NODISCARD;

/*
 * Write the plan beside the event, then put it in force and lift the fence.
 * *ret_done false: the event is no longer fenced with this epoch.
 */
int rebuild_redis_commit(const struct rebuild_redis *call,
	const struct rebuild_event *event, const struct rebuild_plan *plan,
	bool *ret_done, struct error *err) NODISCARD;

#endif
