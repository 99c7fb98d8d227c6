/* SPDX-License-Identifier: MIT */
/*
 * limiter - at most `limit` requests per period, decided without a lock.
 *
 * Two modes.  LIMITER_CYCLES is Resilience4j's AtomicRateLimiter: time is cut
 * into cycles that start at construction, each cycle has `limit` permits,
 * unused ones do not accumulate, and a request that may wait reserves a
 * permit of a later cycle.  Its known property stays: 2 x limit may pass
 * around a boundary.  LIMITER_SMOOTH spreads the permits evenly (GCRA) and
 * lets a tenth of a period's permits through at once.
 *
 * Unlike Resilience4j, nobody waits when a refusal is certain, and a
 * cancelled waiter gives its permit back.
 *
 * Any thread.  `now_ns` is the caller's clock_now_ns().
 */
#ifndef API_LIMITER_H
#define API_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

struct limiter;

enum limiter_mode { LIMITER_CYCLES, LIMITER_SMOOTH };

struct limiter_config {
	enum limiter_mode mode;
	int32_t limit;     /* permits per period, 1 .. 100000000 */
	int64_t period_ns; /* >= 1 ms */
};

/* NULL when out of memory. */
struct limiter *limiter_new(
	const struct limiter_config *config, int64_t now_ns);
void limiter_free(struct limiter *limiter);

/*
 * Take a permit.  0: go on now.  > 0: a permit is reserved, go on after that
 * many nanoseconds.  -1: refused, as the wait would exceed `max_wait_ns`;
 * nothing was taken.
 */
int64_t limiter_acquire(
	struct limiter *limiter, int64_t now_ns, int64_t max_wait_ns);

/*
 * How long the limit takes to let in as many as were refused of late: in the
 * present period and the one before, or the present and last second where the
 * period is shorter.
 */
int64_t limiter_backlog_ns(const struct limiter *limiter, int64_t now_ns);

/* A reserved permit will not be used after all. */
void limiter_give_back(struct limiter *limiter);

/*
 * Live.  A new limit counts from the next cycle on, as in Resilience4j; a
 * new period or mode starts over.  One thread at a time.
 */
void limiter_configure(struct limiter *limiter,
	const struct limiter_config *config, int64_t now_ns);

/* Permits left at this moment; negative while reservations are owed. */
int64_t limiter_available(const struct limiter *limiter, int64_t now_ns);

#endif
