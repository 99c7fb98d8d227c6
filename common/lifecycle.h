/* SPDX-License-Identifier: MIT */
/*
 * lifecycle - what a daemon owes the system: signals, limits, orderly phases.
 *
 * lifecycle_init() blocks the signals before any thread starts; the caller's
 * main thread then waits in lifecycle_wait() and acts on what it returns.
 */
#ifndef COMMON_LIFECYCLE_H
#define COMMON_LIFECYCLE_H

#include "common/compiler.h"

#include <stdint.h>

enum lifecycle_event {
	LIFECYCLE_STOP,   /* SIGTERM or SIGINT; a second one exits at once */
	LIFECYCLE_RELOAD, /* SIGHUP, or lifecycle_request_reload() */
	LIFECYCLE_TICK,   /* nothing happened until `deadline_ns` */
};

/*
 * Once, before any other thread: block signals (every later thread inherits
 * it), ignore SIGPIPE, raise RLIMIT_NOFILE to the hard limit, warn when that
 * cannot hold `want_files`, start the thread that takes the signals.
 */
void lifecycle_init(uint64_t want_files);

/* Each STOP and RELOAD is handed out once; STOP first. */
enum lifecycle_event lifecycle_wait(int64_t deadline_ns);

/* The same from inside the process; any thread, never an exit at once. */
void lifecycle_request_reload(void);
void lifecycle_request_stop(void);

/* Names the calling thread ("http-0"; 15 characters) for logs, ps, gdb. */
void thread_set_name(const char *fmt, ...) PRINTF(1, 2);

#endif
