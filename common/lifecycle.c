/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * One thread takes every signal with sigwait(), so no code of ours ever runs
 * in a signal handler, and a second SIGTERM is acted on while the main thread
 * is busy draining.  What it takes becomes a flag that lifecycle_wait() hands
 * out; requests of other threads (a refresh over HTTP) set the same flags.
 */
#include "common/lifecycle.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/sync.h"

#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>

static struct {
	struct mutex lock;
	struct cond changed; /* reload or stop became true */
	struct locked {      /* only through locked() */
		bool reload;
		bool stop;
	} locked_;
} lifecycle;

static struct locked *locked(void) REQUIRES(lifecycle.lock);

static struct locked *
locked(void)
{
	return &lifecycle.locked_;
}

void
lifecycle_request_reload(void)
{
	mutex_lock(&lifecycle.lock);
	locked()->reload = true;
	cond_broadcast(&lifecycle.changed);
	mutex_unlock(&lifecycle.lock);
}

void
lifecycle_request_stop(void)
{
	mutex_lock(&lifecycle.lock);
	locked()->stop = true;
	cond_broadcast(&lifecycle.changed);
	mutex_unlock(&lifecycle.lock);
}

static void
fill_signals(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGHUP);
}

static void
exit_at_once(int signal)
{
	static const char text[] = "second stop signal: exiting at once\n";
	ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)n; /* nobody is left to tell */
	_exit(128 + signal);
}

static void *
take_signals(void *arg UNUSED)
{
	bool stopping = false;
	sigset_t set;
	int signal;

	thread_set_name("signals");
	fill_signals(&set);
	while (sigwait(&set, &signal) == 0) {
		if (signal == SIGHUP) {
			lifecycle_request_reload();
			continue;
		}
		if (stopping)
			exit_at_once(signal);
		stopping = true;
		lifecycle_request_stop();
	}
	return NULL;
}

static void
raise_file_limit(uint64_t want_files)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		(void)getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < want_files)
		LOG_WARN("file descriptor limit is too low",
			LOG_INT("limit", limit.rlim_cur),
			LOG_INT("wanted", want_files));
}

void
lifecycle_init(uint64_t want_files)
{
	pthread_t thread;
	sigset_t set;

	mutex_init(&lifecycle.lock);
	cond_init(&lifecycle.changed);
	fill_signals(&set);
	sync_must(pthread_sigmask(SIG_BLOCK, &set, NULL));
	(void)signal(SIGPIPE, SIG_IGN);
	raise_file_limit(want_files);
	sync_must(pthread_create(&thread, NULL, take_signals, NULL));
	sync_must(pthread_detach(thread));
}

enum lifecycle_event
lifecycle_wait(int64_t deadline_ns)
{
	enum lifecycle_event event = LIFECYCLE_TICK;
	bool in_time = true;

	mutex_lock(&lifecycle.lock);
	while (in_time && !locked()->stop && !locked()->reload)
		in_time = cond_wait_until(
			&lifecycle.changed, &lifecycle.lock, deadline_ns);
	if (locked()->stop) {
		locked()->stop = false;
		event = LIFECYCLE_STOP;
	} else if (locked()->reload) {
		locked()->reload = false;
		event = LIFECYCLE_RELOAD;
	}
	mutex_unlock(&lifecycle.lock);
	return event;
}

void
thread_set_name(const char *fmt, ...)
{
	char name[16]; /* the kernel's limit */
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	(void)pthread_setname_np(pthread_self(), name);
}
