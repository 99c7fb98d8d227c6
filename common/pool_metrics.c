/* SPDX-License-Identifier: MIT */
#include "common/pool_metrics.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pool.h"
#include "common/pool_admin.h"
#include "common/pool_observer.h"

#include <stdatomic.h>

/* The families of one prefix, in the order of their rows. */
enum family {
	TOTAL,
	ACTIVE,
	IDLE,
	PENDING,
	MAX,
	MIN,
	OPENING,
	OLDEST_WAIT,
	TIMEOUT,
	CREATION_FAILED,
	REJECTED,
	EVICTIONS,
	LEAKS,
	ACQUIRE,
	USAGE,
	CREATION,
	FAMILIES
};

/* clang-format off */
#define ROW(prefix, suffix, type, keys, text, ...) \
	{ .name = prefix suffix, .kind = METRIC_##type, .tags = keys, \
	  .description = text, ##__VA_ARGS__ }
#define ROWS(p, total) {                                                       \
	[TOTAL]  = ROW(p, total, GAUGE, "pool", "Total connections."),         \
	[ACTIVE] = ROW(p, ".active", GAUGE, "pool", "Active connections."),    \
	[IDLE]   = ROW(p, ".idle", GAUGE, "pool", "Idle connections."),        \
	[PENDING] = ROW(p, ".pending", GAUGE, "pool",                          \
		"Requests and threads that wait for a connection."),           \
	[MAX] = ROW(p, ".max", GAUGE, "pool", "Max connections."),             \
	[MIN] = ROW(p, ".min", GAUGE, "pool", "Min connections."),             \
	[OPENING] = ROW(p, ".opening", GAUGE, "pool",                          \
		"Connections being opened, in no other count."),               \
	[OLDEST_WAIT] = ROW(p, ".oldest.wait", GAUGE, "pool",                  \
		"How long the first in the queue has waited.",                 \
		.base_unit = "seconds"),                                       \
	[TIMEOUT] = ROW(p, ".timeout", COUNTER, "pool",                        \
		"Waits that ended at their deadline without a connection."),   \
	[CREATION_FAILED] = ROW(p, ".creation.failed", COUNTER, "pool",        \
		"Attempts to connect that failed."),                           \
	[REJECTED] = ROW(p, ".rejected", COUNTER, "pool, reason",              \
		"Acquires without a connection, by reason."),                  \
	[EVICTIONS] = ROW(p, ".evictions", COUNTER, "pool, reason",            \
		"Connections closed, by reason."),                             \
	[LEAKS] = ROW(p, ".leaks", COUNTER, "pool",                            \
		"Connections held beyond leak-detection-threshold."),          \
	[ACQUIRE] = ROW(p, ".acquire", TIMER, "pool",                          \
		"Connection acquire time.", .histogram = true),                \
	[USAGE] = ROW(p, ".usage", TIMER, "pool", "Connection usage time."),   \
	[CREATION] = ROW(p, ".creation", TIMER, "pool",                        \
		"Connection creation time."),                                  \
}
/* clang-format on */

static const struct metric_family redis_rows[FAMILIES] METRIC_FAMILY =
	ROWS("redis.connection", ".total");
/* Micrometer's spelling: the total has no suffix. */
static const struct metric_family hikaricp_rows[FAMILIES] METRIC_FAMILY =
	ROWS("hikaricp.connections", "");
static const struct metric_family hikari_rows[FAMILIES] METRIC_FAMILY =
	ROWS("hikari.connections", "");

static const enum error_kind reasons[] = { ERROR_EXHAUSTED,
	ERROR_CONNECT_FAILING, ERROR_SUSPENDED, ERROR_QUEUE_FULL,
	ERROR_CLOSED };

/* The series of one prefix; the alias has its own. */
struct series {
	const struct metric_family *rows;
	struct timer *acquire, *usage, *creation;
	struct counter *rejected[ARRAY_SIZE(reasons)];
	struct counter *evictions[POOL_CLOSE_COUNT];
	struct counter *leaks;
};

#define SERIES_MAX 2

struct pool_metrics {
	struct metrics *metrics;
	const char *tag;
	_Atomic(struct pool *) pool;
	struct pool_observer observer;
	size_t n;
	struct series series[SERIES_MAX];
};

static void
on_acquired(void *ctx, int64_t waited_ns, const struct error *err)
{
	struct pool_metrics *m = ctx;

	for (size_t i = 0; i < m->n; i++) {
		timer_record(m->series[i].acquire, waited_ns);
		for (size_t r = 0; err != NULL && r < ARRAY_SIZE(reasons); r++)
			if (reasons[r] == err->kind)
				counter_add(m->series[i].rejected[r], 1);
	}
	/* Why a pool cannot connect, on_opened() says. */
	if (err == NULL || err->kind == ERROR_CLOSED ||
		err->kind == ERROR_CONNECT_FAILING)
		return;
	struct pool *pool = atomic_load(&m->pool);
	struct pool_holder longest = { .holder = "" };
	if (pool != NULL)
		(void)pool_holders(pool, &longest, 1);
	LOG_WARN("no pooled connection", LOG_STR("pool", m->tag), LOG_ERR(err),
		LOG_STR("longestHolder", longest.holder),
		LOG_INT("heldMs", longest.held_ns / NS_PER_MS));
}

static void
on_released(void *ctx, int64_t held_ns)
{
	struct pool_metrics *m = ctx;

	for (size_t i = 0; i < m->n; i++)
		timer_record(m->series[i].usage, held_ns);
}

static void
on_opened(void *ctx, int64_t took_ns, const struct error *err)
{
	struct pool_metrics *m = ctx;

	if (err != NULL) {
		LOG_WARN("pool cannot connect, will retry",
			LOG_STR("pool", m->tag), LOG_ERR(err),
			LOG_INT("tookMs", took_ns / NS_PER_MS));
		return;
	}
	for (size_t i = 0; i < m->n; i++)
		timer_record(m->series[i].creation, took_ns);
	LOG_DEBUG("pool connection opened", LOG_STR("pool", m->tag),
		LOG_INT("tookMs", took_ns / NS_PER_MS));
}

static void
on_closed(void *ctx, enum pool_close why)
{
	struct pool_metrics *m = ctx;

	for (size_t i = 0; i < m->n; i++)
		counter_add(m->series[i].evictions[why], 1);
	LOG_DEBUG("pool connection closed", LOG_STR("pool", m->tag),
		LOG_STR("reason", pool_close_text(why)));
}

static void
on_leak(void *ctx, const char *holder, int64_t held_ns, bool over)
{
	struct pool_metrics *m = ctx;

	for (size_t i = 0; !over && i < m->n; i++)
		counter_add(m->series[i].leaks, 1);
	if (over)
		LOG_INFO("suspected connection leak came back",
			LOG_STR("pool", m->tag), LOG_STR("holder", holder),
			LOG_INT("heldMs", held_ns / NS_PER_MS));
	else
		LOG_WARN("suspected connection leak", LOG_STR("pool", m->tag),
			LOG_STR("holder", holder),
			LOG_INT("heldMs", held_ns / NS_PER_MS));
}

static void
on_evicted(void *ctx, const char *reason, size_t total)
{
	const struct pool_metrics *m = ctx;

	LOG_INFO("replacing every connection of the pool",
		LOG_STR("pool", m->tag), LOG_STR("reason", reason),
		LOG_INT("connections", total));
}

static void
emit(const struct pool_metrics *m, const struct pool_snapshot *cut,
	struct metrics_sink *sink)
{
	const double values[] = {
		[TOTAL] = (double)cut->total,
		[ACTIVE] = (double)cut->active,
		[IDLE] = (double)cut->idle,
		[PENDING] = (double)cut->waiting,
		[MAX] = (double)cut->max,
		[MIN] = (double)cut->min,
		[OPENING] = (double)cut->opening,
		[OLDEST_WAIT] = (double)cut->oldest_wait_ns / 1e9,
		[TIMEOUT] = (double)cut->timeouts,
		[CREATION_FAILED] = (double)cut->open_failed,
	};

	for (size_t i = 0; i < m->n; i++)
		for (size_t row = 0; row < ARRAY_SIZE(values); row++)
			metrics_emit(sink, &m->series[i].rows[row],
				METRIC_TAGS({ "pool", m->tag }), values[row]);
}

static void
collect(void *arg, struct metrics_sink *sink)
{
	const struct pool_metrics *m = arg;
	struct pool_snapshot cut;

	pool_snapshot(atomic_load(&m->pool), &cut);
	emit(m, &cut, sink);
}

static void
add_series(struct pool_metrics *m, const struct metric_family *rows)
{
	struct series *series = &m->series[m->n++];
	const struct metric_tag *tags = METRIC_TAGS({ "pool", m->tag });

	series->rows = rows;
	series->acquire = metrics_timer(m->metrics, &rows[ACQUIRE], tags);
	series->usage = metrics_timer(m->metrics, &rows[USAGE], tags);
	series->creation = metrics_timer(m->metrics, &rows[CREATION], tags);
	series->leaks = metrics_counter(m->metrics, &rows[LEAKS], tags);
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		series->rejected[i] =
			metrics_counter(m->metrics, &rows[REJECTED],
				METRIC_TAGS({ "pool", m->tag },
					{ "reason", error_name(reasons[i]) }));
	for (int why = 0; why < POOL_CLOSE_COUNT; why++)
		series->evictions[why] = metrics_counter(m->metrics,
			&rows[EVICTIONS],
			METRIC_TAGS({ "pool", m->tag },
				{ "reason", pool_close_tag(
						    (enum pool_close)why) }));
}

struct pool_metrics *
pool_metrics_new(struct metrics *metrics, enum pool_metrics_style style,
	const char *pool_tag)
{
	struct pool_metrics *m = calloc(1, sizeof(*m));

	if (m == NULL)
		abort();
	m->metrics = metrics;
	m->tag = pool_tag;
	m->observer = (struct pool_observer){
		.ctx = m,
		.acquired = on_acquired,
		.released = on_released,
		.opened = on_opened,
		.closed = on_closed,
		.leak = on_leak,
		.evicted = on_evicted,
	};
	switch (style) {
	case POOL_METRICS_REDIS:
		add_series(m, redis_rows);
		break;
	case POOL_METRICS_HIKARI:
		add_series(m, hikaricp_rows);
		add_series(m, hikari_rows);
		break;
	}
	return m;
}

const struct pool_observer *
pool_metrics_observer(const struct pool_metrics *m)
{
	return &m->observer;
}

void
pool_metrics_attach(struct pool_metrics *m, struct pool *pool)
{
	atomic_store(&m->pool, pool);
	metrics_collector(m->metrics, collect, m);
}

void
pool_metrics_detach(struct pool_metrics *m)
{
	metrics_collector_remove(m->metrics, collect, m);
	atomic_store(&m->pool, NULL);
}

void
pool_metrics_free(struct pool_metrics *m)
{
	free(m);
}
