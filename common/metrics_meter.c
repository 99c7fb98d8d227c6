/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * A counter or timer is SHARDS copies of its numbers, each on cache lines of
 * its own; a thread adds to the copy its index picks, readers add them up.
 * With more threads than shards two may share one, hence atomic adds (relaxed:
 * numbers order nothing).  No lock, no allocation, nobody waits.
 *
 * A timer has no count: it counts into one bucket per observation, and the
 * count is the sum of the buckets.  So the +Inf bucket of a scrape equals its
 * _count while writers write.  The sum may be a few observations ahead.
 *
 * The maximum decays as Micrometer's: one slot per window of 20 s, three of
 * them in a ring, each tagged with its window, so nobody has to clear them.
 * A slot changes only when a maximum is passed, so it need not be sharded.
 * The coarse clock (4 ms) is exact enough for it and costs a third.
 */
#include "common/metrics.h"
#include "common/metrics_series.h"

#include <stdatomic.h>

#define SHARDS 16

/* The window of a maximum's slot, above the nanoseconds (4.8 h and more). */
#define SLOT_NS_BITS 44
#define SLOT_NS_MAX ((INT64_C(1) << SLOT_NS_BITS) - 1)
#define SLOT_TAG_MASK ((UINT32_C(1) << (64 - SLOT_NS_BITS)) - 1)

struct counter {
	struct series series;
	struct {
		CACHE_ALIGNED _Atomic uint64_t n;
	} shards[SHARDS];
};

struct timer {
	struct series series;
	bool histogram;
	_Atomic uint64_t max[TIMER_MAX_WINDOWS]; /* tag, nanoseconds */
	struct {
		CACHE_ALIGNED _Atomic int64_t sum_ns;
		_Atomic uint64_t buckets[TIMER_EDGES + 1];
	} shards[SHARDS];
};

static uint32_t
current_window(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint32_t)(now.tv_sec / TIMER_MAX_WINDOW_S);
}

static void *
new_meter(struct series_id *id, size_t size)
{
	struct series *series = aligned_alloc(CACHE_LINE, size);

	if (series == NULL)
		abort();
	memset(series, 0, size);
	series->id = id;
	return series;
}

struct series *
series_new(struct series_id *id)
{
	struct timer *timer;

	if (id->family->kind == METRIC_COUNTER)
		return new_meter(id, sizeof(struct counter));
	timer = new_meter(id, sizeof(struct timer));
	timer->histogram = id->family->histogram;
	return &timer->series;
}

void
series_read(const struct series *series, struct metrics_sample *ret)
{
	ret->id = series->id;
	if (series->id->family->kind == METRIC_TIMER)
		timer_read((const struct timer *)series, current_window(),
			&ret->timer);
	else
		ret->value =
			(double)counter_value((const struct counter *)series);
}

static inline unsigned
shard_index(void)
{
	static _Atomic unsigned threads;
	static _Thread_local unsigned mine; /* 0: none yet */

	if (mine == 0)
		mine = 1 + atomic_fetch_add(&threads, 1) % SHARDS;
	return mine - 1;
}

void
counter_add(struct counter *counter, uint64_t n)
{
	atomic_fetch_add_explicit(
		&counter->shards[shard_index()].n, n, memory_order_relaxed);
}

uint64_t
counter_value(const struct counter *counter)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < SHARDS; i++)
		sum += atomic_load_explicit(
			&counter->shards[i].n, memory_order_relaxed);
	return sum;
}

static inline uint64_t
slot_pack(uint32_t window, int64_t ns)
{
	return (uint64_t)(window & SLOT_TAG_MASK) << SLOT_NS_BITS |
	       (uint64_t)(ns < SLOT_NS_MAX ? ns : SLOT_NS_MAX);
}

static inline bool
slot_is_of(uint64_t slot, uint32_t window)
{
	return slot >> SLOT_NS_BITS == (window & SLOT_TAG_MASK);
}

static inline size_t
bucket_of(const struct timer *timer, int64_t ns)
{
	size_t bucket = 0;

	if (!timer->histogram)
		return TIMER_EDGES;
	for (size_t i = 0; i < TIMER_EDGES; i++)
		bucket += ns > timer_edges[i].ns;
	return bucket;
}

void
timer_record_in(struct timer *timer, int64_t ns, uint32_t window)
{
	unsigned shard = shard_index();
	_Atomic uint64_t *slot = &timer->max[window % TIMER_MAX_WINDOWS];
	uint64_t seen = atomic_load_explicit(slot, memory_order_relaxed);
	uint64_t mine;

	if (ns < 0)
		ns = 0;
	mine = slot_pack(window, ns);
	atomic_fetch_add_explicit(
		&timer->shards[shard].buckets[bucket_of(timer, ns)], 1,
		memory_order_relaxed);
	atomic_fetch_add_explicit(
		&timer->shards[shard].sum_ns, ns, memory_order_relaxed);
	while (!(slot_is_of(seen, window) && seen >= mine) &&
		!atomic_compare_exchange_weak_explicit(slot, &seen, mine,
			memory_order_relaxed, memory_order_relaxed))
		;
}

void
timer_record(struct timer *timer, int64_t ns)
{
	timer_record_in(timer, ns, current_window());
}

void
timer_read(
	const struct timer *timer, uint32_t window, struct timer_reading *ret)
{
	*ret = (struct timer_reading){ 0 };
	for (size_t i = 0; i < SHARDS; i++) {
		for (size_t b = 0; b <= TIMER_EDGES; b++)
			ret->buckets[b] += atomic_load_explicit(
				&timer->shards[i].buckets[b],
				memory_order_relaxed);
		ret->sum_ns += atomic_load_explicit(
			&timer->shards[i].sum_ns, memory_order_relaxed);
	}
	for (size_t b = 0; b <= TIMER_EDGES; b++)
		ret->count += ret->buckets[b];
	for (uint32_t age = 0; age < TIMER_MAX_WINDOWS; age++) {
		uint32_t then = window - age;
		uint64_t slot = atomic_load_explicit(
			&timer->max[then % TIMER_MAX_WINDOWS],
			memory_order_relaxed);
		int64_t ns = (int64_t)(slot & (uint64_t)SLOT_NS_MAX);

		if (slot_is_of(slot, then) && ns > ret->max_ns)
			ret->max_ns = ns;
	}
}

uint64_t
timer_count(const struct timer *timer)
{
	struct timer_reading reading;

	timer_read(timer, 0, &reading);
	return reading.count;
}
