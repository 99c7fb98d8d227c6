/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * Series are never removed, and a new one goes in front: a scrape takes the
 * lock for the first one and walks the rest without.  A collector runs without
 * the lock, marked busy, and its removal waits until no scrape is inside.
 */
#include "common/metrics.h"

#include "common/metrics_series.h"
#include "common/sync.h"

#include <assert.h>

struct collector {
	metrics_collect_fn *collect;
	void *arg;
	unsigned busy; /* scrapes inside it */
	bool removed;  /* no further one */
	struct collector *next;
};

struct metrics {
	struct mutex lock;
	struct cond left; /* with lock: a collector is not busy any more */
	struct locked {   /* only through locked() */
		struct series
			*newest; /* list of all; what it points to stays */
		struct collector *collectors;
	} locked_;
};

static struct locked *locked(struct metrics *metrics) REQUIRES(metrics->lock);
static struct series *find_or_make(
	struct metrics *metrics, struct series_id *id) REQUIRES(metrics->lock);
static struct collector *next_to_ask(struct collector *from);
static struct collector *find_collector(struct metrics *metrics,
	metrics_collect_fn *collect, void *arg) REQUIRES(metrics->lock);
static void unlink_collector(struct metrics *metrics,
	struct collector *collector) REQUIRES(metrics->lock);

static struct locked *
locked(struct metrics *metrics)
{
	return &metrics->locked_;
}

struct metrics *
metrics_new(void)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));

	if (metrics == NULL)
		abort();
	mutex_init(&metrics->lock);
	cond_init(&metrics->left);
	return metrics;
}

void
metrics_free(struct metrics *metrics)
{
	struct series *series;
	struct collector *collector;

	if (metrics == NULL)
		return;
	mutex_lock(&metrics->lock);
	series = locked(metrics)->newest;
	collector = locked(metrics)->collectors;
	mutex_unlock(&metrics->lock);
	while (series != NULL) {
		struct series *older = series->next;

		free(series->id);
		free(series);
		series = older;
	}
	while (collector != NULL) {
		struct collector *next = collector->next;

		assert(collector->busy == 0);
		free(collector);
		collector = next;
	}
	cond_fini(&metrics->left);
	mutex_fini(&metrics->lock);
	free(metrics);
}

/* ---- creation ---- */

/* Takes ownership of `id`.  A walk over some hundred series: at start. */
static struct series *
find_or_make(struct metrics *metrics, struct series_id *id)
{
	struct series *newest = locked(metrics)->newest;

	for (struct series *s = newest; s != NULL; s = s->next) {
		if (series_id_compare(s->id, id) == 0) {
			free(id);
			return s;
		}
	}
	struct series *series = series_new(id);
	series->next = newest;
	locked(metrics)->newest = series;
	return series;
}

static struct series *
get_series(struct metrics *metrics, const struct metric_family *family,
	const struct metric_tag *tags)
{
	struct series_id *id = series_id_new(family, tags);
	struct series *series;

	if (id == NULL)
		abort();
	mutex_lock(&metrics->lock);
	series = find_or_make(metrics, id);
	mutex_unlock(&metrics->lock);
	assert(series->id->family->kind == family->kind);
	return series;
}

struct counter *
metrics_counter(struct metrics *metrics, const struct metric_family *family,
	const struct metric_tag *tags)
{
	assert(family->kind == METRIC_COUNTER);
	return (struct counter *)get_series(metrics, family, tags);
}

struct timer *
metrics_timer(struct metrics *metrics, const struct metric_family *family,
	const struct metric_tag *tags)
{
	assert(family->kind == METRIC_TIMER);
	return (struct timer *)get_series(metrics, family, tags);
}

/* ---- collectors ---- */

void
metrics_collector(
	struct metrics *metrics, metrics_collect_fn *collect, void *arg)
{
	struct collector *collector = malloc(sizeof(*collector));

	if (collector == NULL)
		abort();
	*collector = (struct collector){ .collect = collect, .arg = arg };
	mutex_lock(&metrics->lock);
	collector->next = locked(metrics)->collectors;
	locked(metrics)->collectors = collector;
	mutex_unlock(&metrics->lock);
}

static struct collector *
find_collector(struct metrics *metrics, metrics_collect_fn *collect, void *arg)
{
	struct collector *c = next_to_ask(locked(metrics)->collectors);

	while (c != NULL && !(c->collect == collect && c->arg == arg))
		c = next_to_ask(c->next);
	return c;
}

static void
unlink_collector(struct metrics *metrics, struct collector *collector)
{
	struct collector **link = &locked(metrics)->collectors;

	while (*link != collector)
		link = &(*link)->next;
	*link = collector->next;
}

void
metrics_collector_remove(
	struct metrics *metrics, metrics_collect_fn *collect, void *arg)
{
	mutex_lock(&metrics->lock);
	struct collector *collector = find_collector(metrics, collect, arg);
	if (collector != NULL) {
		collector->removed = true;
		while (collector->busy > 0)
			cond_wait(&metrics->left, &metrics->lock);
		unlink_collector(metrics, collector);
	}
	mutex_unlock(&metrics->lock);
	free(collector);
}

static struct collector *
next_to_ask(struct collector *from)
{
	while (from != NULL && from->removed)
		from = from->next;
	return from;
}

static void
ask_collectors(struct metrics *metrics, struct metrics_sink *sink)
{
	struct collector *c;

	mutex_lock(&metrics->lock);
	c = next_to_ask(locked(metrics)->collectors);
	while (c != NULL) {
		c->busy++;
		mutex_unlock(&metrics->lock);
		c->collect(c->arg, sink);
		mutex_lock(&metrics->lock);
		if (--c->busy == 0)
			cond_broadcast(&metrics->left);
		c = next_to_ask(c->next);
	}
	mutex_unlock(&metrics->lock);
}

/* ---- snapshots ---- */

/* Room for one more sample, or NULL and sink->failed. */
static struct metrics_sample *
add_sample(struct metrics_sink *sink)
{
	if (sink->count == sink->room) {
		size_t room = sink->room == 0 ? 256 : 2 * sink->room;
		void *samples = reallocarray(
			sink->samples, room, sizeof(*sink->samples));

		if (samples == NULL) {
			sink->failed = true;
			return NULL;
		}
		sink->samples = samples;
		sink->room = room;
	}
	struct metrics_sample *sample = &sink->samples[sink->count++];
	*sample = (struct metrics_sample){ 0 };
	return sample;
}

void
metrics_emit(struct metrics_sink *sink, const struct metric_family *family,
	const struct metric_tag *tags, double value)
{
	struct series_id *id = series_id_new(family, tags);
	struct metrics_sample *sample = add_sample(sink);

	assert(family->kind != METRIC_TIMER);
	if (id == NULL || sample == NULL) {
		free(id);
		sink->count -= sample != NULL;
		sink->failed = true;
		return;
	}
	sample->id = sample->owned = id;
	sample->value = value;
}

static int
compare_samples(const void *a, const void *b)
{
	const struct metrics_sample *x = a;
	const struct metrics_sample *y = b;
	int order = series_id_compare(x->id, y->id);

	/* A registered one before the same emitted: that one is dropped. */
	return order != 0 ? order : (x->owned != NULL) - (y->owned != NULL);
}

/* A scraper refuses the whole text when a series is in it twice. */
static void
sort_and_drop_doubles(struct metrics_sink *sink)
{
	size_t kept = 0;

	if (sink->count == 0)
		return;
	qsort(sink->samples, sink->count, sizeof(*sink->samples),
		compare_samples);
	for (size_t i = 1; i < sink->count; i++) {
		struct metrics_sample *sample = &sink->samples[i];

		if (series_id_compare(sink->samples[kept].id, sample->id) != 0)
			sink->samples[++kept] = *sample;
		else
			free(sample->owned);
	}
	sink->count = kept + 1;
}

static const struct series *
newest_series(struct metrics *metrics)
{
	const struct series *newest;

	mutex_lock(&metrics->lock);
	newest = locked(metrics)->newest;
	mutex_unlock(&metrics->lock);
	return newest;
}

int
metrics_snapshot(struct metrics *metrics, struct metrics_sink *ret)
{
	*ret = (struct metrics_sink){ 0 };
	for (const struct series *series = newest_series(metrics);
		series != NULL; series = series->next) {
		struct metrics_sample *sample = add_sample(ret);

		if (sample == NULL)
			break;
		series_read(series, sample);
	}
	ask_collectors(metrics, ret);
	if (ret->failed) {
		metrics_snapshot_free(ret);
		return -1;
	}
	sort_and_drop_doubles(ret);
	return 0;
}

void
metrics_snapshot_free(struct metrics_sink *snapshot)
{
	for (size_t i = 0; i < snapshot->count; i++)
		free(snapshot->samples[i].owned);
	free(snapshot->samples);
	*snapshot = (struct metrics_sink){ 0 };
}

size_t
metrics_snapshot_group(const struct metrics_sink *snapshot, size_t first)
{
	const char *name = snapshot->samples[first].id->family->name;
	size_t n = 1;

	while (first + n < snapshot->count &&
		strcmp(snapshot->samples[first + n].id->family->name, name) ==
			0)
		n++;
	return n;
}
