/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * The whole state of a mode is one 64-bit word, changed by compare-and-swap.
 *
 *   cycles:  high half the cycle's number, low half its permits left (int32,
 *            negative when permits of later cycles have been reserved).  The
 *            number wraps after 2^32 cycles (49 days of 1 ms).  A thread whose
 *            clock was read a little earlier sees a cycle that is ahead of
 *            its own, by OLDER_CYCLES at the most: only that is taken for
 *            the past, everything else for an idle spell.  So a spell that
 *            ends in the last OLDER_CYCLES before the wrap counts for
 *            nothing, and what was left then is left now, for a second.
 *   smooth:  the theoretical arrival time (GCRA) of the next request.
 *
 * The word only has a meaning together with its period, so both live in a
 * `struct regime` that never changes but for the word and the limit.  A new
 * period or mode publishes a new regime; the old ones (a few bytes for every
 * such reload) stay until the end, since a thread may still be in one.
 */
#include "api/limiter.h"

#include "common/clock.h"
#include "common/compiler.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/param.h>

struct regime {
	_Atomic uint64_t word;
	_Atomic int32_t limit;
	enum limiter_mode mode;
	int64_t period_ns;
	int64_t start_ns;
	struct regime *older;
};

struct limiter {
	_Atomic(struct regime *) regime CACHE_ALIGNED;
	/*
	 * Refusals of the present window and the one before, by the parity of
	 * the window's number: that in the high half, the count in the low.
	 * Written at each refusal, so not beside what all read.
	 */
	_Atomic uint64_t refused[2] CACHE_ALIGNED;
};

/* Permits that the smooth mode lets through at once, as time. */
#define SMOOTH_BURST(period_ns) ((period_ns) / 10)

/* 31 years: what a double says above may be no int64_t. */
#define MOST_NS 1e18

/* A loop's clock is as old as its turn: a second of the shortest period. */
#define OLDER_CYCLES 1000

static uint64_t
pack(uint32_t cycle, int32_t permits)
{
	return (uint64_t)cycle << 32 | (uint32_t)permits;
}

static uint32_t
cycle_of(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

static int32_t
permits_of(uint64_t word)
{
	return (int32_t)(uint32_t)word;
}

static struct regime *
regime_new(const struct limiter_config *config, int64_t now_ns,
	struct regime *older)
{
	struct regime *regime = calloc(1, sizeof(*regime));

	if (regime == NULL)
		return NULL;
	assert(config->limit >= 1 && config->period_ns >= 1);
	atomic_init(&regime->limit, config->limit);
	atomic_init(&regime->word,
		config->mode == LIMITER_CYCLES ? pack(0, config->limit) : 0);
	regime->mode = config->mode;
	regime->period_ns = config->period_ns;
	regime->start_ns = now_ns;
	regime->older = older;
	return regime;
}

struct limiter *
limiter_new(const struct limiter_config *config, int64_t now_ns)
{
	struct limiter *limiter =
		aligned_alloc(CACHE_LINE, sizeof(struct limiter));
	struct regime *regime = regime_new(config, now_ns, NULL);

	if (limiter == NULL || regime == NULL) {
		free(limiter);
		free(regime);
		return NULL;
	}
	atomic_init(&limiter->regime, regime);
	atomic_init(&limiter->refused[0], 0);
	atomic_init(&limiter->refused[1], 0);
	return limiter;
}

void
limiter_free(struct limiter *limiter)
{
	if (limiter == NULL)
		return;
	for (struct regime *r = atomic_load(&limiter->regime), *older;
		r != NULL; r = older) {
		older = r->older;
		free(r);
	}
	free(limiter);
}

/* The word as it stands in the present cycle: elapsed cycles pay back. */
static uint64_t
refreshed(const struct regime *regime, uint64_t word, int64_t now_ns)
{
	int64_t limit =
		atomic_load_explicit(&regime->limit, memory_order_relaxed);
	uint32_t cycle =
		(uint32_t)((now_ns - regime->start_ns) / regime->period_ns);
	uint32_t elapsed = cycle - cycle_of(word);

	/* A thread with an older `now` must not turn the cycle back. */
	if (elapsed == 0 || elapsed > UINT32_MAX - OLDER_CYCLES)
		return word;
	int64_t permits = permits_of(word) + (int64_t)elapsed * limit;

	return pack(cycle, (int32_t)(permits < limit ? permits : limit));
}

/* How long until a permit of `word` may be used; 0 when there is one. */
static int64_t
cycles_wait(const struct regime *regime, uint64_t word, int64_t now_ns)
{
	int64_t limit =
		atomic_load_explicit(&regime->limit, memory_order_relaxed);
	int64_t permits = permits_of(word);

	if (permits >= 1)
		return 0;
	int64_t since = now_ns - regime->start_ns;
	int64_t to_next = regime->period_ns - since % regime->period_ns;
	/* Whole cycles that only pay back what is owed already. */
	int64_t owed_cycles = -permits / limit;

	return owed_cycles * regime->period_ns + to_next;
}

static int64_t
cycles_acquire(struct regime *regime, int64_t now_ns, int64_t max_wait_ns)
{
	uint64_t seen =
		atomic_load_explicit(&regime->word, memory_order_relaxed);

	for (;;) {
		uint64_t word = refreshed(regime, seen, now_ns);
		int64_t wait = cycles_wait(regime, word, now_ns);

		if (wait > max_wait_ns || permits_of(word) == INT32_MIN)
			return -1;
		uint64_t next = pack(cycle_of(word), permits_of(word) - 1);

		if (atomic_compare_exchange_weak_explicit(&regime->word, &seen,
			    next, memory_order_relaxed, memory_order_relaxed))
			return wait;
	}
}

static int64_t
interval_ns(const struct regime *regime)
{
	int64_t limit =
		atomic_load_explicit(&regime->limit, memory_order_relaxed);
	int64_t interval = regime->period_ns / limit;

	return interval > 0 ? interval : 1;
}

static int64_t
smooth_acquire(struct regime *regime, int64_t now_ns, int64_t max_wait_ns)
{
	int64_t now = now_ns - regime->start_ns;
	uint64_t seen =
		atomic_load_explicit(&regime->word, memory_order_relaxed);

	for (;;) {
		int64_t due = (int64_t)seen;
		int64_t wait = due - SMOOTH_BURST(regime->period_ns) - now;

		if (wait < 0)
			wait = 0;
		if (wait > max_wait_ns)
			return -1;
		int64_t next = (due > now ? due : now) + interval_ns(regime);

		if (atomic_compare_exchange_weak_explicit(&regime->word, &seen,
			    (uint64_t)next, memory_order_relaxed,
			    memory_order_relaxed))
			return wait;
	}
}

/* Refusals are counted by the period, but not by less than clients wait. */
static uint32_t
window_of(const struct regime *regime, int64_t now_ns)
{
	return (uint32_t)(now_ns / MAX(regime->period_ns, NS_PER_S));
}

static void
count_refusal(
	struct limiter *limiter, const struct regime *regime, int64_t now_ns)
{
	uint32_t window = window_of(regime, now_ns);
	_Atomic uint64_t *slot = &limiter->refused[window % 2];
	uint64_t seen = atomic_load_explicit(slot, memory_order_relaxed);

	while (seen >> 32 != window)
		if (atomic_compare_exchange_weak_explicit(slot, &seen,
			    (uint64_t)window << 32 | 1, memory_order_relaxed,
			    memory_order_relaxed))
			return;
	atomic_fetch_add_explicit(slot, 1, memory_order_relaxed);
}

static uint32_t
refused_in(const struct limiter *limiter, uint32_t window)
{
	uint64_t seen = atomic_load_explicit(
		&limiter->refused[window % 2], memory_order_relaxed);

	return seen >> 32 == window ? (uint32_t)seen : 0;
}

int64_t
limiter_backlog_ns(const struct limiter *limiter, int64_t now_ns)
{
	const struct regime *regime =
		atomic_load_explicit(&limiter->regime, memory_order_acquire);
	uint32_t window = window_of(regime, now_ns);
	double refused = (double)refused_in(limiter, window) +
			 (double)refused_in(limiter, window - 1);
	int32_t limit =
		atomic_load_explicit(&regime->limit, memory_order_relaxed);

	double ns = refused / limit * (double)regime->period_ns;

	return ns < MOST_NS ? (int64_t)ns : (int64_t)MOST_NS;
}

int64_t
limiter_acquire(struct limiter *limiter, int64_t now_ns, int64_t max_wait_ns)
{
	struct regime *regime =
		atomic_load_explicit(&limiter->regime, memory_order_acquire);
	int64_t wait_ns = regime->mode == LIMITER_CYCLES
				  ? cycles_acquire(regime, now_ns, max_wait_ns)
				  : smooth_acquire(regime, now_ns, max_wait_ns);

	if (wait_ns < 0)
		count_refusal(limiter, regime, now_ns);
	return wait_ns;
}

void
limiter_give_back(struct limiter *limiter)
{
	struct regime *regime =
		atomic_load_explicit(&limiter->regime, memory_order_acquire);

	if (regime->mode == LIMITER_SMOOTH) {
		atomic_fetch_sub_explicit(&regime->word,
			(uint64_t)interval_ns(regime), memory_order_relaxed);
		return;
	}
	uint64_t seen =
		atomic_load_explicit(&regime->word, memory_order_relaxed);
	int32_t limit =
		atomic_load_explicit(&regime->limit, memory_order_relaxed);

	/* A permit from before a reload must not raise the new bound. */
	while (permits_of(seen) < limit &&
		!atomic_compare_exchange_weak_explicit(&regime->word, &seen,
			pack(cycle_of(seen), permits_of(seen) + 1),
			memory_order_relaxed, memory_order_relaxed))
		;
}

void
limiter_configure(struct limiter *limiter, const struct limiter_config *config,
	int64_t now_ns)
{
	struct regime *regime = atomic_load(&limiter->regime);

	if (config->mode == regime->mode &&
		config->period_ns == regime->period_ns) {
		atomic_store(&regime->limit, config->limit);
		return;
	}
	struct regime *next = regime_new(config, now_ns, regime);

	/* Out of memory: the old regime stays in force. */
	if (next != NULL)
		atomic_store_explicit(
			&limiter->regime, next, memory_order_release);
}

int64_t
limiter_available(const struct limiter *limiter, int64_t now_ns)
{
	const struct regime *regime =
		atomic_load_explicit(&limiter->regime, memory_order_acquire);
	uint64_t word =
		atomic_load_explicit(&regime->word, memory_order_relaxed);

	if (regime->mode == LIMITER_CYCLES)
		return permits_of(refreshed(regime, word, now_ns));
	int64_t room = SMOOTH_BURST(regime->period_ns) +
		       (now_ns - regime->start_ns) - (int64_t)word;
	int64_t burst = SMOOTH_BURST(regime->period_ns);

	return (room < burst ? room : burst) / interval_ns(regime);
}
