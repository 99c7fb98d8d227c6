/* SPDX-License-Identifier: MIT */
/*
 * metrics - counters, timers and gauges, cheap to write, summed at scrape.
 *
 * A series is created once, at start where possible (an HPA that reads a
 * missing series refuses to scale), and lives as long as the registry.
 * Writing is lock-free: every thread adds to a shard of its own.  Any thread,
 * except where a function says otherwise.
 *
 * Names are Micrometer's ("redis.connection.acquire"); their Prometheus
 * spelling is derived from kind and base unit as Micrometer does
 * (facts: PrometheusNamingConvention).
 */
#ifndef COMMON_METRICS_H
#define COMMON_METRICS_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct metrics; /* the registry */
struct counter;
struct timer;

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_TIMER };

/*
 * What a family is: one static const row per family, in the module that feeds
 * it, placed with METRIC_FAMILY so that docs/metrics.md finds it:
 *
 *	static const struct metric_family sold METRIC_FAMILY = {
 *		.name = "coupon.sold",
 *		.kind = METRIC_COUNTER,
 *		.description = "Coupons sold.",
 *		.tags = "outcome",
 *	};
 *
 * An array of rows takes the attribute as well.  Two modules may feed the
 * same family, each with a row of its own; the rows must then be equal.
 */
struct metric_family {
	const char *name; /* "coupon.issue" */
	enum metric_kind kind;
	/* Part of the Prometheus name: "bytes"; NULL or "" for none, as
	 * hikaricp.connections.active has.  Timers are seconds. */
	const char *base_unit;
	const char *description; /* one sentence with its full stop */
	bool histogram;          /* timers: buckets in the Prometheus text */
	const char *tags;        /* keys, for the document: "pool, state" */
};
#define METRIC_FAMILY                                                          \
	__attribute__((section("metric_families"), used, aligned(16)))

struct metric_tag {
	const char *key;   /* static */
	const char *value; /* copied */
};

#define METRIC_TAGS_MAX 6
/* METRIC_TAGS({"pool", "redis"}, {"state", "open"}) */
/* clang-format off */
#define METRIC_TAGS(...) \
	(const struct metric_tag[]){ __VA_ARGS__, { NULL, NULL } }
#define METRIC_NO_TAGS ((const struct metric_tag[]){ { NULL, NULL } })
/* clang-format on */

struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);

/*
 * The series of `family` with these tags; made on the first call, the same
 * one again on later calls, whatever the order of the tags.  Takes a lock:
 * keep the pointer.  Never NULL (out of memory aborts: start-up).
 */
struct counter *metrics_counter(struct metrics *metrics,
	const struct metric_family *family, const struct metric_tag *tags);
struct timer *metrics_timer(struct metrics *metrics,
	const struct metric_family *family, const struct metric_tag *tags);

/* Lock-free; any thread. */
void counter_add(struct counter *counter, uint64_t n);
uint64_t counter_value(const struct counter *counter);
void timer_record(struct timer *timer, int64_t ns);
uint64_t timer_count(const struct timer *timer);

/*
 * Gauges are read at scrape: a collector is called once per scrape and emits
 * any number of values, so that values of one snapshot stay together
 * (active + idle == total).  It must not block on anything but short locks,
 * and several scrapes may be inside it at once.
 */
struct metrics_sink;
typedef void metrics_collect_fn(void *arg, struct metrics_sink *sink);
void metrics_collector(
	struct metrics *metrics, metrics_collect_fn *collect, void *arg);
/* Take a collector away again; when it returns, no scrape is inside it.  Not
 * from within a collector. */
void metrics_collector_remove(
	struct metrics *metrics, metrics_collect_fn *collect, void *arg);

/* Only inside a collector; gauges and counters.  A series emitted twice in one
 * scrape, or created as well, counts once. */
void metrics_emit(struct metrics_sink *sink, const struct metric_family *family,
	const struct metric_tag *tags, double value);

/*
 * Renderings: a malloc'ed, NUL-terminated text, or NULL when out of memory.
 * prometheus: text 0.0.4, or OpenMetrics 1.0 when `openmetrics`; only the
 * families in `included` (comma-separated Prometheus names) unless NULL.
 */
char *metrics_prometheus(struct metrics *metrics, bool openmetrics,
	const char *included, size_t *ret_len);

/* Actuator's /metrics and /metrics/{name}?tag=k:v as JSON. */
char *metrics_names_json(struct metrics *metrics);
/* `tags` ends with NULL, NULL for none.
 * -ERROR_NOT_FOUND unknown name or no match; -ERROR_BAD_INPUT tag has no ':' */
struct error;
int metrics_one_json(struct metrics *metrics, const char *name,
	const char *const *tags, char **ret, struct error *err);

/* docs/metrics.md, as committed: every METRIC_FAMILY row of the program.
 * Aborts when two rows contradict each other: one name and different rows, or
 * two names that Prometheus would spell alike. */
void metrics_print_markdown(FILE *out);

#endif
