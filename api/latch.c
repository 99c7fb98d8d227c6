/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * What can change is one 64-bit word per slot, so that every step is one
 * compare-and-swap, and none can be half seen:
 *
 *   high 24 bits  a tag of the event, so that a step meant for one event never
 *                 takes effect on the one that has taken its slot meanwhile
 *   low 40 bits   armed until this tick (of a millisecond, for 34 years)
 *
 * To become the probe is to move `until` from the past to one's deadline: of
 * all who come at the end of the time exactly one can, and from then on the
 * others find an armed latch.  The word it wrote proves that the latch is
 * still its own when it comes back without an answer.
 *
 * The tag contains the era, which latches_clear() raises: every word of an
 * earlier one belongs to nobody.  Ids with the same tag differ by multiples of
 * 2^30; the full one is beside the word and compared, too.
 */
#include "api/latch.h"

#include <stdatomic.h>
#include <sys/param.h>

#define TICK_SHIFT 20 /* 2^20 ns: 1.05 ms */
#define UNTIL_BITS 40
#define UNTIL_MASK ((UINT64_C(1) << UNTIL_BITS) - 1)

static _Atomic uint64_t current_era;

static unsigned
slot_of(int64_t coupon_id)
{
	return (unsigned)((uint64_t)coupon_id % LATCH_SLOTS);
}

static uint64_t
tag_of(int64_t coupon_id)
{
	/* Odd: all 2^24 eras give another tag. */
	const uint64_t scatter = UINT64_C(0x9E3779B97F4A7C15);
	uint64_t era = atomic_load_explicit(&current_era, memory_order_acquire);

	return (((uint64_t)coupon_id / LATCH_SLOTS) ^ (era * scatter))
	       << UNTIL_BITS;
}

static uint64_t
tick_of(int64_t ns)
{
	return (uint64_t)ns >> TICK_SHIFT;
}

/* Rounded up: never 0. */
static uint64_t
word_of(uint64_t tag, int64_t until_ns)
{
	return tag | ((tick_of(until_ns) + 1) & UNTIL_MASK);
}

static uint64_t
tag_in(uint64_t word)
{
	return word & ~UNTIL_MASK;
}

/* The slot's word if it is about this event, else 0. */
static uint64_t
word_about(const struct latch_slot *slot, int64_t coupon_id)
{
	uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);

	if (tag_in(word) != tag_of(coupon_id) ||
		atomic_load_explicit(&slot->coupon_id, memory_order_relaxed) !=
			coupon_id)
		return 0;
	return word;
}

void
latch_arm(struct latch *latch, int64_t coupon_id, int64_t now_ns,
	int64_t duration_ns)
{
	struct latch_slot *slot = &latch->slots[slot_of(coupon_id)];
	int64_t until_ns = now_ns + duration_ns;

	atomic_store_explicit(
		&slot->coupon_id, coupon_id, memory_order_relaxed);
	atomic_store_explicit(&slot->trusted_ns, until_ns + LATCH_UNHEARD_NS,
		memory_order_relaxed);
	atomic_store_explicit(&slot->word, word_of(tag_of(coupon_id), until_ns),
		memory_order_release);
}

void
latch_disarm(struct latch *latch, int64_t coupon_id)
{
	struct latch_slot *slot = &latch->slots[slot_of(coupon_id)];
	uint64_t word = word_about(slot, coupon_id);

	/* A word that changes meanwhile is a later one of Redis, or a probe's;
	 * both are of the same event as long as the tag is. */
	while (word != 0 &&
		!atomic_compare_exchange_weak_explicit(&slot->word, &word, 0,
			memory_order_relaxed, memory_order_relaxed))
		word = word_about(slot, coupon_id);
}

bool
latch_is_armed(const struct latch *latch, int64_t coupon_id, int64_t now_ns)
{
	const struct latch_slot *slot = &latch->slots[slot_of(coupon_id)];

	return tick_of(now_ns) < (word_about(slot, coupon_id) & UNTIL_MASK);
}

/* The word of a probe that may go now; 0: none may. */
static uint64_t
probe_after(const struct latch_slot *slot, uint64_t word,
	const struct latch_times *times)
{
	int64_t trusted_ns =
		atomic_load_explicit(&slot->trusted_ns, memory_order_relaxed);
	uint64_t over = tick_of(times->now_ns) - (word & UNTIL_MASK);

	if (times->now_ns >= trusted_ns || over > tick_of(times->duration_ns))
		return 0;
	return word_of(tag_in(word), MIN(times->deadline_ns, trusted_ns));
}

enum latch_answer
latch_ask(struct latch *latch, int64_t coupon_id,
	const struct latch_times *times, uint64_t *ret_probe)
{
	struct latch_slot *slot = &latch->slots[slot_of(coupon_id)];
	uint64_t word = word_about(slot, coupon_id);

	while (word != 0) {
		if (tick_of(times->now_ns) < (word & UNTIL_MASK))
			return LATCH_ARMED;
		uint64_t probe = probe_after(slot, word, times);

		if (probe == 0)
			return LATCH_OPEN;
		if (atomic_compare_exchange_strong_explicit(&slot->word, &word,
			    probe, memory_order_relaxed,
			    memory_order_relaxed)) {
			*ret_probe = probe;
			return LATCH_PROBE;
		}
		word = word_about(slot, coupon_id);
	}
	return LATCH_OPEN;
}

bool
latch_postpone(
	struct latch *latch, int64_t coupon_id, uint64_t probe, int64_t at_ns)
{
	struct latch_slot *slot = &latch->slots[slot_of(coupon_id)];
	int64_t trusted_ns =
		atomic_load_explicit(&slot->trusted_ns, memory_order_relaxed);
	uint64_t next = word_of(tag_in(probe), MIN(at_ns, trusted_ns));

	/* Of an earlier era: whoever asks Redis is right to. */
	return tag_in(probe) == tag_of(coupon_id) &&
	       atomic_compare_exchange_strong_explicit(&slot->word, &probe,
		       next, memory_order_relaxed, memory_order_relaxed);
}

void
latches_clear(void)
{
	atomic_fetch_add_explicit(&current_era, 1, memory_order_release);
}
