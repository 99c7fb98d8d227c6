/* SPDX-License-Identifier: MIT */
/*
 * Who rides on which connection: leases with room, the pool's queue, the
 * second try.  The essay is in pipeline.c.
 */
#include "api/pipeline_internal.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/http.h"
#include "common/metrics.h"
#include "common/pool_admin.h"
#include "common/redis.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>

static const char holder[] = "issue";

/* done() must not be called from inside submit(): the next turn does it. */
static void
fail_later(struct pipeline *pipeline, struct redis_command *command,
	const struct error *err)
{
	command->waiter.err = *err;
	command->state = COMMAND_FAILED;
	TAILQ_INSERT_TAIL(&pipeline->failed, command, line);
}

static void
append(struct redis_lease *lease, struct redis_command *command)
{
	struct pipeline *pipeline = lease->lane->pipeline;
	struct error err;

	if (lease_append(lease, command, http_loop_now_ns(pipeline->loop)))
		return;
	error_set(&err, ERROR_NO_MEMORY, "redis: out of memory");
	fail_later(pipeline, command, &err);
}

struct lane *
pipeline_lane(struct pipeline *pipeline, const struct redis_command *command)
{
	struct pool *pool =
		redis_shard_pool(pipeline->shards, command->coupon_id);
	struct lane *lane = pipeline->lanes;

	while (lane->pool != pool)
		lane++;
	return lane;
}

/* The rule of fairness in pipeline.c. */
static bool
must_drain(struct redis_lease *lease, int64_t now_ns)
{
	struct pool_snapshot snapshot;

	if (lease->draining || now_ns < lease->fair_until_ns)
		return lease->draining;
	pool_snapshot(lease->lane->pool, &snapshot);
	lease->draining = snapshot.waiting > lease->lane->n_waiting ||
			  pool_wants_back(lease->lane->pool, lease->entry);
	lease->fair_until_ns = now_ns + pipeline_max_wait_ns() / 4;
	return lease->draining;
}

static struct redis_lease *
lease_with_room(struct lane *lane)
{
	const int64_t now_ns = http_loop_now_ns(lane->pipeline->loop);
	struct redis_lease *lease = NULL;

	TAILQ_FOREACH(lease, &lane->leases, link)
	{
		if (lease_has_room(lease) && !must_drain(lease, now_ns))
			return lease;
	}
	return NULL;
}

/*
 * A connection at once or a place in the queue.  A dead idle connection is
 * replaced by the next; each attempt takes one out of the pool, so this ends.
 */
static void
request_lease(struct lane *lane, struct redis_command *command)
{
	struct pipeline *pipeline = lane->pipeline;
	struct redis_lease *lease;
	struct error err;
	int rc;

	do {
		rc = pool_request(lane->pool, &command->waiter, pipeline->inbox,
			holder, &err);
		if (rc == 0)
			rc = lease_open(
				lane, command->waiter.entry, &lease, &err);
	} while (rc == -ERROR_CONNECTION_LOST);

	if (rc == 0) {
		append(lease, command);
	} else if (rc == -ERROR_BUSY) {
		command->state = COMMAND_WAITING;
		TAILQ_INSERT_TAIL(&lane->waiting, command, line);
		lane->n_waiting++;
	} else {
		fail_later(pipeline, command, &err);
	}
}

void
pipeline_place(struct pipeline *pipeline, struct redis_command *command)
{
	struct lane *lane = pipeline_lane(pipeline, command);
	struct redis_lease *lease = NULL;
	struct error err;

	if (pipeline->stopping) {
		error_set(&err, ERROR_CLOSED,
			"redis: the service is shutting down");
		fail_later(pipeline, command, &err);
		return;
	}
	if (TAILQ_EMPTY(&lane->waiting)) /* nobody of ours is overtaken */
		lease = lease_with_room(lane);
	if (lease != NULL)
		append(lease, command);
	else
		request_lease(lane, command);
}

void
pipeline_retry(struct pipeline *pipeline, struct redis_command *command,
	const struct error *err)
{
	if (command->retried || pipeline->stopping ||
		clock_now_ns() >= command->deadline_ns) {
		pipeline_end(pipeline, command, NULL, err);
		return;
	}
	if (pipeline->retry_tokens < PIPELINE_RETRY_COST) {
		counter_add(pipeline->retries_refused, 1);
		pipeline_end(pipeline, command, NULL, err);
		return;
	}
	pipeline->retry_tokens -= PIPELINE_RETRY_COST;
	counter_add(pipeline->retries, 1);
	command->retried = true;
	pipeline_place(pipeline, command);
}

void
lane_leave(struct lane *lane, struct redis_command *command)
{
	TAILQ_REMOVE(&lane->waiting, command, line);
	lane->n_waiting--;
}

/* A waiter was answered: its command, or those behind it, get the lease. */
static void
take_answer(struct pipeline *pipeline, struct redis_command *command)
{
	struct lane *lane = pipeline_lane(pipeline, command);
	const bool expired = command->state == COMMAND_EXPIRED;
	const bool granted = command->waiter.state == POOL_WAITER_GRANTED;
	struct redis_lease *lease = NULL;
	struct error err;
	int rc = 0;

	if (!expired)
		lane_leave(lane, command);
	if (granted)
		rc = lease_open(lane, command->waiter.entry, &lease, &err);
	else
		err = command->waiter.err;

	if (expired) {
		error_set(&err, ERROR_TIMEOUT,
			"redis: no connection before the deadline");
		pipeline_end(pipeline, command, NULL, &err);
	} else if (lease != NULL) {
		append(lease, command);
	} else if (rc == -ERROR_CONNECTION_LOST) {
		request_lease(lane, command);
	} else {
		pipeline_end(pipeline, command, NULL, &err);
	}
}

void
pipeline_drain_inbox(struct pipeline *pipeline)
{
	struct pool_waiter *waiter = pool_inbox_take(pipeline->inbox);

	for (; waiter != NULL; waiter = pool_inbox_take(pipeline->inbox))
		take_answer(pipeline,
			container_of(waiter, struct redis_command, waiter));
}

void
lane_refill(struct lane *lane, struct redis_lease *lease)
{
	const int64_t now_ns = http_loop_now_ns(lane->pipeline->loop);

	while (!TAILQ_EMPTY(&lane->waiting) && lease_has_room(lease) &&
		!must_drain(lease, now_ns)) {
		struct redis_command *command = TAILQ_FIRST(&lane->waiting);

		/* Not cancelled: it comes out of the inbox in a moment. */
		if (!pool_cancel(lane->pool, &command->waiter, NULL))
			return;
		lane_leave(lane, command);
		append(lease, command);
	}
}
