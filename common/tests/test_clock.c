/* SPDX-License-Identifier: MIT */
#include "common/clock.h"
#include "common/error.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
durations_parse_exactly(void **state UNUSED)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = { { "500ms", 500 * NS_PER_MS }, { "10s", 10 * NS_PER_S },
		{ "30m", 1800 * NS_PER_S }, { "2h", 7200 * NS_PER_S },
		{ "1d", 86400 * NS_PER_S }, { "20us", 20 * NS_PER_US },
		{ "100ns", 100 }, { "0", 0 }, { "0s", 0 },
		{ "007s", 7 * NS_PER_S },
		{ "106751d", 106751 * (86400 * NS_PER_S) } };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		int64_t ns = -1;

		assert_int_equal(clock_parse_duration(good[i].text, &ns), 0);
		assert_int_equal(ns, good[i].ns);
	}
}

static void
durations_that_are_none_are_refused(void **state UNUSED)
{
	static const char *const bad[] = { "", "s", "10", "1", "-1s", "+1s",
		"1.5s", " 1s", "1s ", "1 s", "1S", "1sec", "1s1s", "0x1s",
		"106752d", "9223372036854775808ns", "99999999999999999999s" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int64_t ns = 77;

		assert_int_equal(
			clock_parse_duration(bad[i], &ns), -ERROR_BAD_INPUT);
		assert_int_equal(ns, 77);
	}
}

static void
durations_format_as_short_as_exact(void **state UNUSED)
{
	static const struct {
		int64_t ns;
		const char *text;
	} rows[] = { { 0, "0s" }, { 90 * NS_PER_S, "90s" },
		{ 60 * NS_PER_S, "1m" }, { 1500 * NS_PER_MS, "1500ms" },
		{ 1800 * NS_PER_S, "30m" }, { 86400 * NS_PER_S, "1d" },
		{ 1, "1ns" }, { 7200 * NS_PER_S, "2h" } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char buf[32];

		clock_format_duration(rows[i].ns, buf, sizeof(buf));
		assert_string_equal(buf, rows[i].text);
	}
}

static void
times_parse_with_any_offset(void **state UNUSED)
{
	static const struct {
		const char *text;
		int64_t ms;
	} rows[] = { { "1970-01-01T00:00:00Z", 0 },
		{ "1970-01-01T00:00:00.001Z", 1 },
		{ "1969-12-31T23:59:59.999Z", -1 },
		{ "2026-11-22T14:02:00.123Z", 1795356120123 },
		{ "2026-11-22T23:02:00.123456789+09:00", 1795356120123 },
		{ "2026-11-22t13:32:00.1239z", 1795354320123 },
		{ "2026-11-22T09:02:00.1-05:00", 1795356120100 },
		{ "2024-02-29T00:00:00Z", 1709164800000 },
		{ "2000-02-29T00:00:00Z", 951782400000 },
		{ "0000-01-01T00:00:00Z", -62167219200000 },
		{ "9999-12-31T23:59:59.999Z", 253402300799999 } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t ms = 0;

		assert_int_equal(clock_parse_rfc3339(rows[i].text, &ms), 0);
		assert_int_equal(ms, rows[i].ms);
	}
}

static void
times_that_are_none_are_refused(void **state UNUSED)
{
	static const char *const bad[] = { "", "2026-11-22",
		"2026-11-22T14:02Z", "2026-11-22T14:02:00",
		"2026-11-22 14:02:00Z", "2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z",
		"1900-02-29T00:00:00Z", "2026-04-31T00:00:00Z",
		"2026-01-00T00:00:00Z", "2026-11-22T24:00:00Z",
		"2026-11-22T14:60:00Z", "2016-12-31T23:59:60Z",
		"2026-11-22T14:02:00.Z", "2026-11-22T14:02:00.1234567890Z",
		"2026-11-22T14:02:00Zx", "2026-11-22T14:02:00+9:00",
		"2026-11-22T14:02:00+0900", "2026-11-22T14:02:00+24:00",
		"26-11-22T14:02:00Z", "0000-01-01T00:00:00+00:01",
		"9999-12-31T23:59:59-00:01" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int64_t ms = 77;

		assert_int_equal(
			clock_parse_rfc3339(bad[i], &ms), -ERROR_BAD_INPUT);
		assert_int_equal(ms, 77);
	}
}

static void
every_day_formats_to_what_it_parses_from(void **state UNUSED)
{
	for (int64_t day = -719528; day < 2932897; day += 97) {
		int64_t ms = day * 86400000 +
			     (day * 7919 % 86400000 + 86400000) % 86400000;
		int64_t back = 0;
		char buf[CLOCK_RFC3339_SIZE];
		char libc[CLOCK_RFC3339_SIZE];
		time_t seconds =
			(time_t)((ms - ((ms % 1000) + 1000) % 1000) / 1000);
		struct tm tm;

		clock_format_rfc3339(ms, buf);
		assert_int_equal(clock_parse_rfc3339(buf, &back), 0);
		assert_int_equal(back, ms);
		(void)gmtime_r(&seconds, &tm);
		(void)strftime(libc, sizeof(libc), "-%m-%dT%H:%M:%S.", &tm);
		assert_memory_equal(buf + 4, libc, strlen(libc));
	}
}

static void
poll_timeout_rounds_up_and_never_goes_below_zero(void **state UNUSED)
{
	assert_int_equal(clock_poll_timeout_ms(0), 0);
	assert_int_equal(clock_poll_timeout_ms(clock_now_ns() - 1), 0);
	assert_int_equal(clock_poll_timeout_ms(INT64_MAX), INT32_MAX);
	int ms = clock_poll_timeout_ms(clock_now_ns() + 10 * NS_PER_S);

	assert_in_range(ms, 9000, 10000);
	assert_true(clock_poll_timeout_ms(clock_now_ns() + NS_PER_MS) <= 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_parse_exactly),
		cmocka_unit_test(durations_that_are_none_are_refused),
		cmocka_unit_test(durations_format_as_short_as_exact),
		cmocka_unit_test(times_parse_with_any_offset),
		cmocka_unit_test(times_that_are_none_are_refused),
		cmocka_unit_test(every_day_formats_to_what_it_parses_from),
		cmocka_unit_test(
			poll_timeout_rounds_up_and_never_goes_below_zero),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
