/* SPDX-License-Identifier: MIT */
#include "api/event_watch.h"

#include "api/event_errors.h"
#include "api/event_loader.h"
#include "api/scripts.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/redis.h"
#include "common/sync.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <sys/param.h>

#define STEP_TIMEOUT_NS (5 * NS_PER_S)

enum family {
	PENDING,
	OLDEST,
	EVENT_TOTAL,
	EVENT_GIVEN,
	EVENT_REMAINING,
	EVENT_PENDING,
	FAMILIES
};

/* clang-format off */
static const struct metric_family families[FAMILIES] METRIC_FAMILY = {
	[PENDING] = {
		.name = "coupon.outbox.pending",
		.kind = METRIC_GAUGE,
		.description = "Accepted requests that wait for Kafka's "
			       "acknowledgement, as last seen.",
	},
	[OLDEST] = {
		.name = "coupon.outbox.oldest",
		.kind = METRIC_GAUGE,
		.base_unit = "seconds",
		.description = "Age of the oldest of them, as last seen.",
	},
	/* "total" would be cut off: it belongs to counters. */
	[EVENT_TOTAL] = {
		.name = "coupon.event.stock",
		.kind = METRIC_GAUGE,
		.description = "Coupons of an event in all, of the newest that "
			       "have not ended.",
		.tags = "coupon",
	},
	[EVENT_GIVEN] = {
		.name = "coupon.event.given",
		.kind = METRIC_GAUGE,
		.description = "Coupons of it that were given out.",
		.tags = "coupon",
	},
	[EVENT_REMAINING] = {
		.name = "coupon.event.remaining",
		.kind = METRIC_GAUGE,
		.description = "Coupons of it that are left.",
		.tags = "coupon",
	},
	[EVENT_PENDING] = {
		.name = "coupon.event.pending",
		.kind = METRIC_GAUGE,
		.description = "Requests of it that wait for Kafka's "
			       "acknowledgement.",
		.tags = "coupon",
	},
};
/* clang-format on */

struct event_row {
	int64_t coupon_id;
	int64_t total, remaining, pending;
};

/* Everything one look finds. */
struct event_view {
	int64_t pending;
	int64_t oldest_ms; /* age */
	size_t n;
	struct event_row rows[EVENT_WATCH_MAX]; /* newest first */
};

struct event_watch {
	const struct event_loader *loader;
	struct metrics *metrics;
	struct mutex lock;
	struct event_watch_locked { /* only through locked() */
		struct event_view view;
	} locked_;
};

static struct event_watch_locked *locked(struct event_watch *watch)
	REQUIRES(watch->lock);

static struct event_watch_locked *
locked(struct event_watch *watch)
{
	return &watch->locked_;
}

static void
read_view(struct event_watch *watch, struct event_view *ret)
{
	mutex_lock(&watch->lock);
	*ret = locked(watch)->view;
	mutex_unlock(&watch->lock);
}

/* ---- looking ---- */

int
event_watch_index(
	struct pool *pool, int64_t **ret, size_t *ret_n, struct error *err)
{
	int64_t deadline_ns = clock_now_ns() + STEP_TIMEOUT_NS;
	struct pool_entry *entry;
	struct redisReply *ids;
	int rc = pool_acquire(pool, "event-watch", deadline_ns, &entry, err);

	if (rc != 0)
		return rc;
	rc = redis_callf(entry->resource, deadline_ns, &ids, err,
		"SMEMBERS " EVENTS_INDEX_KEY);
	pool_release(pool, &entry, redis_verdict(rc));
	if (rc != 0)
		return rc;
	*ret = calloc(ids->elements + 1, sizeof(**ret));
	if (*ret == NULL) {
		freeReplyObject(ids);
		return error_set(err, ERROR_NO_MEMORY, "no memory for events");
	}
	*ret_n = ids->elements;
	for (size_t i = 0; i < ids->elements; i++)
		(*ret)[i] = strtoll(ids->element[i]->str, NULL, 10);
	freeReplyObject(ids);
	return 0;
}

/* In its place, the oldest one falling off the end. */
static void
add_row(struct event_view *view, const struct event_row *row)
{
	size_t at = view->n;

	while (at > 0 && view->rows[at - 1].coupon_id < row->coupon_id)
		at--;
	if (at == EVENT_WATCH_MAX)
		return;
	view->n = MIN(view->n + 1, EVENT_WATCH_MAX);
	memmove(&view->rows[at + 1], &view->rows[at],
		(view->n - 1 - at) * sizeof(*row));
	view->rows[at] = *row;
}

static void
add_event(struct event_view *view, int64_t coupon_id,
	const struct event_figures *figures)
{
	const struct event_row row = {
		.coupon_id = coupon_id,
		.total = figures->total,
		.remaining = event_figures_remaining(figures),
		.pending = figures->pending,
	};

	if (figures->pending > 0) {
		view->pending += figures->pending;
		view->oldest_ms = MAX(
			view->oldest_ms, figures->now_ms - figures->oldest_ms);
	}
	if (figures->event != EVENT_MISSING && !figures->closed &&
		figures->now_ms < figures->closes_at_ms)
		add_row(view, &row);
}

static int
look_at_event(struct event_watch *watch, int64_t coupon_id,
	struct event_view *view, struct error *err)
{
	struct event_figures figures;
	int rc = event_figures_read(watch->loader, coupon_id,
		clock_now_ns() + STEP_TIMEOUT_NS, &figures, err);

	if (rc == 0)
		add_event(view, coupon_id, &figures);
	return rc;
}

static int
look_at_shard(struct event_watch *watch, struct pool *pool,
	struct event_view *view, struct event_errors *errors, struct error *err)
{
	int64_t *ids = NULL;
	size_t n = 0;
	int rc = event_watch_index(pool, &ids, &n, err);

	if (rc != 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = look_at_event(watch, ids[i], view, err);
		rc = event_errors_note(errors, ids[i], rc, err);
	}
	free(ids);
	return rc;
}

int
event_watch_look(struct event_watch *watch, struct error *err)
{
	struct redis_shards *shards = watch->loader->shards;
	struct event_errors errors = { 0 };
	struct event_view view = { 0 };

	for (size_t i = 0; i < redis_shards_count(shards); i++) {
		int rc = look_at_shard(watch, redis_shards_pool_at(shards, i),
			&view, &errors, err);

		if (rc != 0)
			return rc;
	}
	mutex_lock(&watch->lock);
	locked(watch)->view = view;
	mutex_unlock(&watch->lock);
	return event_errors_end(&errors, 0, err);
}

/* ---- showing ---- */

void
event_watch_outboxes(
	struct event_watch *watch, int64_t *ret_pending, int64_t *ret_oldest_ms)
{
	struct event_view view;

	read_view(watch, &view);
	*ret_pending = view.pending;
	*ret_oldest_ms = view.oldest_ms;
}

static void
emit_event(struct metrics_sink *sink, const struct event_row *row)
{
	char id[24];
	const struct metric_tag *tags = METRIC_TAGS({ "coupon", id });

	(void)snprintf(id, sizeof(id), "%" PRId64, row->coupon_id);
	metrics_emit(sink, &families[EVENT_TOTAL], tags, (double)row->total);
	metrics_emit(sink, &families[EVENT_GIVEN], tags,
		(double)(row->total - row->remaining));
	metrics_emit(
		sink, &families[EVENT_REMAINING], tags, (double)row->remaining);
	metrics_emit(
		sink, &families[EVENT_PENDING], tags, (double)row->pending);
}

static void
collect(void *arg, struct metrics_sink *sink)
{
	struct event_view view;

	read_view(arg, &view);
	metrics_emit(
		sink, &families[PENDING], METRIC_NO_TAGS, (double)view.pending);
	metrics_emit(sink, &families[OLDEST], METRIC_NO_TAGS,
		(double)view.oldest_ms / 1000);
	for (size_t i = 0; i < view.n; i++)
		emit_event(sink, &view.rows[i]);
}

struct event_watch *
event_watch_new(const struct event_loader *loader, struct metrics *metrics)
{
	struct event_watch *watch = must(calloc(1, sizeof(*watch)));

	watch->loader = loader;
	watch->metrics = metrics;
	mutex_init(&watch->lock);
	metrics_collector(metrics, collect, watch);
	return watch;
}

void
event_watch_free(struct event_watch *watch)
{
	if (watch == NULL)
		return;
	metrics_collector_remove(watch->metrics, collect, watch);
	mutex_fini(&watch->lock);
	free(watch);
}
