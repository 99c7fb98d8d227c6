/* SPDX-License-Identifier: MIT */
/*
 * latch - remembers for a moment what Redis said of an event: that it is sold
 * out (one latch per process), or that there is none (one per HTTP loop).
 *
 * It is armed by Redis's word alone, never by its own hits, so stock added by
 * another process is seen within the time it is armed for.  When that is over
 * and requests still come, one of them is the probe: it goes to Redis, while
 * the others are answered as before.  So a flood after the end costs one
 * command per latch time, however long Redis takes to answer it.
 *
 * A probe holds the latch until its own deadline at the longest; then another
 * goes.  No number of probes without an answer keeps it armed for more than
 * LATCH_UNHEARD_NS: then every request is Redis's again, or the breaker's.
 * Neither does a latch that nobody asked for as long as it was armed: what it
 * knows is old, and there is no flood to keep away.
 *
 * Any thread; nothing waits, and an armed latch is only read.
 */
#ifndef API_LATCH_H
#define API_LATCH_H

#include "common/clock.h"

#include <stdbool.h>
#include <stdint.h>

/* Direct-mapped: a collision forgets the older event, which costs a command. */
#define LATCH_SLOTS 64

#define LATCH_UNHEARD_NS (2 * NS_PER_S)

struct latch {
	struct latch_slot {
		_Atomic uint64_t word;
		_Atomic int64_t coupon_id;
		_Atomic int64_t trusted_ns;
	} slots[LATCH_SLOTS];
};

/* Zeroed memory is a valid latch. */

/* Redis said so now: answer for it until now_ns + duration_ns. */
void latch_arm(struct latch *latch, int64_t coupon_id, int64_t now_ns,
	int64_t duration_ns);

/* Redis said otherwise. */
void latch_disarm(struct latch *latch, int64_t coupon_id);

/* Without probes: when its time is over, it is over. */
bool latch_is_armed(
	const struct latch *latch, int64_t coupon_id, int64_t now_ns);

enum latch_answer {
	LATCH_OPEN,  /* it knows nothing: ask Redis */
	LATCH_ARMED, /* what Redis said still stands */
	LATCH_PROBE, /* ask Redis, for those who are told ARMED meanwhile */
};

struct latch_times {
	int64_t now_ns;
	int64_t duration_ns; /* as for latch_arm() */
	int64_t deadline_ns; /* of the request: a probe ends by then */
};

/* After PROBE, *ret_probe (never 0) is the proof of it. */
enum latch_answer latch_ask(struct latch *latch, int64_t coupon_id,
	const struct latch_times *times, uint64_t *ret_probe);

/*
 * The probe brought no answer: another may go from `at_ns` on, and until then
 * the latch stays armed.  False: it was not this probe's any more.
 */
bool latch_postpone(
	struct latch *latch, int64_t coupon_id, uint64_t probe, int64_t at_ns);

/* More stock or a rebuild was seen: every latch of the process opens.  Any
 * thread. */
void latches_clear(void);

#endif
