/* SPDX-License-Identifier: MIT */
/*
 * A pipeline's beginning and end, its settings and its metrics.
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
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>

/* clang-format off */
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

static void
init_lanes(struct pipeline *pipeline)
{
	TAILQ_INIT(&pipeline->by_deadline);
	TAILQ_INIT(&pipeline->failed);
	pipeline->n_lanes = redis_shards_count(pipeline->shards);
	pipeline->lanes = must_calloc(pipeline->n_lanes, sizeof(struct lane));
	for (size_t i = 0; i < pipeline->n_lanes; i++) {
		struct lane *lane = &pipeline->lanes[i];

		lane->pipeline = pipeline;
		lane->pool = redis_shards_pool_at(pipeline->shards, i);
		TAILQ_INIT(&lane->leases);
		TAILQ_INIT(&lane->spare);
		TAILQ_INIT(&lane->waiting);
	}
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
	pipeline->retry_tokens = PIPELINE_RETRY_RESERVE;
	atomic_init(&pipeline->oldest_ns, INT64_MAX);
	pipeline->scripts = redis_shards_scripts(shards, &pipeline->n_scripts);
	init_lanes(pipeline);
	init_metrics(pipeline, metrics);
	if (http_loop_watch(loop, pool_inbox_fd(pipeline->inbox), EPOLLIN,
		    on_inbox, pipeline, &err) < 0)
		abort(); /* at start-up */
	return pipeline;
}

static void
free_spares(struct lane *lane)
{
	while (!TAILQ_EMPTY(&lane->spare)) {
		struct redis_lease *lease = TAILQ_FIRST(&lane->spare);

		TAILQ_REMOVE(&lane->spare, lease, link);
		lease_free(lease);
	}
}

void
pipeline_free(struct pipeline *pipeline)
{
	if (pipeline == NULL)
		return;
	pipeline_stop(pipeline);
	assert(pipeline->in_flight == 0);
	for (size_t i = 0; i < pipeline->n_lanes; i++)
		free_spares(&pipeline->lanes[i]);
	http_loop_unwatch(pipeline->loop, pool_inbox_fd(pipeline->inbox));
	pool_inbox_free(pipeline->inbox);
	free(pipeline->lanes);
	free(pipeline->timers);
	free(pipeline->inbuf);
	free(pipeline);
}
