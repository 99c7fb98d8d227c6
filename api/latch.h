/* SPDX-License-Identifier: MIT */
/*
 * latch - remembers for a moment that an event is sold out.
 *
 * One per HTTP loop, used by that loop's thread only, so a flood after the
 * end costs neither a Redis command nor a shared cache line.  It is armed by
 * Redis's SOLD_OUT alone, never by its own hits: stock added by another
 * process is seen within latch.duration.
 */
#ifndef API_LATCH_H
#define API_LATCH_H

#include <stdbool.h>
#include <stdint.h>

/* Direct-mapped: a collision forgets the older event, which costs a command. */
#define LATCH_SLOTS 64

struct latch {
	struct latch_slot {
		int64_t coupon_id;
		int64_t until_ns;
		uint64_t era;
	} slots[LATCH_SLOTS];
};

/* Zeroed memory is a valid latch. */

/* Redis said SOLD_OUT now: answer for it until now_ns + duration_ns. */
void latch_arm(struct latch *latch, int64_t coupon_id, int64_t now_ns,
	int64_t duration_ns);

bool latch_is_armed(
	const struct latch *latch, int64_t coupon_id, int64_t now_ns);

/* More stock or a rebuild was seen: every latch of the process opens.  Any
 * thread. */
void latches_clear(void);

#endif
