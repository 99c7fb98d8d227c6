/* SPDX-License-Identifier: MIT */
#include "api/latch.h"

#include <stdatomic.h>

/* Raised by latches_clear(); a slot armed in an earlier era does not count. */
static _Atomic uint64_t current_era;

static unsigned
slot_of(int64_t coupon_id)
{
	return (unsigned)((uint64_t)coupon_id % LATCH_SLOTS);
}

void
latch_arm(struct latch *latch, int64_t coupon_id, int64_t now_ns,
	int64_t duration_ns)
{
	latch->slots[slot_of(coupon_id)] = (struct latch_slot){
		.coupon_id = coupon_id,
		.until_ns = now_ns + duration_ns,
		.era = atomic_load_explicit(&current_era, memory_order_acquire),
	};
}

bool
latch_is_armed(const struct latch *latch, int64_t coupon_id, int64_t now_ns)
{
	const struct latch_slot *slot = &latch->slots[slot_of(coupon_id)];

	return slot->coupon_id == coupon_id && now_ns < slot->until_ns &&
	       slot->era ==
		       atomic_load_explicit(&current_era, memory_order_acquire);
}

void
latches_clear(void)
{
	atomic_fetch_add_explicit(&current_era, 1, memory_order_release);
}
