/* SPDX-License-Identifier: MIT */
/*
 * breaker_history - the last transitions of a circuit breaker, for
 * /actuator/circuitbreakerevents.  A ring of values; the breaker's lock
 * guards it.
 */
#ifndef API_BREAKER_HISTORY_H
#define API_BREAKER_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#define BREAKER_HISTORY_MAX 100 /* as Resilience4j's event buffer */

struct breaker_transition {
	int64_t at_ns;          /* clock_now_ns() */
	unsigned char from, to; /* enum breaker_state */
};

struct breaker_history {
	struct breaker_transition ring[BREAKER_HISTORY_MAX];
	uint64_t n; /* ever added */
};

void breaker_history_add(struct breaker_history *history,
	const struct breaker_transition *transition);

/* Oldest first; how many were written. */
size_t breaker_history_copy(const struct breaker_history *history,
	struct breaker_transition ret[BREAKER_HISTORY_MAX]);

#endif
