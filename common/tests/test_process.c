/* SPDX-License-Identifier: MIT */
#include "common/clock.h"
#include "common/metrics.h"
#include "common/process.h"
#include "common/tests/promtool.h"
#include "common/tests/unit.h"

#include <fcntl.h>
#include <pthread.h>

static int
setup(void **state)
{
	*state = metrics_new();
	process_metrics_register(*state);
	return 0;
}

static int
teardown(void **state)
{
	metrics_free(*state);
	return 0;
}

/* The value of an unlabelled series in a scrape. */
static double
value(struct metrics *metrics, const char *name)
{
	size_t len;
	char *text = metrics_prometheus(metrics, false, NULL, &len);
	char line[128];

	(void)snprintf(line, sizeof(line), "\n%s ", name);
	const char *found = strstr(text, line);
	if (found == NULL)
		fail_msg("no %s", name);
	double result = strtod(found + strlen(line), NULL);
	free(text);
	return result;
}

static void
open_files_follow_open_and_close(void **state)
{
	double before = value(*state, "process_open_fds");
	int fd = open("/dev/null", O_RDONLY);

	assert_true(fd >= 0);
	assert_true(value(*state, "process_open_fds") == before + 1);
	assert_true(value(*state, "process_files_open_files") == before + 1);
	assert_int_equal(close(fd), 0);
	assert_true(value(*state, "process_open_fds") == before);
	assert_true(value(*state, "process_max_fds") > before);
}

static void *
wait_for_unlock(void *arg)
{
	pthread_mutex_lock(arg);
	pthread_mutex_unlock(arg);
	return NULL;
}

/* A joined thread may be in /proc for a moment longer. */
static void
threads_are_counted(void **state)
{
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	int64_t end_ns = clock_now_ns() + 5 * NS_PER_S;
	pthread_t thread;

	pthread_mutex_lock(&gate);
	assert_int_equal(
		pthread_create(&thread, NULL, wait_for_unlock, &gate), 0);
	double during = value(*state, "process_threads");
	pthread_mutex_unlock(&gate);
	assert_int_equal(pthread_join(thread, NULL), 0);
	while (value(*state, "process_threads") != during - 1)
		assert_true(clock_now_ns() < end_ns);
}

static void
cpu_time_rises_and_usage_shows_it(void **state)
{
	double before = value(*state, "process_cpu_seconds_total");
	int64_t end_ns = clock_now_ns() + 1100 * NS_PER_MS;

	/* Burn; others may have the processor for most of that time. */
	while (clock_now_ns() < end_ns ||
		value(*state, "process_cpu_seconds_total") <= before + 0.1)
		assert_true(clock_now_ns() < end_ns + 20 * NS_PER_S);
	double usage = value(*state, "process_cpu_usage");
	assert_true(usage > 0 && usage <= 1);
	usage = value(*state, "system_cpu_usage");
	assert_true(usage > 0 && usage <= 1);
}

static void
start_and_uptime_add_up_to_now(void **state)
{
	double sum = value(*state, "process_start_time_seconds") +
		     value(*state, "process_uptime_seconds");
	double now = (double)clock_wall_ms() / 1e3;

	assert_true(sum > now - 2 && sum < now + 2);
	assert_true((double)process_start_ms() / 1e3 > now - 600);
	(void)nanosleep(&(struct timespec){ .tv_nsec = 3 * NS_PER_MS }, NULL);
	assert_true(value(*state, "process_start_time_seconds") ==
		    (double)process_start_ms() / 1e3);
}

static void
promtool_has_nothing_to_complain_about(void **state)
{
	size_t len;
	char *text = metrics_prometheus(*state, false, NULL, &len);

	promtool_check(text);
	free(text);
}

static void
memory_has_a_plausible_size(void **state)
{
	double resident = value(*state, "process_resident_memory_bytes");

	assert_true(resident > 100e3);
	assert_true(value(*state, "process_virtual_memory_bytes") > resident);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(open_files_follow_open_and_close),
		test(threads_are_counted),
		test(cpu_time_rises_and_usage_shows_it),
		test(start_and_uptime_add_up_to_now),
		test(memory_has_a_plausible_size),
		test(promtool_has_nothing_to_complain_about),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
