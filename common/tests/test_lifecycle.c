/* SPDX-License-Identifier: MIT */
#include "common/clock.h"
#include "common/lifecycle.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

static int64_t
soon(void)
{
	return clock_now_ns() + 10 * NS_PER_S;
}

/* Each test is a process of its own: signals and limits belong to those. */
static int
run_child(int (*fn)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		lifecycle_init(16);
		_exit(fn());
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int
takes_term_int_and_hup(void)
{
	(void)kill(getpid(), SIGHUP);
	if (lifecycle_wait(soon()) != LIFECYCLE_RELOAD)
		return 1;
	(void)kill(getpid(), SIGINT);
	if (lifecycle_wait(soon()) != LIFECYCLE_STOP)
		return 2;
	return lifecycle_wait(clock_now_ns()) != LIFECYCLE_TICK;
}

static int
stops_twice(void)
{
	(void)kill(getpid(), SIGTERM);
	if (lifecycle_wait(soon()) != LIFECYCLE_STOP)
		return 1;
	(void)kill(getpid(), SIGTERM);
	(void)lifecycle_wait(soon());
	return 2;
}

static int
requests_never_kill(void)
{
	for (int i = 0; i < 3; i++)
		lifecycle_request_stop();
	lifecycle_request_reload();
	if (lifecycle_wait(soon()) != LIFECYCLE_STOP)
		return 1;
	return lifecycle_wait(soon()) != LIFECYCLE_RELOAD;
}

static void *
request_late(void *arg)
{
	(void)arg;
	thread_set_name("much-too-long-a-%s", "name");
	char name[16];
	(void)pthread_getname_np(pthread_self(), name, sizeof(name));
	assert_string_equal(name, "much-too-long-a");
	lifecycle_request_reload();
	return NULL;
}

static int
wakes_the_waiter(void)
{
	pthread_t thread;

	(void)pthread_create(&thread, NULL, request_late, NULL);
	int rc = lifecycle_wait(soon()) != LIFECYCLE_RELOAD;

	(void)pthread_join(thread, NULL);
	return rc;
}

static int
limits_and_sigpipe(void)
{
	struct rlimit limit;
	int fds[2];

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur != limit.rlim_max || pipe(fds) != 0)
		return 1;
	(void)close(fds[0]);
	return write(fds[1], "x", 1) != -1; /* and still alive */
}

static void
signals_become_events_each_once(void **state UNUSED)
{
	assert_int_equal(run_child(takes_term_int_and_hup), 0);
}

static void
a_second_stop_signal_exits_at_once(void **state UNUSED)
{
	assert_int_equal(run_child(stops_twice), 128 + SIGTERM);
}

static void
requests_of_threads_are_events_too(void **state UNUSED)
{
	assert_int_equal(run_child(requests_never_kill), 0);
	assert_int_equal(run_child(wakes_the_waiter), 0);
}

static void
files_are_raised_and_sigpipe_ignored(void **state UNUSED)
{
	assert_int_equal(run_child(limits_and_sigpipe), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signals_become_events_each_once),
		cmocka_unit_test(a_second_stop_signal_exits_at_once),
		cmocka_unit_test(requests_of_threads_are_events_too),
		cmocka_unit_test(files_are_raised_and_sigpipe_ignored),
	};

	return cmocka_run_group_tests_name("lifecycle", tests, NULL, NULL);
}
