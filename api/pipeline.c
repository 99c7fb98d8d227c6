/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * The old service borrowed a connection per request and blocked on it, so ten
 * connections at 50 ms were a wall at 200 requests/s.  Here a connection
 * carries the commands of many requests at once, and no thread waits:
 *
 *   submit   a lease with room takes the command; else the pool lends another
 *            connection at once, or the command takes a place in the pool's
 *            queue (its own place: `waiting` counts requests)
 *   turn     overdue ones are answered, freed room is filled from our own
 *            waiting line, leases with nothing in flight go back, and every
 *            lease writes what it has gathered: one system call per turn
 *   read     replies meet their places (pipeline_lease.c)
 *
 * Fairness.  The pool's queue is first come, first served among all loops,
 * but commands that ride on a lease we hold overtake the queue: that is the
 * point of pipelining, and harmless while there are connections.  When there
 * are none, a loop that never falls idle could keep the last one for good.
 * So a lease that is older than a quarter of max-wait asks now and then
 * whether others wait or the pool wants it back (evicted, too old, one too
 * many, suspended), and if so takes no more commands, drains, goes back, and
 * the pool hands it to the head of its queue or closes it.  With max-pipeline
 * 1 every reply ends its lease and the order is the queue's.
 *
 * Who ends a command.  Exactly one of: its reply, its deadline, the failure
 * to get a connection, the loss of its connection without a second try.  All
 * of these run on the loop's thread through pipeline_end().  The one
 * foreigner is the pool, which answers a waiter from another thread: a
 * command whose deadline passes in just that moment stays (EXPIRED) until
 * its waiter has come out of the inbox, and only then is its memory given up.
 *
 * Retry.  A lost connection loses up to max-pipeline commands that Redis may
 * or may not have executed.  issue.lua answers the same request the same
 * way, so each is sent again, once, inside its deadline and out of a budget:
 * first sends earn a tenth of a token, a retry costs one, so a Redis in
 * trouble sees at most 10 % more, and the reserve lets a single loss of
 * all connections be repaired at once.
 */
#include "api/pipeline.h"

#include "api/pipeline_internal.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/http.h"
#include "common/metrics.h"
#include "common/redis.h"

#include <assert.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>

void
pipeline_end(struct pipeline *pipeline, struct redis_command *command,
	const struct redisReply *reply, const struct error *err)
{
	assert(command->lease == NULL && command->state != COMMAND_IDLE);
	if (command->state != COMMAND_EXPIRED)
		TAILQ_REMOVE(&pipeline->by_deadline, command, by_deadline);
	pipeline->in_flight--;
	command->state = COMMAND_IDLE;
	command->sent = command->copies > 0;
	command->sent_twice = command->copies > 1;
	command->done(command, reply, err);
}

/* Deadlines come nearly in order: the search from the end is short. */
static void
insert_by_deadline(struct pipeline *pipeline, struct redis_command *command)
{
	struct redis_commands *list = &pipeline->by_deadline;
	struct redis_command *before = TAILQ_LAST(list, redis_commands);

	while (before != NULL && before->deadline_ns > command->deadline_ns)
		before = TAILQ_PREV(before, redis_commands, by_deadline);
	if (before != NULL)
		TAILQ_INSERT_AFTER(list, before, command, by_deadline);
	else
		TAILQ_INSERT_HEAD(list, command, by_deadline);
}

void
pipeline_submit(struct pipeline *pipeline, struct redis_command *command)
{
	command->sent = command->sent_twice = false;
	command->retried = command->by_text = false;
	command->copies = 0;
	command->lease = NULL;
	insert_by_deadline(pipeline, command);
	pipeline->in_flight++;
	if (pipeline->retry_tokens < PIPELINE_RETRY_RESERVE)
		pipeline->retry_tokens++;
	pipeline_place(pipeline, command);
}

static void
end_failed(struct pipeline *pipeline, struct redis_command *command)
{
	const struct error err = command->waiter.err;

	TAILQ_REMOVE(&pipeline->failed, command, line);
	pipeline_end(pipeline, command, NULL, &err);
}

static void
end_all_failed(struct pipeline *pipeline)
{
	while (!TAILQ_EMPTY(&pipeline->failed))
		end_failed(pipeline, TAILQ_FIRST(&pipeline->failed));
}

/* Its wait is over: for `why`, or NULL for what the pool says of the wait. */
static void
give_up_waiting(struct lane *lane, struct redis_command *command,
	const struct error *why)
{
	struct pipeline *pipeline = lane->pipeline;
	struct error err;
	const bool cancelled = pool_cancel(
		lane->pool, &command->waiter, why == NULL ? &err : NULL);

	lane_leave(lane, command);
	if (cancelled) {
		pipeline_end(pipeline, command, NULL, why == NULL ? &err : why);
		return;
	}
	TAILQ_REMOVE(&pipeline->by_deadline, command, by_deadline);
	command->state = COMMAND_EXPIRED;
}

static void
time_out(struct pipeline *pipeline, struct redis_command *command)
{
	struct error err;

	if (command->state == COMMAND_WAITING) {
		give_up_waiting(
			pipeline_lane(pipeline, command), command, NULL);
	} else if (command->state == COMMAND_FAILED) {
		end_failed(pipeline, command);
	} else {
		lease_abandon(command);
		error_set(&err, ERROR_TIMEOUT,
			"redis: no reply before the deadline");
		pipeline_end(pipeline, command, NULL, &err);
	}
}

static void
expire_waiting(struct lane *lane, int64_t now_ns)
{
	const int64_t since_ns = now_ns - pipeline_max_wait_ns();
	struct redis_command *first = TAILQ_FIRST(&lane->waiting);

	while (first != NULL && first->waiter.since_ns <= since_ns) {
		give_up_waiting(lane, first, NULL);
		first = TAILQ_FIRST(&lane->waiting);
	}
}

static void
expire(struct pipeline *pipeline, int64_t now_ns)
{
	struct redis_command *first = TAILQ_FIRST(&pipeline->by_deadline);

	while (first != NULL && first->deadline_ns <= now_ns) {
		time_out(pipeline, first);
		first = TAILQ_FIRST(&pipeline->by_deadline);
	}
	for (size_t i = 0; i < pipeline->n_lanes; i++)
		expire_waiting(&pipeline->lanes[i], now_ns);
}

/* Silent ones are lost, idle ones go back, free room is filled. */
static void
tend_leases(struct lane *lane, int64_t now_ns)
{
	struct redis_lease *next;
	struct error err;

	for (struct redis_lease *lease = TAILQ_FIRST(&lane->leases);
		lease != NULL; lease = next) {
		next = TAILQ_NEXT(lease, link);
		if (lease_silent_at_ns(lease) <= now_ns) {
			error_set(&err, ERROR_TIMEOUT,
				"redis: not a byte for redis.timeout");
			lease_destroy(lease, LEASE_SILENT, &err);
		} else if (lease_in_flight(lease) == 0) {
			lease_return(lease);
		} else {
			lane_refill(lane, lease);
		}
	}
}

static void
flush_leases(struct lane *lane)
{
	struct redis_lease *next;

	for (struct redis_lease *lease = TAILQ_FIRST(&lane->leases);
		lease != NULL; lease = next) {
		next = TAILQ_NEXT(lease, link);
		if (lease_is_unwritten(lease))
			lease_flush(lease);
	}
}

/*
 * Before anything is written, so that a command that can reach Redis has been
 * announced; after the replies' callbacks, so that what they started has been
 * counted elsewhere (the producer) before we call the command over.
 */
static void
publish_oldest(struct pipeline *pipeline)
{
	int64_t oldest_ns = INT64_MAX;
	const struct redis_lease *lease = NULL;

	for (size_t i = 0; i < pipeline->n_lanes; i++) {
		TAILQ_FOREACH(lease, &pipeline->lanes[i].leases, link)
		{
			if (lease_in_flight(lease) == 0)
				continue;
			const int64_t since_ns =
				lease_place(lease, lease->head)->since_ns;

			if (since_ns < oldest_ns)
				oldest_ns = since_ns;
		}
	}
	atomic_store_explicit(
		&pipeline->oldest_ns, oldest_ns, memory_order_release);
}

bool
pipeline_is_answered_since(const struct pipeline *pipeline, int64_t since_ns)
{
	return atomic_load_explicit(
		       &pipeline->oldest_ns, memory_order_acquire) >= since_ns;
}

void
pipeline_turn(struct pipeline *pipeline)
{
	const int64_t now_ns = clock_now_ns();

	pipeline_drain_inbox(pipeline);
	expire(pipeline, now_ns);
	end_all_failed(pipeline);
	for (size_t i = 0; i < pipeline->n_lanes; i++)
		tend_leases(&pipeline->lanes[i], now_ns);
	/* What went back may have come straight to the next of our waiters. */
	pipeline_drain_inbox(pipeline);
	publish_oldest(pipeline);
	for (size_t i = 0; i < pipeline->n_lanes; i++)
		flush_leases(&pipeline->lanes[i]);
}

/* 0 when the turn's own callbacks left something for another turn. */
static int64_t
lane_next_ns(const struct lane *lane)
{
	int64_t next_ns = INT64_MAX;
	const struct redis_lease *lease = NULL;

	if (!TAILQ_EMPTY(&lane->waiting))
		next_ns = TAILQ_FIRST(&lane->waiting)->waiter.since_ns +
			  pipeline_max_wait_ns();
	TAILQ_FOREACH(lease, &lane->leases, link)
	{
		if ((lease_is_unwritten(lease) && !lease->wants_write) ||
			lease_in_flight(lease) == 0)
			return 0;
		if (lease_silent_at_ns(lease) < next_ns)
			next_ns = lease_silent_at_ns(lease);
	}
	return next_ns;
}

int64_t
pipeline_next_deadline_ns(const struct pipeline *pipeline)
{
	int64_t next_ns = INT64_MAX;

	if (!TAILQ_EMPTY(&pipeline->failed))
		return 0;
	if (!TAILQ_EMPTY(&pipeline->by_deadline))
		next_ns = TAILQ_FIRST(&pipeline->by_deadline)->deadline_ns;
	for (size_t i = 0; i < pipeline->n_lanes; i++) {
		const int64_t lane_ns = lane_next_ns(&pipeline->lanes[i]);

		if (lane_ns < next_ns)
			next_ns = lane_ns;
	}
	return next_ns;
}

size_t
pipeline_in_flight(const struct pipeline *pipeline)
{
	return pipeline->in_flight;
}

static void
stop_lane(struct lane *lane, const struct error *err)
{
	struct redis_lease *next;

	while (!TAILQ_EMPTY(&lane->waiting))
		give_up_waiting(lane, TAILQ_FIRST(&lane->waiting), err);
	for (struct redis_lease *lease = TAILQ_FIRST(&lane->leases);
		lease != NULL; lease = next) {
		next = TAILQ_NEXT(lease, link);
		if (lease_in_flight(lease) > 0)
			lease_destroy(lease, LEASE_STOPPED, err);
		else
			lease_return(lease);
	}
}

void
pipeline_stop(struct pipeline *pipeline)
{
	struct pollfd inbox = {
		.fd = pool_inbox_fd(pipeline->inbox),
		.events = POLLIN,
	};
	struct error err;

	error_set(&err, ERROR_CLOSED, "redis: the service is shutting down");
	pipeline->stopping = true;
	for (size_t i = 0; i < pipeline->n_lanes; i++)
		stop_lane(&pipeline->lanes[i], &err);
	end_all_failed(pipeline);
	/* The expired, whose answers another thread is about to give. */
	while (pipeline->in_flight > 0) {
		(void)poll(&inbox, 1, -1);
		pipeline_drain_inbox(pipeline);
	}
	for (size_t i = 0; i < pipeline->n_lanes; i++)
		stop_lane(&pipeline->lanes[i], &err);
}
