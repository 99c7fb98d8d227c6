/* SPDX-License-Identifier: MIT */
#include "common/clock.h"
#include "common/error.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/log_line.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static size_t
format(enum log_format format, const struct log_field *fields,
	char buf[LOG_LINE_MAX + 1])
{
	const struct log_record record = {
		.wall_ms = 1795356120123,
		.level = LOG_LEVEL_WARN,
		.thread = "http-0",
		.message = "redis pool exhausted",
		.fields = fields,
	};
	size_t len = log_line_format(format, &record, buf);

	assert_in_range(len, 1, LOG_LINE_MAX);
	buf[len] = '\0';
	assert_int_equal(buf[len - 1], '\n');
	assert_ptr_equal(strchr(buf, '\n'), buf + len - 1);
	return len;
}

#define HEAD                                                                   \
	"ts=2026-11-22T14:02:00.123Z level=warn thread=http-0 "                \
	"msg=\"redis pool exhausted\""

static void
logfmt_quotes_what_needs_it(void **state UNUSED)
{
	static const struct {
		const char *value;
		const char *spelled;
	} rows[] = { { "plain/1.5:x", "plain/1.5:x" }, { "", "\"\"" },
		{ NULL, "\"\"" }, { "two words", "\"two words\"" },
		{ "a=b", "\"a=b\"" }, { "a\"b\\c", "\"a\\\"b\\\\c\"" },
		{ "1\n2\r3\t4", "\"1\\n2\\r3\\t4\"" },
		{ "\x1b[31m\x7f", "\"\\u001b[31m\\u007f\"" },
		{ "\xc2\x9b", "\"\\u009b\"" }, { "쿠폰", "\"쿠폰\"" },
		{ "\xff", "\"\xef\xbf\xbd\"" },
		{ "\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xed\xa0\x80x",
			"\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx\"" },
		{ "\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"" } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct log_field fields[] = { LOG_STR("k", rows[i].value),
			LOG_INT("n", -3), LOG_NUM("x", 0.5), { 0 } };
		char buf[LOG_LINE_MAX + 1];
		char want[256];

		(void)snprintf(want, sizeof(want), HEAD " k=%s n=-3 x=0.5\n",
			rows[i].spelled);
		(void)format(LOG_FORMAT_LOGFMT, fields, buf);
		assert_string_equal(buf, want);
	}
}

static json_t *
format_json(const struct log_field *fields)
{
	char buf[LOG_LINE_MAX + 1];
	size_t len = format(LOG_FORMAT_JSON, fields, buf);
	json_t *json = json_loadb(buf, len, JSON_REJECT_DUPLICATES, NULL);

	assert_non_null(json);
	assert_string_equal(
		json_string_value(json_object_get(json, "level")), "warn");
	return json;
}

static void
json_is_valid_for_any_bytes(void **state UNUSED)
{
	for (unsigned a = 1; a < 256; a++) {
		char value[] = { (char)a, 'x', (char)(255 - a % 255), 'y', 0 };
		const struct log_field fields[] = { LOG_STR("k", value),
			LOG_NUM("nan", NAN), { 0 } };
		json_t *json = format_json(fields);

		assert_non_null(json_string_value(json_object_get(json, "k")));
		assert_true(json_is_null(json_object_get(json, "nan")));
		json_decref(json);
	}
}

static void
long_values_are_cut_and_the_line_stays_valid(void **state UNUSED)
{
	static char text[3 * LOG_LINE_MAX];

	for (size_t len = LOG_LINE_MAX - 300; len < LOG_LINE_MAX + 10; len++) {
		memset(text, len % 2 == 0 ? 'x' : '"', len);
		text[len] = '\0';
		const struct log_field fields[] = { LOG_STR("k", text),
			LOG_INT("n", INT64_MIN), LOG_STR("last", text), { 0 } };
		char buf[LOG_LINE_MAX + 1];

		json_decref(format_json(fields));
		(void)format(LOG_FORMAT_LOGFMT, fields, buf);
	}
}

static void
a_site_says_ten_lines_then_one_a_second(void **state UNUSED)
{
	struct log_site site = { 0 };
	int64_t now = 1000 * NS_PER_S;
	uint32_t suppressed = 99;

	for (int i = 0; i < 10; i++) {
		assert_true(log_site_admit(&site, now, &suppressed));
		assert_int_equal(suppressed, 0);
	}
	for (int i = 0; i < 5; i++)
		assert_false(log_site_admit(&site, now, &suppressed));
	assert_true(log_site_admit(&site, now + NS_PER_S, &suppressed));
	assert_int_equal(suppressed, 5);
	assert_false(log_site_admit(&site, now + NS_PER_S, &suppressed));
	now += 60 * NS_PER_S;
	for (int i = 0; i < 10; i++)
		assert_true(log_site_admit(&site, now, &suppressed));
	assert_false(log_site_admit(&site, now, &suppressed));
}

/* ---- with the writer thread, stderr being a pipe ---- */

static int saved_stderr;
static int reader;

static void
capture(void)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	saved_stderr = dup(STDERR_FILENO);
	assert_true(saved_stderr >= 0);
	assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
	(void)close(fds[1]);
	reader = fds[0];
}

/* Put stderr back; what was written is returned (to free). */
static char *
captured(void)
{
	size_t len = 0;
	char *text = malloc(1 << 20);

	assert_non_null(text);
	assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
	(void)close(saved_stderr);
	for (ssize_t n = 1; n > 0; len += (size_t)(n > 0 ? n : 0))
		n = read(reader, text + len, (1 << 20) - 1 - len);
	text[len] = '\0';
	(void)close(reader);
	return text;
}

static void
lines_come_out_in_order_with_thread_and_time(void **state UNUSED)
{
	capture();
	log_start(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	thread_set_name("tester");
	for (int i = 0; i < 300; i++)
		LOG_INFO("line", LOG_INT("i", i));
	LOG_DEBUG("too fine");
	log_set_level(LOG_LEVEL_DEBUG);
	LOG_DEBUG("fine");
	log_stop();
	char *text = captured();
	const char *at = text;

	for (int i = 0; i < 300; i++) {
		char want[64];

		(void)snprintf(want, sizeof(want),
			"level=info thread=tester msg=line i=%d\n", i);
		assert_memory_equal(at, "ts=20", 5);
		at = strchr(at, ' ') + 1;
		assert_memory_equal(at, want, strlen(want));
		at += strlen(want);
	}
	assert_null(strstr(text, "too fine"));
	assert_non_null(strstr(at, "msg=fine"));
	free(text);
}

static void
warnings_are_limited_per_site_and_errors_carry_their_kind(void **state UNUSED)
{
	struct error err;
	int lines = 0;

	(void)error_set(&err, ERROR_TIMEOUT, "no reply after %dms", 500);
	capture();
	log_start(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	for (int i = 0; i < 100; i++)
		LOG_WARN("failed", LOG_ERR(&err));
	LOG_ERROR("another site");
	log_stop();
	char *text = captured();

	for (const char *at = text; (at = strstr(at, "\"failed\"")); at++)
		lines++;
	assert_in_range(lines, 10, 11);
	assert_non_null(strstr(text, "\"error\":\"no reply after "
				     "500ms\",\"reason\":\"TIMEOUT\"}\n"));
	assert_non_null(strstr(text, "another site"));
	free(text);
}

static void *
log_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < 5000; i++)
		LOG_INFO("many", LOG_INT("i", i),
			LOG_STR("pad", "xxxxxxxxxxxx"));
	return NULL;
}

static void
a_reader_that_stands_still_blocks_nobody(void **state UNUSED)
{
	uint64_t before = log_dropped();
	pthread_t threads[4];

	capture();
	log_start(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	int64_t start_ns = clock_now_ns();

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		(void)pthread_create(&threads[i], NULL, log_many, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		(void)pthread_join(threads[i], NULL);
	assert_true(log_dropped() - before > 10000);
	assert_true(clock_now_ns() - start_ns < 30 * NS_PER_S);

	start_ns = clock_now_ns();
	log_stop(); /* gives up after a second */
	assert_true(clock_now_ns() - start_ns < 10 * NS_PER_S);
	free(captured());
}

static void *
read_all(void *arg)
{
	char *text = arg;
	size_t len = 0;

	for (ssize_t n = 1; n > 0; len += (size_t)(n > 0 ? n : 0))
		n = read(reader, text + len, (1 << 22) - 1 - len);
	text[len] = '\0';
	return NULL;
}

static void
many_threads_lose_no_line_unless_counted(void **state UNUSED)
{
	char *text = malloc(1 << 22);
	uint64_t before = log_dropped();
	pthread_t threads[4];
	pthread_t reading;
	size_t lines = 0;
	size_t reports = 0;

	assert_non_null(text);
	capture();
	(void)pthread_create(&reading, NULL, read_all, text);
	log_start(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		(void)pthread_create(&threads[i], NULL, log_many, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		(void)pthread_join(threads[i], NULL);
	log_stop();
	(void)dup2(saved_stderr, STDERR_FILENO);
	(void)close(saved_stderr);
	(void)pthread_join(reading, NULL);
	(void)close(reader);

	for (char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) {
		assert_memory_equal(at, "ts=20", 5);
		bool report =
			memmem(at, strcspn(at, "\n"), "dropped=", 8) != NULL;

		lines += !report;
		reports += report;
	}
	uint64_t dropped = log_dropped() - before;

	assert_int_equal(lines + dropped, 20000);
	assert_int_equal(reports > 0, dropped > 0);
	free(text);
}

static void
levels_have_names(void **state UNUSED)
{
	enum log_level level = LOG_LEVEL_OFF;

	assert_true(log_level_parse("WARN", &level));
	assert_int_equal(level, LOG_LEVEL_WARN);
	assert_false(log_level_parse("warning", &level));
	assert_int_equal(level, LOG_LEVEL_WARN);
	for (int i = LOG_LEVEL_OFF; i <= LOG_LEVEL_TRACE; i++) {
		assert_true(log_level_parse(
			log_level_name((enum log_level)i), &level));
		assert_int_equal(level, i);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logfmt_quotes_what_needs_it),
		cmocka_unit_test(json_is_valid_for_any_bytes),
		cmocka_unit_test(long_values_are_cut_and_the_line_stays_valid),
		cmocka_unit_test(a_site_says_ten_lines_then_one_a_second),
		cmocka_unit_test(lines_come_out_in_order_with_thread_and_time),
		cmocka_unit_test(
			warnings_are_limited_per_site_and_errors_carry_their_kind),
		cmocka_unit_test(a_reader_that_stands_still_blocks_nobody),
		cmocka_unit_test(many_threads_lose_no_line_unless_counted),
		cmocka_unit_test(levels_have_names),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
