/* SPDX-License-Identifier: MIT */
#include "api/breaker_probe.h"

#include "api/breaker.h"
#include "common/clock.h"
#include "common/pool.h"
#include "common/redis.h"

#include <hiredis/hiredis.h>

static bool
is_open(struct breaker *breaker)
{
	struct breaker_snapshot snapshot;

	breaker_snapshot(breaker, clock_now_ns(), &snapshot);
	return snapshot.state == BREAKER_OPEN;
}

void
breaker_probe(struct breaker *breaker, struct pool *pool, int64_t deadline_ns)
{
	struct redisReply *reply;
	struct pool_entry *entry;
	struct error err;

	/* Failure is what the breaker is open for: nothing to tell. */
	if (!is_open(breaker) ||
		pool_acquire(pool, "probe", deadline_ns, &entry, &err) != 0)
		return;
	int rc =
		redis_callf(entry->resource, deadline_ns, &reply, &err, "PING");

	pool_release(pool, &entry, redis_verdict(rc));
	if (rc != 0)
		return;
	freeReplyObject(reply);
	breaker_probe_succeeded(breaker, clock_now_ns());
}
