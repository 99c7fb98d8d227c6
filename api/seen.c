/* SPDX-License-Identifier: MIT */
#include "api/seen.h"

static struct seen_slot *
slot_of(struct seen *seen, int64_t coupon_id)
{
	return &seen->slots[(uint64_t)coupon_id % SEEN_SLOTS];
}

void
seen_note(struct seen *seen, int64_t coupon_id, int64_t seq)
{
	struct seen_slot *slot = slot_of(seen, coupon_id);
	int64_t holder =
		atomic_load_explicit(&slot->coupon_id, memory_order_relaxed);

	if (holder == coupon_id &&
		atomic_load_explicit(&slot->seq, memory_order_relaxed) >= seq)
		return;
	/* A reader in between sees no number rather than another event's. */
	if (holder != coupon_id) {
		atomic_store_explicit(&slot->seq, 0, memory_order_relaxed);
		atomic_store_explicit(
			&slot->coupon_id, coupon_id, memory_order_release);
	}
	atomic_store_explicit(&slot->seq, seq, memory_order_release);
}

int64_t
seen_highest(const struct seen *seen, int64_t coupon_id)
{
	const struct seen_slot *slot = slot_of((struct seen *)seen, coupon_id);
	int64_t seq = atomic_load_explicit(&slot->seq, memory_order_acquire);

	/* The slot may have changed hands meanwhile: then nothing is known. */
	return atomic_load_explicit(&slot->coupon_id, memory_order_acquire) ==
			       coupon_id
		       ? seq
		       : 0;
}
