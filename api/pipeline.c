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
 * whether others wait, and if so takes no more commands, drains, goes back,
 * and the pool hands it to the head of its queue.  With max-pipeline 1 every
 * reply ends its lease and the order is the queue's.
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
#include <utlist.h>

/* clang-format off */
/* In tenths of a retry: enough to repair the loss of many connections. */
enum { RETRY_RESERVE = 10 * 1024 };

static const struct metric_family command_time METRIC_FAMILY = {
	.name = "redis.command", .kind = METRIC_TIMER,
	.description = "Time from writing a command to its reply.",
	.histogram = true, .tags = "script",
};
static const struct metric_family retries METRIC_FAMILY = {
	.name = "redis.pipeline.retries", .kind = METRIC_COUNTER,
	.description = "Commands sent again after their connection was lost.",
};
static const struct metric_family retries_refused METRIC_FAMILY = {
	.name = "redis.pipeline.retries.refused", .kind = METRIC_COUNTER,
	.description = "Lost commands not sent again: budget used up.",
};
static const struct metric_family abandoned METRIC_FAMILY = {
	.name = "redis.pipeline.abandoned", .kind = METRIC_COUNTER,
	.description = "Commands answered at their deadline before Redis did.",
};
static const struct metric_family late METRIC_FAMILY = {
	.name = "redis.pipeline.late", .kind = METRIC_COUNTER,
	.description = "Replies dropped because their command was abandoned.",
};
static const struct metric_family by_text METRIC_FAMILY = {
	.name = "redis.pipeline.noscript", .kind = METRIC_COUNTER,
	.description = "Scripts sent as text because Redis had lost them.",
};
static const struct metric_family lost METRIC_FAMILY = {
	.name = "redis.pipeline.lost", .kind = METRIC_COUNTER,
	.description = "Leased connections given up, by cause.",
	.tags = "reason",
};
static const char *const loss_tags[] = {
#define X(name, tag) [LEASE_##name] = (tag),
	LEASE_LOSSES(X)
#undef X
};
/* clang-format on */

/* Set by pipelines_configure(); these defaults are for tests. */
static _Atomic size_t limit = 64;
static _Atomic int64_t silence_ns = 500 * NS_PER_MS;
static _Atomic int64_t max_wait_ns = 500 * NS_PER_MS;

void
pipelines_configure(const struct settings *settings)
{
	limit = (size_t)settings->redis_pool_max_pipeline;
	silence_ns = settings->redis_timeout_ns;
	max_wait_ns = settings->redis_pool_max_wait_ns;
}

size_t
pipeline_limit(void)
{
	return limit;
}

int64_t
pipeline_silence_ns(void)
{
	return silence_ns;
}

int64_t
pipeline_max_wait_ns(void)
{
	return max_wait_ns;
}

void
pipeline_end(struct pipeline *pipeline, struct redis_command *command,
	const struct redisReply *reply, const struct error *err)
{
	assert(command->lease == NULL && command->state != COMMAND_IDLE);
	if (command->state != COMMAND_EXPIRED)
		DL_DELETE(pipeline->by_deadline, command);
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
	struct redis_command *head = pipeline->by_deadline;
	struct redis_command *before = head != NULL ? head->prev : NULL;

	while (before != NULL && before->deadline_ns > command->deadline_ns)
		before = before == head ? NULL : before->prev;
	if (before != NULL)
		DL_APPEND_ELEM(pipeline->by_deadline, before, command);
	else
		DL_PREPEND(pipeline->by_deadline, command);
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
	if (pipeline->retry_tokens < RETRY_RESERVE)
		pipeline->retry_tokens++;
	pipeline_place(pipeline, command);
}

static void
end_failed(struct pipeline *pipeline, struct redis_command *command)
{
	const struct error err = command->waiter.err;

	DL_DELETE2(pipeline->failed, command, line_prev, line_next);
	pipeline_end(pipeline, command, NULL, &err);
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
	DL_DELETE(pipeline->by_deadline, command);
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
expire(struct pipeline *pipeline, int64_t now_ns)
{
	const int64_t since_ns = now_ns - pipeline_max_wait_ns();

	while (pipeline->by_deadline != NULL &&
		pipeline->by_deadline->deadline_ns <= now_ns)
		time_out(pipeline, pipeline->by_deadline);
	for (size_t i = 0; i < pipeline->n_lanes; i++) {
		struct lane *lane = &pipeline->lanes[i];

		while (lane->waiting != NULL &&
			lane->waiting->waiter.since_ns <= since_ns)
			give_up_waiting(lane, lane->waiting, NULL);
	}
}

/* Silent ones are lost, idle ones go back, free room is filled. */
static void
tend_leases(struct lane *lane, int64_t now_ns)
{
	struct redis_lease *lease, *next;
	struct error err;

	DL_FOREACH_SAFE(lane->leases, lease, next)
	{
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
	struct redis_lease *lease, *next;

	DL_FOREACH_SAFE(lane->leases, lease, next)
	{
		if (lease->out.sent < lease->out.len)
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
	const struct redis_lease *lease;

	for (size_t i = 0; i < pipeline->n_lanes; i++) {
		DL_FOREACH(pipeline->lanes[i].leases, lease)
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
	while (pipeline->failed != NULL)
		end_failed(pipeline, pipeline->failed);
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
	const struct redis_lease *lease;

	if (lane->waiting != NULL)
		next_ns =
			lane->waiting->waiter.since_ns + pipeline_max_wait_ns();
	DL_FOREACH(lane->leases, lease)
	{
		const bool unwritten = lease->out.sent < lease->out.len;

		if ((unwritten && !lease->wants_write) ||
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

	if (pipeline->failed != NULL)
		return 0;
	if (pipeline->by_deadline != NULL)
		next_ns = pipeline->by_deadline->deadline_ns;
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
on_inbox(void *arg, uint32_t events UNUSED)
{
	pipeline_drain_inbox(arg);
}

static void *
must_calloc(size_t n, size_t size)
{
	void *memory = calloc(n, size);

	if (memory == NULL)
		abort(); /* at start-up */
	return memory;
}

static void
init_metrics(struct pipeline *pipeline, struct metrics *metrics)
{
	pipeline->retries = metrics_counter(metrics, &retries, METRIC_NO_TAGS);
	pipeline->retries_refused =
		metrics_counter(metrics, &retries_refused, METRIC_NO_TAGS);
	pipeline->abandoned =
		metrics_counter(metrics, &abandoned, METRIC_NO_TAGS);
	pipeline->late = metrics_counter(metrics, &late, METRIC_NO_TAGS);
	pipeline->by_text = metrics_counter(metrics, &by_text, METRIC_NO_TAGS);
	for (size_t i = 0; i < LEASE_LOSS_COUNT; i++)
		pipeline->losses[i] = metrics_counter(metrics, &lost,
			METRIC_TAGS({ "reason", loss_tags[i] }));

	pipeline->timers =
		must_calloc(pipeline->n_scripts + 1, sizeof(struct timer *));
	for (size_t i = 0; i < pipeline->n_scripts; i++)
		pipeline->timers[i] = metrics_timer(metrics, &command_time,
			METRIC_TAGS({ "script", pipeline->scripts[i].name }));
}

struct pipeline *
pipeline_new(struct http_loop *loop, struct redis_shards *shards,
	struct metrics *metrics)
{
	struct pipeline *pipeline = must_calloc(1, sizeof(*pipeline));
	struct error err;

	pipeline->loop = loop;
	pipeline->shards = shards;
	pipeline->inbox = pool_inbox_new();
	pipeline->inbuf = must_calloc(1, LEASE_READ_SIZE);
	pipeline->retry_tokens = RETRY_RESERVE;
	atomic_init(&pipeline->oldest_ns, INT64_MAX);
	pipeline->scripts = redis_shards_scripts(shards, &pipeline->n_scripts);
	pipeline->n_lanes = redis_shards_count(shards);
	pipeline->lanes = must_calloc(pipeline->n_lanes, sizeof(struct lane));
	for (size_t i = 0; i < pipeline->n_lanes; i++) {
		pipeline->lanes[i].pipeline = pipeline;
		pipeline->lanes[i].pool = redis_shards_pool_at(shards, i);
	}
	init_metrics(pipeline, metrics);
	if (http_loop_watch(loop, pool_inbox_fd(pipeline->inbox), EPOLLIN,
		    on_inbox, pipeline, &err) < 0)
		abort(); /* at start-up */
	return pipeline;
}

static void
stop_lane(struct lane *lane, const struct error *err)
{
	while (lane->waiting != NULL)
		give_up_waiting(lane, lane->waiting, err);
	while (lane->leases != NULL && lease_in_flight(lane->leases) > 0)
		lease_destroy(lane->leases, LEASE_STOPPED, err);
}

static void
free_lane(struct lane *lane)
{
	while (lane->leases != NULL)
		lease_return(lane->leases);
	while (lane->spare != NULL) {
		struct redis_lease *lease = lane->spare;

		DL_DELETE(lane->spare, lease);
		lease_free(lease);
	}
}

void
pipeline_free(struct pipeline *pipeline)
{
	struct pollfd inbox = { .events = POLLIN };
	struct error err;

	if (pipeline == NULL)
		return;
	inbox.fd = pool_inbox_fd(pipeline->inbox);
	error_set(&err, ERROR_CLOSED, "redis: the service is shutting down");
	pipeline->stopping = true;
	for (size_t i = 0; i < pipeline->n_lanes; i++)
		stop_lane(&pipeline->lanes[i], &err);
	while (pipeline->failed != NULL)
		end_failed(pipeline, pipeline->failed);
	/* The expired, whose answers another thread is about to give. */
	while (pipeline->in_flight > 0) {
		(void)poll(&inbox, 1, -1);
		pipeline_drain_inbox(pipeline);
	}
	for (size_t i = 0; i < pipeline->n_lanes; i++)
		free_lane(&pipeline->lanes[i]);
	http_loop_unwatch(pipeline->loop, inbox.fd);
	pool_inbox_free(pipeline->inbox);
	free(pipeline->lanes);
	free(pipeline->timers);
	free(pipeline->inbuf);
	free(pipeline);
}
