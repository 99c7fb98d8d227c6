/* SPDX-License-Identifier: MIT */
#include "api/admission.h"
#include "api/event_limits.h"
#include "api/limiter.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/tests/unit.h"

static struct config_command command;

/* The api's settings with these --set values on top. */
static const struct settings *
settings_with(const char *one, const char *two, const char *three)
{
	const char *const argv[] = { "api", "--set", one, "--set", two, "--set",
		three };
	struct error err;

	if (config_load(DAEMON_API, ARRAY_SIZE(argv), (char **)argv, &command,
		    &err) != 0)
		fail_msg("%s", err.msg);
	return config_settings(command.config);
}

static int
forget_settings(void **state)
{
	(void)state;
	config_free(command.config);
	return 0;
}

struct fixture {
	struct metrics *metrics;
	struct admission *admission;
	struct admission_request request;
	struct admission_permit permit;
};

static struct fixture
admission_with(const char *one, const char *two, const char *three)
{
	struct fixture f = { .metrics = metrics_new() };

	f.admission = admission_new(settings_with(one, two, three), f.metrics);
	f.request = (struct admission_request){
		.coupon_id = 1,
		.now_ns = clock_now_ns(),
	};
	f.request.deadline_ns = f.request.now_ns + NS_PER_S;
	return f;
}

static void
fixture_fini(struct fixture *f)
{
	admission_free(f->admission);
	metrics_free(f->metrics);
}

static enum admission_verdict
enter(struct fixture *f)
{
	return admission_enter(f->admission, &f->request, &f->permit);
}

#define LIMIT(n) "ratelimiter.coupon-issue.limit-for-period=" #n
#define PERIOD "ratelimiter.coupon-issue.limit-refresh-period=1h"
#define UNCHANGED "latch.duration=200ms"

static void
over_the_limit_is_refused_with_a_time_to_retry(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(2), PERIOD, UNCHANGED);

	assert_int_equal(enter(&f), ADMISSION_OK);
	assert_int_equal(enter(&f), ADMISSION_OK);
	assert_int_equal(enter(&f), ADMISSION_RATE_LIMITED);
	assert_in_range(f.permit.retry_after_s, 3600, 3 * 3600);
	fixture_fini(&f);
}

static void
retries_are_spread(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(1), PERIOD, UNCHANGED);
	int first, differing = 0;

	assert_int_equal(enter(&f), ADMISSION_OK);
	assert_int_equal(enter(&f), ADMISSION_RATE_LIMITED);
	first = f.permit.retry_after_s;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(enter(&f), ADMISSION_RATE_LIMITED);
		differing += f.permit.retry_after_s != first;
	}
	assert_true(differing > 10);
	fixture_fini(&f);
}

/* Of `n` refused now; that of them who are told 0, 1, 2 ... seconds. */
static void
refuse(struct fixture *f, int n, int told[40])
{
	memset(told, 0, 40 * sizeof(*told));
	for (int i = 0; i < n; i++) {
		assert_int_equal(enter(f), ADMISSION_RATE_LIMITED);
		assert_in_range(f->permit.retry_after_s, 1, 39);
		told[f->permit.retry_after_s]++;
	}
}

/* A little too many: 1, 2 and 3 s, each as often. */
static void
assert_few_are_spread_over_three_seconds(struct fixture *f)
{
	int told[40];

	while (enter(f) == ADMISSION_OK)
		;
	refuse(f, 2998, told);
	for (int s = 1; s <= 3; s++)
		assert_in_range(told[s], 800, 1200);
}

static void
a_few_refused_are_spread_over_three_seconds(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(3000),
		"ratelimiter.coupon-issue.limit-refresh-period=1s", UNCHANGED);

	assert_few_are_spread_over_three_seconds(&f);
	fixture_fini(&f);
}

static void
and_so_however_short_the_period(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(3000),
		"ratelimiter.coupon-issue.limit-refresh-period=100ms",
		UNCHANGED);

	assert_few_are_spread_over_three_seconds(&f);
	fixture_fini(&f);
}

/* 60,000 against 500 a second: in three seconds they would all be back. */
static void
a_crowd_is_spread_over_as_long_as_it_takes(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(500),
		"ratelimiter.coupon-issue.limit-refresh-period=1s", UNCHANGED);
	int told[40];

	while (enter(&f) == ADMISSION_OK)
		;
	refuse(&f, 5000, told); /* ten seconds' worth */
	assert_true(told[8] > 0 && told[13] == 0);
	refuse(&f, 25000, told);
	refuse(&f, 30000, told); /* more than 30 s are never added */
	for (int s = 1; s <= 31; s++)
		assert_in_range(told[s], 700, 1300);
	assert_true(told[32] == 0);
	fixture_fini(&f);
}

static void
hear(struct fixture *f, enum issue_stock stock)
{
	admission_heard(f->admission, f->request.coupon_id, &f->permit,
		f->request.now_ns, stock);
}

static void
advance_ms(struct fixture *f, int64_t ms)
{
	f->request.now_ns += ms * NS_PER_MS;
	f->request.deadline_ns = f->request.now_ns + NS_PER_S;
}

static void
the_latch_comes_first_and_costs_no_permit(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(1), PERIOD, UNCHANGED);

	hear(&f, ISSUE_STOCK_SOLD_OUT);
	for (int i = 0; i < 10; i++)
		assert_int_equal(enter(&f), ADMISSION_SOLD_OUT);
	advance_ms(&f, 202);
	assert_int_equal(enter(&f), ADMISSION_OK);
	fixture_fini(&f);
}

/* One command and one permit per latch time, however slow Redis is. */
static void
a_flood_after_the_end_costs_one_permit_per_latch_time(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(1000), PERIOD, UNCHANGED);
	struct admission_permit probe;

	hear(&f, ISSUE_STOCK_SOLD_OUT);
	for (int round = 0; round < 4; round++) {
		advance_ms(&f, 202);
		assert_int_equal(enter(&f), ADMISSION_OK);
		probe = f.permit;
		for (int ms = 0; ms < 50; ms++) { /* Redis's round trip */
			advance_ms(&f, 1);
			assert_int_equal(enter(&f), ADMISSION_SOLD_OUT);
		}
		f.permit = probe;
		hear(&f, ISSUE_STOCK_SOLD_OUT);
	}
	assert_int_equal(
		admission_limiter_figures(f.admission).available, 1000 - 4);
	fixture_fini(&f);
}

static void
more_stock_that_the_probe_finds_lets_all_in(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(100), PERIOD, UNCHANGED);

	hear(&f, ISSUE_STOCK_SOLD_OUT);
	advance_ms(&f, 202);
	assert_int_equal(enter(&f), ADMISSION_OK);
	hear(&f, ISSUE_STOCK_OTHER);
	for (int i = 0; i < 5; i++)
		assert_int_equal(enter(&f), ADMISSION_OK);
	fixture_fini(&f);
}

/* His answer was an earlier one: the next asks, and only that. */
static void
a_probe_who_has_a_coupon_hands_on_the_question(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(100), PERIOD, UNCHANGED);

	hear(&f, ISSUE_STOCK_SOLD_OUT);
	advance_ms(&f, 202);
	assert_int_equal(enter(&f), ADMISSION_OK);
	hear(&f, ISSUE_STOCK_UNTOLD);
	advance_ms(&f, 2);
	assert_int_equal(enter(&f), ADMISSION_OK);
	assert_int_equal(enter(&f), ADMISSION_SOLD_OUT);
	fixture_fini(&f);
}

/* Not for as long as the probe itself might have waited. */
static void
a_probe_that_failed_hands_on_after_one_latch_time(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(100), PERIOD, UNCHANGED);

	hear(&f, ISSUE_STOCK_SOLD_OUT);
	advance_ms(&f, 202);
	assert_int_equal(enter(&f), ADMISSION_OK);
	hear(&f, ISSUE_STOCK_UNHEARD);
	advance_ms(&f, 150);
	assert_int_equal(enter(&f), ADMISSION_SOLD_OUT);
	advance_ms(&f, 52);
	assert_int_equal(enter(&f), ADMISSION_OK);
	assert_int_equal(enter(&f), ADMISSION_SOLD_OUT);
	fixture_fini(&f);
}

/* Not 429: others have used up the permits, and the end is known. */
static void
a_probe_without_a_permit_is_told_what_all_are_told(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(1), PERIOD, UNCHANGED);

	hear(&f, ISSUE_STOCK_SOLD_OUT);
	f.request.coupon_id = 2;
	assert_int_equal(enter(&f), ADMISSION_OK);
	f.request.coupon_id = 1;
	for (int ms = 0; ms < 2200; ms += 10, advance_ms(&f, 10))
		assert_int_equal(enter(&f), ADMISSION_SOLD_OUT);
	/* But what Redis said is not true for ever. */
	advance_ms(&f, 2);
	assert_int_equal(enter(&f), ADMISSION_RATE_LIMITED);
	fixture_fini(&f);
}

static void
a_probe_that_the_breaker_refuses_is_told_what_all_are_told(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(100), PERIOD, UNCHANGED);

	hear(&f, ISSUE_STOCK_SOLD_OUT);
	breaker_force(admission_breaker(f.admission), BREAKER_FORCED_OPEN, 0);
	advance_ms(&f, 202);
	assert_int_equal(enter(&f), ADMISSION_SOLD_OUT);
	assert_int_equal(enter(&f), ADMISSION_SOLD_OUT);
	advance_ms(&f, 2000);
	assert_int_equal(enter(&f), ADMISSION_BREAKER_OPEN);
	fixture_fini(&f);
}

static void
a_request_with_a_key_is_never_told_by_the_latch(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(1), PERIOD, UNCHANGED);

	hear(&f, ISSUE_STOCK_SOLD_OUT);
	f.request.has_key = true;
	assert_int_equal(enter(&f), ADMISSION_OK);
	fixture_fini(&f);
}

static void
a_latch_of_no_duration_is_off(void **state)
{
	(void)state;
	struct fixture f =
		admission_with(LIMIT(1), PERIOD, "latch.duration=0s");

	hear(&f, ISSUE_STOCK_SOLD_OUT);
	assert_int_equal(enter(&f), ADMISSION_OK);
	fixture_fini(&f);
}

static void
an_open_breaker_refuses_without_a_word_to_redis(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(1000), PERIOD, UNCHANGED);

	for (int i = 0; i < 10; i++) {
		assert_int_equal(enter(&f), ADMISSION_OK);
		admission_report(f.admission, &f.permit, f.request.now_ns,
			BREAKER_FAILURE);
	}
	assert_int_equal(enter(&f), ADMISSION_BREAKER_OPEN);
	assert_in_range(f.permit.retry_after_s, 1, 3);
	fixture_fini(&f);
}

static void
who_may_wait_waits_and_is_then_admitted(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(1),
		"ratelimiter.coupon-issue.limit-refresh-period=100ms",
		"ratelimiter.coupon-issue.timeout-duration=500ms");

	while (enter(&f) == ADMISSION_OK)
		;
	assert_true(f.permit.wait_ns > 0);
	assert_int_equal(admission_limiter_figures(f.admission).waiting, 1);
	assert_int_equal(admission_resume(f.admission, &f.request, &f.permit),
		ADMISSION_OK);
	assert_int_equal(admission_limiter_figures(f.admission).waiting, 0);
	fixture_fini(&f);
}

static void
nobody_waits_past_his_deadline(void **state)
{
	(void)state;
	struct fixture f = admission_with(LIMIT(1), PERIOD,
		"ratelimiter.coupon-issue.timeout-duration=1m");

	assert_int_equal(enter(&f), ADMISSION_OK);
	assert_int_equal(enter(&f), ADMISSION_RATE_LIMITED);
	fixture_fini(&f);
}

static void
an_event_with_a_limit_of_its_own_does_not_touch_the_others(void **state)
{
	(void)state;
	struct fixture f = admission_with(
		LIMIT(3), PERIOD, "ratelimiter.coupon-issue.events.7=1");

	f.request.coupon_id = 7;
	assert_int_equal(enter(&f), ADMISSION_OK);
	assert_int_equal(enter(&f), ADMISSION_RATE_LIMITED);
	f.request.coupon_id = 8;
	for (int i = 0; i < 3; i++)
		assert_int_equal(enter(&f), ADMISSION_OK);
	assert_int_equal(enter(&f), ADMISSION_RATE_LIMITED);
	fixture_fini(&f);
}

static void
an_events_permits_survive_a_reload(void **state)
{
	(void)state;
	const struct settings *settings = settings_with(
		LIMIT(3), PERIOD, "ratelimiter.coupon-issue.events.7=5");
	struct event_limits *limits = event_limits_new(settings, 0);
	struct limiter *seven = event_limits_get(limits, 7);

	assert_ptr_not_equal(seven, event_limits_default(limits));
	assert_int_equal(limiter_acquire(seven, 0, 0), 0);
	event_limits_configure(limits, settings, 0);
	assert_ptr_equal(event_limits_get(limits, 7), seven);
	assert_int_equal(limiter_available(seven, 0), 4);
	assert_ptr_equal(
		event_limits_get(limits, 8), event_limits_default(limits));
	event_limits_free(limits);
}

static void
the_limiter_can_be_switched_off(void **state)
{
	(void)state;
	struct fixture f = admission_with(
		LIMIT(1), PERIOD, "ratelimiter.coupon-issue.enabled=false");

	for (int i = 0; i < 100; i++)
		assert_int_equal(enter(&f), ADMISSION_OK);
	fixture_fini(&f);
}

#define TEST(name) cmocka_unit_test_teardown(name, forget_settings)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(over_the_limit_is_refused_with_a_time_to_retry),
		TEST(retries_are_spread),
		TEST(a_few_refused_are_spread_over_three_seconds),
		TEST(and_so_however_short_the_period),
		TEST(a_crowd_is_spread_over_as_long_as_it_takes),
		TEST(the_latch_comes_first_and_costs_no_permit),
		TEST(a_flood_after_the_end_costs_one_permit_per_latch_time),
		TEST(more_stock_that_the_probe_finds_lets_all_in),
		TEST(a_probe_who_has_a_coupon_hands_on_the_question),
		TEST(a_probe_that_failed_hands_on_after_one_latch_time),
		TEST(a_probe_without_a_permit_is_told_what_all_are_told),
		TEST(a_probe_that_the_breaker_refuses_is_told_what_all_are_told),
		TEST(a_request_with_a_key_is_never_told_by_the_latch),
		TEST(a_latch_of_no_duration_is_off),
		TEST(an_open_breaker_refuses_without_a_word_to_redis),
		TEST(who_may_wait_waits_and_is_then_admitted),
		TEST(nobody_waits_past_his_deadline),
		TEST(an_event_with_a_limit_of_its_own_does_not_touch_the_others),
		TEST(an_events_permits_survive_a_reload),
		TEST(the_limiter_can_be_switched_off),
	};

	return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
