/* SPDX-License-Identifier: MIT */
/*
 * metrics_series - the inside of the registry: identity of a series, and one
 * snapshot of all of them.  For common/metrics*.c and their tests only.
 *
 * A snapshot is its caller's; it borrows from the registry it was taken of.
 */
#ifndef COMMON_METRICS_SERIES_H
#define COMMON_METRICS_SERIES_H

#include "common/metrics.h"

/* ---- identity ---- */

/* A family and its tags, spelled once for everybody who asks later. */
struct series_id {
	const struct metric_family *family;
	size_t n_tags;
	struct metric_tag tags[METRIC_TAGS_MAX]; /* by key; point into text */
	const char *labels; /* method="GET",status="200": Prometheus, escaped */
	size_t key_len;
	char text[]; /* the key, "name\0key\0value\0...", then the labels */
};

/* malloc'ed; NULL when out of memory. */
struct series_id *series_id_new(
	const struct metric_family *family, const struct metric_tag *tags);

/* By name, then by tags; 0 for the same series. */
int series_id_compare(const struct series_id *a, const struct series_id *b);

/* ---- series: the head of every counter and timer ---- */

struct series {
	struct series_id *id;
	struct series *next; /* an older one; the registry's */
};

/* A counter or timer, as the family says, starting at 0.  Takes ownership of
 * `id`; free() ends it.  Aborts when out of memory. */
struct series *series_new(struct series_id *id);

/* ---- buckets of histogram families ---- */

#define TIMER_EDGES 14
struct timer_edge {
	int64_t ns;
	const char *le; /* "0.25" */
};
extern const struct timer_edge timer_edges[TIMER_EDGES];

/* ---- one reading of everything ---- */

struct timer_reading {
	/* As many as fell between two edges; the last one has no end.  Timers
	 * without histogram use the last one only. */
	uint64_t buckets[TIMER_EDGES + 1];
	uint64_t count; /* sum of the buckets: +Inf == _count always */
	int64_t sum_ns;
	int64_t max_ns;
};

struct metrics_sample {
	const struct series_id *id;
	struct series_id *owned; /* id, when the snapshot must free it */
	double value;            /* counters and gauges */
	struct timer_reading timer;
};

/* Fills in all but `owned`. */
void series_read(const struct series *series, struct metrics_sample *ret);

struct metrics_sink {
	struct metrics_sample *samples; /* sorted by series_id_compare() */
	size_t count;
	size_t room;
	bool failed; /* out of memory: incomplete */
};

/* 0, or -1 when out of memory (nothing to free then). */
int metrics_snapshot(struct metrics *metrics, struct metrics_sink *ret);
void metrics_snapshot_free(struct metrics_sink *snapshot);

/* How many samples from `first` on are of the same family. */
size_t metrics_snapshot_group(
	const struct metrics_sink *snapshot, size_t first);

/* ---- spelling ---- */

#define PROMETHEUS_NAME_SIZE 128

/*
 * The family's Prometheus name as Micrometer derives it, without the _total
 * that a counter's samples carry.
 */
void metrics_prometheus_name(
	const struct metric_family *family, char buf[PROMETHEUS_NAME_SIZE]);

/* ---- the clock of decaying maxima, for tests ---- */

/* A maximum is kept for the window it was seen in and the two after it. */
#define TIMER_MAX_WINDOWS 3
#define TIMER_MAX_WINDOW_S 20

void timer_record_in(struct timer *timer, int64_t ns, uint32_t window);
void timer_read(
	const struct timer *timer, uint32_t window, struct timer_reading *ret);

#endif
