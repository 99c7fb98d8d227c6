/* SPDX-License-Identifier: MIT */
#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/metrics_series.h"
#include "common/tests/unit.h"

#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static const struct metric_family hits METRIC_FAMILY = {
	.name = "cache.hits",
	.kind = METRIC_COUNTER,
	.description = "Hits of the cache.",
	.tags = "cache, result",
};
static const struct metric_family calls METRIC_FAMILY = {
	.name = "calls",
	.kind = METRIC_TIMER,
	.description = "Calls.",
	.histogram = true,
	.tags = "uri, status",
};
/* An odd number of rows in an array: no gap may confuse the document. */
static const struct metric_family sizes[] METRIC_FAMILY = {
	{ .name = "pool.active", .kind = METRIC_GAUGE, .description = "Used." },
	{ .name = "pool.idle", .kind = METRIC_GAUGE, .description = "Unused." },
	{ .name = "pool.total", .kind = METRIC_GAUGE, .description = "All." },
};
static const struct metric_family memory METRIC_FAMILY = {
	.name = "memory.used",
	.kind = METRIC_GAUGE,
	.base_unit = "bytes",
	.description = "Memory in use.",
};

static int
setup(void **state)
{
	*state = metrics_new();
	return 0;
}

static int
teardown(void **state)
{
	metrics_free(*state);
	return 0;
}

/* The answer of /actuator/metrics/{name}, to be freed. */
static json_t *
ask(struct metrics *metrics, const char *name, const char *const *tags)
{
	struct error err;
	char *text;

	assert_int_equal(metrics_one_json(metrics, name, tags, &text, &err), 0);
	json_t *json = json_loads(text, 0, NULL);
	free(text);
	assert_non_null(json);
	return json;
}

static double
measurement(json_t *json, size_t index, const char *statistic)
{
	json_t *m =
		json_array_get(json_object_get(json, "measurements"), index);

	assert_string_equal(
		json_string_value(json_object_get(m, "statistic")), statistic);
	return json_real_value(json_object_get(m, "value"));
}

/* ---- creation ---- */

static void
same_family_and_tags_are_one_series_in_any_order(void **state)
{
	struct counter *a = metrics_counter(*state, &hits,
		METRIC_TAGS({ "cache", "users" }, { "result", "hit" }));
	struct counter *b = metrics_counter(*state, &hits,
		METRIC_TAGS({ "result", "hit" }, { "cache", "users" }));
	struct counter *other = metrics_counter(*state, &hits,
		METRIC_TAGS({ "cache", "users" }, { "result", "miss" }));

	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, other);
}

static void
rows_of_one_name_in_two_modules_are_one_family(void **state)
{
	const struct metric_family again = hits;

	assert_ptr_equal(metrics_counter(*state, &hits, METRIC_NO_TAGS),
		metrics_counter(*state, &again, NULL));
}

static void
tags_that_only_join_to_the_same_text_are_different_series(void **state)
{
	assert_ptr_not_equal(
		metrics_counter(*state, &hits, METRIC_TAGS({ "a", "bc" })),
		metrics_counter(*state, &hits, METRIC_TAGS({ "ab", "c" })));
}

static void
tag_values_are_copied(void **state)
{
	char value[] = "before";
	struct counter *a =
		metrics_counter(*state, &hits, METRIC_TAGS({ "cache", value }));

	(void)snprintf(value, sizeof(value), "after");
	assert_ptr_equal(a, metrics_counter(*state, &hits,
				    METRIC_TAGS({ "cache", "before" })));
}

/* ---- timers ---- */

static void
timer_counts_sums_and_keeps_the_maximum(void **state)
{
	struct timer *timer = metrics_timer(*state, &calls, METRIC_NO_TAGS);
	struct timer_reading reading;

	timer_record_in(timer, 30 * NS_PER_MS, 7);
	timer_record_in(timer, 2 * NS_PER_S, 7);
	timer_record_in(timer, -5, 7); /* a clock that went back */
	timer_read(timer, 7, &reading);
	assert_int_equal(reading.count, 3);
	assert_int_equal(reading.sum_ns, 2 * NS_PER_S + 30 * NS_PER_MS);
	assert_int_equal(reading.max_ns, 2 * NS_PER_S);
}

static void
bucket_edges_belong_to_the_bucket_below(void **state)
{
	struct timer *timer = metrics_timer(*state, &calls, METRIC_NO_TAGS);
	struct timer_reading reading;

	for (size_t i = 0; i < TIMER_EDGES; i++) {
		timer_record(timer, timer_edges[i].ns);
		timer_record(timer, timer_edges[i].ns + 1);
	}
	timer_read(timer, 0, &reading);
	assert_int_equal(reading.buckets[0], 1);
	for (size_t i = 1; i < TIMER_EDGES; i++)
		assert_int_equal(reading.buckets[i], 2);
	assert_int_equal(reading.buckets[TIMER_EDGES], 1);
}

static void
edges_ascend_and_are_spelled_as_they_are(void **state)
{
	(void)state;
	for (size_t i = 0; i < TIMER_EDGES; i++) {
		assert_true(strtod(timer_edges[i].le, NULL) ==
			    (double)timer_edges[i].ns / 1e9);
		assert_true(
			i == 0 || timer_edges[i].ns > timer_edges[i - 1].ns);
	}
}

static int64_t
max_in(const struct timer *timer, uint32_t window)
{
	struct timer_reading reading;

	timer_read(timer, window, &reading);
	return reading.max_ns;
}

static void
maximum_is_forgotten_after_three_windows(void **state)
{
	struct timer *timer = metrics_timer(*state, &calls, METRIC_NO_TAGS);

	timer_record_in(timer, 900, 100);
	timer_record_in(timer, 300, 101);
	timer_record_in(timer, 200, 101);
	assert_int_equal(max_in(timer, 100), 900);
	assert_int_equal(max_in(timer, 102), 900);
	assert_int_equal(max_in(timer, 103), 300); /* window 100 has left */
	assert_int_equal(max_in(timer, 104), 0);
	timer_record_in(timer, 5, 103); /* takes the slot of window 100 */
	assert_int_equal(max_in(timer, 103), 300);
	assert_int_equal(max_in(timer, 105), 5);
}

static void
longest_maximum_is_capped_not_wrapped(void **state)
{
	struct timer *timer = metrics_timer(*state, &calls, METRIC_NO_TAGS);

	timer_record_in(timer, 86400 * NS_PER_S, 9);
	timer_record_in(timer, 1 * NS_PER_S, 9);
	assert_true(max_in(timer, 9) > 4 * 3600 * NS_PER_S);
	assert_true(max_in(timer, 9) < 5 * 3600 * NS_PER_S);
}

/* ---- collectors ---- */

struct pool {
	double active;
	double idle;
	unsigned asked;
};

static void
collect_pool(void *arg, struct metrics_sink *sink)
{
	struct pool *pool = arg;

	pool->asked++;
	metrics_emit(sink, &sizes[0], METRIC_NO_TAGS, pool->active);
	metrics_emit(sink, &sizes[1], METRIC_NO_TAGS, pool->idle);
	metrics_emit(
		sink, &sizes[2], METRIC_NO_TAGS, pool->active + pool->idle);
}

static void
collector_is_asked_once_per_scrape_until_removed(void **state)
{
	struct pool pool = { .active = 7, .idle = 3 };
	struct error err;
	char *text;

	metrics_collector(*state, collect_pool, &pool);
	json_t *json = ask(*state, "pool.total", NULL);
	assert_true(measurement(json, 0, "VALUE") == 10);
	json_decref(json);
	assert_int_equal(pool.asked, 1);

	metrics_collector_remove(*state, collect_pool, &pool);
	assert_int_equal(
		metrics_one_json(*state, "pool.total", NULL, &text, &err),
		-ERROR_NOT_FOUND);
	assert_int_equal(pool.asked, 1);
}

static void
removing_an_unknown_collector_changes_nothing(void **state)
{
	struct pool pool = { 0 };

	metrics_collector(*state, collect_pool, &pool);
	metrics_collector_remove(*state, collect_pool, NULL);
	free(metrics_names_json(*state));
	assert_int_equal(pool.asked, 1);
}

static void
series_emitted_twice_counts_once(void **state)
{
	struct pool pool = { .active = 7, .idle = 3 };

	metrics_collector(*state, collect_pool, &pool);
	metrics_collector(*state, collect_pool, &pool);
	json_t *json = ask(*state, "pool.total", NULL);
	assert_true(measurement(json, 0, "VALUE") == 10);
	json_decref(json);
}

/* ---- JSON, as recorded from a Spring Boot application ---- */

static void
assert_json(json_t *json, const char *expected)
{
	json_t *want = json_loads(expected, 0, NULL);
	char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));

	assert_non_null(want);
	if (!json_equal(json, want))
		assert_string_equal(text, expected);
	free(text);
	json_decref(want);
	json_decref(json);
}

static void
names_are_sorted_and_unique(void **state)
{
	struct pool pool = { 0 };

	metrics_timer(*state, &calls, METRIC_NO_TAGS);
	metrics_counter(*state, &hits, METRIC_TAGS({ "cache", "b" }));
	metrics_counter(*state, &hits, METRIC_TAGS({ "cache", "a" }));
	metrics_collector(*state, collect_pool, &pool);
	char *text = metrics_names_json(*state);
	assert_string_equal(text,
		"{\"names\":[\"cache.hits\",\"calls\",\"pool.active\","
		"\"pool.idle\",\"pool.total\"]}");
	free(text);
}

static void
record_calls(struct metrics *metrics)
{
	timer_record(metrics_timer(metrics, &calls,
			     METRIC_TAGS({ "uri", "/a" }, { "status", "200" })),
		1 * NS_PER_S);
	timer_record(metrics_timer(metrics, &calls,
			     METRIC_TAGS({ "uri", "/a" }, { "status", "503" })),
		2 * NS_PER_S);
	timer_record(metrics_timer(metrics, &calls,
			     METRIC_TAGS({ "uri", "/b" }, { "status", "200" })),
		500 * NS_PER_MS);
}

static void
one_timer_sums_its_series_and_takes_the_largest_maximum(void **state)
{
	record_calls(*state);
	assert_json(ask(*state, "calls", NULL),
		"{\"name\":\"calls\",\"description\":\"Calls.\","
		"\"baseUnit\":\"seconds\",\"measurements\":["
		"{\"statistic\":\"COUNT\",\"value\":3.0},"
		"{\"statistic\":\"TOTAL_TIME\",\"value\":3.5},"
		"{\"statistic\":\"MAX\",\"value\":2.0}],\"availableTags\":["
		"{\"tag\":\"status\",\"values\":[\"200\",\"503\"]},"
		"{\"tag\":\"uri\",\"values\":[\"/a\",\"/b\"]}]}");
}

static void
one_gauge_has_its_base_unit_and_no_tags(void **state)
{
	struct pool pool = { .active = 0, .idle = 3 };

	metrics_collector(*state, collect_pool, &pool);
	assert_json(ask(*state, "pool.active", NULL),
		"{\"name\":\"pool.active\",\"description\":\"Used.\","
		"\"measurements\":[{\"statistic\":\"VALUE\",\"value\":0.0}],"
		"\"availableTags\":[]}");
}

static void
tags_filter_together_and_leave_the_available_ones(void **state)
{
	record_calls(*state);
	assert_json(
		ask(*state, "calls",
			(const char *const[]){ "status:200", "uri:/b", NULL }),
		"{\"name\":\"calls\",\"description\":\"Calls.\","
		"\"baseUnit\":\"seconds\",\"measurements\":["
		"{\"statistic\":\"COUNT\",\"value\":1.0},"
		"{\"statistic\":\"TOTAL_TIME\",\"value\":0.5},"
		"{\"statistic\":\"MAX\",\"value\":0.5}],\"availableTags\":[]}");
}

static void
tag_splits_at_the_first_colon(void **state)
{
	metrics_counter(*state, &hits, METRIC_TAGS({ "cache", "a:b" }));
	metrics_counter(*state, &hits, METRIC_TAGS({ "cache:a", "b" }));
	json_t *json = ask(*state, "cache.hits",
		(const char *const[]){ "cache:a:b", NULL });
	assert_int_equal(
		json_array_size(json_object_get(json, "availableTags")), 0);
	json_decref(json);
}

static void
unknown_name_or_tag_is_not_found_and_no_colon_bad_input(void **state)
{
	struct error err;
	char *text = NULL;

	record_calls(*state);
	assert_int_equal(metrics_one_json(*state, "call", NULL, &text, &err),
		-ERROR_NOT_FOUND);
	assert_int_equal(
		metrics_one_json(*state, "calls",
			(const char *const[]){ "uri:/c", NULL }, &text, &err),
		-ERROR_NOT_FOUND);
	assert_int_equal(
		metrics_one_json(*state, "calls",
			(const char *const[]){ "ur:/a", NULL }, &text, &err),
		-ERROR_NOT_FOUND);
	assert_int_equal(
		metrics_one_json(*state, "no.such",
			(const char *const[]){ "nocolon", NULL }, &text, &err),
		-ERROR_BAD_INPUT);
	assert_string_equal(
		err.msg, "Each tag parameter must be in the form 'key:value'");
	assert_null(text);
}

static void
collect_nan(void *arg, struct metrics_sink *sink)
{
	metrics_emit(sink, &memory, METRIC_NO_TAGS, *(const double *)arg);
}

static void
what_json_numbers_cannot_be_is_a_string(void **state)
{
	double nan = NAN;

	metrics_collector(*state, collect_nan, &nan);
	assert_json(ask(*state, "memory.used", NULL),
		"{\"name\":\"memory.used\",\"description\":\"Memory in use.\","
		"\"baseUnit\":\"bytes\",\"measurements\":["
		"{\"statistic\":\"VALUE\",\"value\":\"NaN\"}],"
		"\"availableTags\":[]}");
}

/* ---- the document ---- */

static void
document_has_every_row_of_the_program_once(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	metrics_print_markdown(out);
	assert_int_equal(fclose(out), 0);
	assert_non_null(
		strstr(text, "| `cache.hits` | `cache_hits_total` | counter | "
			     "cache, result | Hits of the cache. |\n"));
	assert_non_null(strstr(text,
		"| `calls` | `calls_seconds` | histogram | uri, status | "
		"Calls. |\n"
		"| `memory.used` | `memory_used_bytes` | gauge |  | "
		"Memory in use. |\n"
		"| `pool.active` | `pool_active` | gauge |  | Used. |\n"
		"| `pool.idle` | `pool_idle` | gauge |  | Unused. |\n"
		"| `pool.total` | `pool` | gauge |  | All. |\n"));
	free(text);
}

/* ---- threads ---- */

/* A collector that a scrape is inside of until the test lets it go. */
struct stay {
	struct metrics *metrics;
	atomic_bool inside;
	atomic_bool may_leave;
	atomic_bool removed;
};

static void
collect_slowly(void *arg, struct metrics_sink *sink UNUSED)
{
	struct stay *stay = arg;

	atomic_store(&stay->inside, true);
	while (!atomic_load(&stay->may_leave))
		(void)sched_yield();
}

static void *
scrape_once(void *arg)
{
	struct stay *stay = arg;

	free(metrics_names_json(stay->metrics));
	return NULL;
}

static void *
remove_collector(void *arg)
{
	struct stay *stay = arg;

	metrics_collector_remove(stay->metrics, collect_slowly, stay);
	atomic_store(&stay->removed, true);
	return NULL;
}

static void
removal_waits_for_the_scrape_inside(void **state)
{
	struct stay stay = { .metrics = *state };
	pthread_t scraper, remover;

	metrics_collector(*state, collect_slowly, &stay);
	assert_int_equal(pthread_create(&scraper, NULL, scrape_once, &stay), 0);
	while (!atomic_load(&stay.inside))
		(void)sched_yield();
	assert_int_equal(
		pthread_create(&remover, NULL, remove_collector, &stay), 0);
	(void)nanosleep(&(struct timespec){ .tv_nsec = 20 * NS_PER_MS }, NULL);
	assert_false(atomic_load(&stay.removed));
	atomic_store(&stay.may_leave, true);
	assert_int_equal(pthread_join(scraper, NULL), 0);
	assert_int_equal(pthread_join(remover, NULL), 0);
	assert_true(atomic_load(&stay.removed));
}

#define WRITERS 4
#define ROUNDS 20000

struct crowd {
	struct metrics *metrics;
	atomic_bool stop;
};

static void *
write_a_lot(void *arg)
{
	struct crowd *crowd = arg;
	struct counter *counter =
		metrics_counter(crowd->metrics, &hits, METRIC_NO_TAGS);
	struct timer *timer =
		metrics_timer(crowd->metrics, &calls, METRIC_NO_TAGS);

	for (int64_t i = 0; i < ROUNDS; i++) {
		counter_add(counter, 2);
		timer_record(timer, i % 16 * NS_PER_MS);
	}
	return NULL;
}

static void *
come_and_go(void *arg)
{
	struct crowd *crowd = arg;

	while (!atomic_load(&crowd->stop)) {
		struct pool pool = { .active = 1, .idle = 1 };

		metrics_collector(crowd->metrics, collect_pool, &pool);
		metrics_collector_remove(crowd->metrics, collect_pool, &pool);
		/* `pool` ends here: a scrape inside would be caught */
	}
	return NULL;
}

/* count of the +Inf bucket == _count, and never less than before */
static void
check_scrape(struct metrics *metrics, uint64_t *seen)
{
	size_t len;
	char *text = metrics_prometheus(metrics, false, NULL, &len);
	const char *inf = strstr(text, "calls_seconds_bucket{le=\"+Inf\"} ");
	const char *count = strstr(text, "calls_seconds_count ");

	if (inf != NULL) {
		assert_non_null(count);
		uint64_t a = strtoull(strchr(inf, ' '), NULL, 10);
		uint64_t b = strtoull(strchr(count, ' '), NULL, 10);
		assert_int_equal(a, b);
		assert_true(a >= *seen);
		*seen = a;
	}
	free(text);
}

static void
scrapes_are_consistent_while_threads_write_and_collectors_go(void **state)
{
	struct crowd crowd = { .metrics = *state };
	pthread_t writers[WRITERS], goer;
	uint64_t seen = 0;

	assert_int_equal(pthread_create(&goer, NULL, come_and_go, &crowd), 0);
	for (size_t i = 0; i < WRITERS; i++)
		assert_int_equal(
			pthread_create(&writers[i], NULL, write_a_lot, &crowd),
			0);
	for (int i = 0; i < 100; i++)
		check_scrape(*state, &seen);
	for (size_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_join(writers[i], NULL), 0);
	atomic_store(&crowd.stop, true);
	assert_int_equal(pthread_join(goer, NULL), 0);

	assert_int_equal(
		counter_value(metrics_counter(*state, &hits, METRIC_NO_TAGS)),
		UINT64_C(2) * WRITERS * ROUNDS);
	assert_int_equal(
		timer_count(metrics_timer(*state, &calls, METRIC_NO_TAGS)),
		WRITERS * ROUNDS);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(same_family_and_tags_are_one_series_in_any_order),
		test(rows_of_one_name_in_two_modules_are_one_family),
		test(tags_that_only_join_to_the_same_text_are_different_series),
		test(tag_values_are_copied),
		test(timer_counts_sums_and_keeps_the_maximum),
		test(bucket_edges_belong_to_the_bucket_below),
		test(edges_ascend_and_are_spelled_as_they_are),
		test(maximum_is_forgotten_after_three_windows),
		test(longest_maximum_is_capped_not_wrapped),
		test(collector_is_asked_once_per_scrape_until_removed),
		test(removing_an_unknown_collector_changes_nothing),
		test(series_emitted_twice_counts_once),
		test(names_are_sorted_and_unique),
		test(one_timer_sums_its_series_and_takes_the_largest_maximum),
		test(one_gauge_has_its_base_unit_and_no_tags),
		test(tags_filter_together_and_leave_the_available_ones),
		test(tag_splits_at_the_first_colon),
		test(unknown_name_or_tag_is_not_found_and_no_colon_bad_input),
		test(what_json_numbers_cannot_be_is_a_string),
		test(document_has_every_row_of_the_program_once),
		test(removal_waits_for_the_scrape_inside),
		test(scrapes_are_consistent_while_threads_write_and_collectors_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
