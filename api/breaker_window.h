/* SPDX-License-Identifier: MIT */
/*
 * breaker_window - the last N calls, or those of the last N seconds.
 *
 * Both are a ring of buckets whose sums are kept as they come and go: a
 * bucket is one call (count-based) or one second (time-based).  Not
 * thread-safe: it lives under the breaker's lock.
 */
#ifndef API_BREAKER_WINDOW_H
#define API_BREAKER_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

struct window_counts {
	uint32_t calls, failed, slow, slow_failed;
};

struct breaker_window {
	struct window_counts *buckets; /* owned; `size` of them */
	struct window_counts sum;
	uint32_t size;
	bool time_based;
	int64_t head; /* time-based: newest second; else calls so far */
};

/* False when out of memory; *window is untouched then. */
bool breaker_window_init(struct breaker_window *window, uint32_t size,
	bool time_based, int64_t now_ns);
void breaker_window_fini(struct breaker_window *window);
void breaker_window_clear(struct breaker_window *window, int64_t now_ns);

void breaker_window_add(
	struct breaker_window *window, int64_t now_ns, bool failed, bool slow);

/* What is in the window now; seconds that have passed are taken out. */
struct window_counts breaker_window_sum(
	struct breaker_window *window, int64_t now_ns);

#endif
