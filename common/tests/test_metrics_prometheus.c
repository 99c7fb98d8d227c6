/* SPDX-License-Identifier: MIT */
#include "common/clock.h"
#include "common/metrics.h"
#include "common/metrics_series.h"
#include "common/tests/promtool.h"
#include "common/tests/unit.h"

#include <float.h>
#include <math.h>

static const struct metric_family requests = {
	.name = "web.requests",
	.kind = METRIC_TIMER,
	.description = "Requests answered.",
	.histogram = true,
};
static const struct metric_family acquire = {
	.name = "web.pool.acquire",
	.kind = METRIC_TIMER,
	.description = "Wait for a connection.",
};
static const struct metric_family timeouts = {
	.name = "web.pool.timeout",
	.kind = METRIC_COUNTER,
	.description = "Waits in vain.",
};
static const struct metric_family level = {
	.name = "web.level",
	.kind = METRIC_GAUGE,
	.description = "Says \"how much\",\nin C:\\.",
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

static void
assert_text(struct metrics *metrics, bool openmetrics, const char *expected)
{
	size_t len = 0;
	char *text = metrics_prometheus(metrics, openmetrics, NULL, &len);

	assert_string_equal(text, expected);
	assert_int_equal(len, strlen(text));
	free(text);
}

/* ---- names ---- */

static void
assert_name(const char *name, enum metric_kind kind, const char *unit,
	const char *expected)
{
	const struct metric_family family = {
		.name = name, .kind = kind, .base_unit = unit
	};
	char buf[PROMETHEUS_NAME_SIZE];

	metrics_prometheus_name(&family, buf);
	assert_string_equal(buf, expected);
}

static void
names_are_spelled_as_micrometer_does(void **state UNUSED)
{
	assert_name("hikaricp.connections", METRIC_GAUGE, NULL,
		"hikaricp_connections");
	assert_name("commons.pool2.num.active", METRIC_GAUGE, "objects",
		"commons_pool2_num_active_objects");
	assert_name("process.start.time", METRIC_GAUGE, "seconds",
		"process_start_time_seconds");
	assert_name("jobs.seconds", METRIC_GAUGE, "seconds", "jobs_seconds");
	assert_name("http.server.requests", METRIC_TIMER, NULL,
		"http_server_requests_seconds");
	assert_name("lap.seconds", METRIC_TIMER, NULL, "lap_seconds");
	assert_name("a-b.c d", METRIC_COUNTER, "", "a_b_c_d");
}

static void
total_is_for_counters_samples_only(void **state UNUSED)
{
	assert_name(
		"redis.connection.total", METRIC_GAUGE, "", "redis_connection");
	assert_name("sent.total", METRIC_COUNTER, "", "sent");
}

/* ---- whole scrapes ---- */

static void
empty_registry_is_an_empty_text(void **state)
{
	assert_text(*state, false, "");
	assert_text(*state, true, "# EOF\n");
}

static void
summary_and_counter_in_text_format(void **state)
{
	const struct metric_tag *pool = METRIC_TAGS({ "pool", "redis" });

	timer_record(metrics_timer(*state, &acquire, pool), 4220925);
	timer_record(metrics_timer(*state, &acquire, pool), 6941);
	counter_add(metrics_counter(*state, &timeouts, METRIC_NO_TAGS), 49);
	assert_text(*state, false,
		"# HELP web_pool_acquire_seconds Wait for a connection.\n"
		"# TYPE web_pool_acquire_seconds summary\n"
		"web_pool_acquire_seconds_count{pool=\"redis\"} 2\n"
		"web_pool_acquire_seconds_sum{pool=\"redis\"} 0.004227866\n"
		"# HELP web_pool_acquire_seconds_max Wait for a connection.\n"
		"# TYPE web_pool_acquire_seconds_max gauge\n"
		"web_pool_acquire_seconds_max{pool=\"redis\"} 0.004220925\n"
		"# HELP web_pool_timeout_total Waits in vain.\n"
		"# TYPE web_pool_timeout_total counter\n"
		"web_pool_timeout_total 49.0\n");
}

static void
openmetrics_turns_help_and_type_round_and_drops_total(void **state)
{
	metrics_timer(*state, &acquire, METRIC_NO_TAGS);
	counter_add(metrics_counter(*state, &timeouts,
			    METRIC_TAGS({ "pool", "redis" })),
		1);
	assert_text(*state, true,
		"# TYPE web_pool_acquire_seconds summary\n"
		"# HELP web_pool_acquire_seconds Wait for a connection.\n"
		"web_pool_acquire_seconds_count 0\n"
		"web_pool_acquire_seconds_sum 0.0\n"
		"# TYPE web_pool_acquire_seconds_max gauge\n"
		"# HELP web_pool_acquire_seconds_max Wait for a connection.\n"
		"web_pool_acquire_seconds_max 0.0\n"
		"# TYPE web_pool_timeout counter\n"
		"# HELP web_pool_timeout Waits in vain.\n"
		"web_pool_timeout_total{pool=\"redis\"} 1.0\n"
		"# EOF\n");
}

static void
histogram_is_cumulative_and_ends_at_infinity(void **state)
{
	struct timer *timer = metrics_timer(*state, &requests,
		METRIC_TAGS({ "uri", "/a" }, { "method", "GET" }));

	timer_record(timer, NS_PER_MS);
	timer_record(timer, 300 * NS_PER_MS);
	timer_record(timer, 12 * NS_PER_S);
#define L "{method=\"GET\",uri=\"/a\""
#define BUCKET "web_requests_seconds_bucket" L ",le="
	assert_text(*state, false,
		"# HELP web_requests_seconds Requests answered.\n"
		"# TYPE web_requests_seconds histogram\n" BUCKET
		"\"0.001\"} 1\n" BUCKET "\"0.0025\"} 1\n" BUCKET
		"\"0.005\"} 1\n" BUCKET "\"0.01\"} 1\n" BUCKET
		"\"0.025\"} 1\n" BUCKET "\"0.05\"} 1\n" BUCKET
		"\"0.1\"} 1\n" BUCKET "\"0.25\"} 1\n" BUCKET
		"\"0.3\"} 2\n" BUCKET "\"0.5\"} 2\n" BUCKET
		"\"1.0\"} 2\n" BUCKET "\"2.5\"} 2\n" BUCKET
		"\"5.0\"} 2\n" BUCKET "\"10.0\"} 2\n" BUCKET "\"+Inf\"} 3\n"
		"web_requests_seconds_count" L "} 3\n"
		"web_requests_seconds_sum" L "} 12.301\n"
		"# HELP web_requests_seconds_max Requests answered.\n"
		"# TYPE web_requests_seconds_max gauge\n"
		"web_requests_seconds_max" L "} 12.0\n");
#undef BUCKET
#undef L
}

static void
collect_numbers(void *arg UNUSED, struct metrics_sink *sink)
{
	/* clang-format off */
	metrics_emit(sink, &level, METRIC_TAGS({ "of", "a" }), NAN);
	metrics_emit(sink, &level, METRIC_TAGS({ "of", "b" }), INFINITY);
	metrics_emit(sink, &level, METRIC_TAGS({ "of", "c" }), -INFINITY);
	metrics_emit(sink, &level, METRIC_TAGS({ "of", "d" }), -3);
	metrics_emit(sink, &level, METRIC_TAGS({ "of", "e" }), 0.1);
	metrics_emit(sink, &level, METRIC_TAGS({ "of", "f" }), 1.0 / 3);
	metrics_emit(sink, &level, METRIC_TAGS({ "of", "g" }), 63828762624);
	metrics_emit(sink, &level, METRIC_TAGS({ "of", "h" }), DBL_MAX);
	metrics_emit(sink, &level, METRIC_TAGS({ "of", "i" }), DBL_MIN);
	/* clang-format on */
}

static void
numbers_read_back_as_they_were(void **state)
{
	metrics_collector(*state, collect_numbers, NULL);
	assert_text(*state, false,
		"# HELP web_level Says \"how much\",\\nin C:\\\\.\n"
		"# TYPE web_level gauge\n"
		"web_level{of=\"a\"} NaN\n"
		"web_level{of=\"b\"} +Inf\n"
		"web_level{of=\"c\"} -Inf\n"
		"web_level{of=\"d\"} -3.0\n"
		"web_level{of=\"e\"} 0.1\n"
		"web_level{of=\"f\"} 0.3333333333333333\n"
		"web_level{of=\"g\"} 63828762624.0\n"
		"web_level{of=\"h\"} 1.7976931348623157e+308\n"
		"web_level{of=\"i\"} 2.2250738585072014e-308\n");
}

static void
labels_and_help_are_escaped(void **state)
{
	counter_add(metrics_counter(*state, &timeouts,
			    METRIC_TAGS({ "path.of-it", "a\\b\"c\nd" },
				    { "9lives", "\xec\xbf\xa0\xed\x8f\xb0" })),
		1);
	metrics_collector(*state, collect_numbers, NULL);
	size_t len;
	char *text = metrics_prometheus(*state, true, NULL, &len);
	assert_non_null(strstr(text,
		"web_pool_timeout_total{_9lives=\"\xec\xbf\xa0\xed\x8f\xb0\","
		"path_of_it=\"a\\\\b\\\"c\\nd\"} 1.0\n"));
	assert_non_null(strstr(text,
		"# HELP web_level Says \\\"how much\\\",\\nin C:\\\\.\n"));
	free(text);
}

/* ---- includedNames ---- */

static void
assert_included(
	struct metrics *metrics, const char *included, const char *const *types)
{
	size_t len;
	char *text = metrics_prometheus(metrics, false, included, &len);
	const char *rest = text;

	for (; *types != NULL; types++) {
		rest = strstr(rest, "# TYPE ");
		assert_non_null(rest);
		rest += strlen("# TYPE ");
		assert_memory_equal(rest, *types, strlen(*types));
	}
	assert_null(strstr(rest, "# TYPE "));
	free(text);
}

static void
included_names_select_families(void **state)
{
	metrics_timer(*state, &requests, METRIC_NO_TAGS);
	metrics_timer(*state, &acquire, METRIC_NO_TAGS);
	metrics_counter(*state, &timeouts, METRIC_NO_TAGS);

	assert_included(*state, "web_pool_timeout_total,web_requests_seconds",
		(const char *const[]){ "web_pool_timeout_total counter\n",
			"web_requests_seconds histogram\n", NULL });
	assert_included(*state, "web_pool_timeout",
		(const char *const[]){
			"web_pool_timeout_total counter\n", NULL });
	assert_included(*state, "web_requests_seconds_max",
		(const char *const[]){
			"web_requests_seconds_max gauge\n", NULL });
	assert_included(
		*state, "web_requests,web,,", (const char *const[]){ NULL });
	assert_included(*state, "", (const char *const[]){ NULL });
}

/* ---- Prometheus' own judgement ---- */

static void
promtool_has_nothing_to_complain_about(void **state)
{
	size_t len;
	char *text;

	timer_record(metrics_timer(*state, &requests,
			     METRIC_TAGS({ "uri", "a\\b\"c\nd" })),
		NS_PER_S);
	metrics_timer(*state, &acquire, METRIC_NO_TAGS);
	metrics_counter(*state, &timeouts, METRIC_NO_TAGS);
	metrics_collector(*state, collect_numbers, NULL);
	text = metrics_prometheus(*state, false, NULL, &len);
	promtool_check(text);
	free(text);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(names_are_spelled_as_micrometer_does),
		test(total_is_for_counters_samples_only),
		test(empty_registry_is_an_empty_text),
		test(summary_and_counter_in_text_format),
		test(openmetrics_turns_help_and_type_round_and_drops_total),
		test(histogram_is_cumulative_and_ends_at_infinity),
		test(numbers_read_back_as_they_were),
		test(labels_and_help_are_escaped),
		test(included_names_select_families),
		test(promtool_has_nothing_to_complain_about),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
