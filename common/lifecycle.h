/* SPDX-License-Identifier: MIT */
/*
 * lifecycle - what a daemon owes the system: signals, limits, orderly phases.
 *
 * lifecycle_init() blocks the signals before any thread starts; the caller's
 * main thread then waits in lifecycle_wait() and acts on what it returns.
 */
#ifndef COMMON_LIFECYCLE_H
#define COMMON_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

enum lifecycle_event {
	LIFECYCLE_STOP,   /* SIGTERM or SIGINT; a second one exits at once */
	LIFECYCLE_RELOAD, /* SIGHUP, or lifecycle_request_reload() */
	LIFECYCLE_TICK,   /* nothing happened until `deadline_ns` */
};

/*
 * Block signals (every later thread inherits it), ignore SIGPIPE, raise
 * RLIMIT_NOFILE to the hard limit, warn when that cannot hold `want_files`.
 */
void lifecycle_init(uint64_t want_files);

enum lifecycle_event lifecycle_wait(int64_t deadline_ns);

/* Names the calling thread ("http-0"; 15 characters) for logs, ps, gdb. */
void thread_set_name(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));

#endif
