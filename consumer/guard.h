/* SPDX-License-Identifier: MIT */
/*
 * guard - ends the process when a stop hangs in somebody else's library.
 *
 * For use where everything that counts has been written.
 */
#ifndef CONSUMER_GUARD_H
#define CONSUMER_GUARD_H

#include <pthread.h>
#include <stdint.h>

struct guard {
	pthread_t thread;
	int fd; /* readable: called off */
	int64_t deadline_ns;
	const char *message; /* static; logged before the end */
	int status;          /* EXIT_SUCCESS: the stop was as good as done */
};

/* At `deadline_ns`: log `message` and _exit(status), unless ended before. */
void guard_start(struct guard *guard, int64_t deadline_ns, const char *message,
	int status);
void guard_end(struct guard *guard);

#endif
