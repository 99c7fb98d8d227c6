/* SPDX-License-Identifier: MIT */
/*
 * seen - the highest number of each event that Redis gave out to this loop.
 *
 * After a restart of Redis they tell whether it came back with older numbers
 * (api/restart_check.h).  The loop's thread notes, any thread reads.  A table
 * of fixed size: an event that collides with another takes its place.
 */
#ifndef API_SEEN_H
#define API_SEEN_H

#include <stdatomic.h>
#include <stdint.h>

#define SEEN_SLOTS 256

/* Zeroed memory is a valid table. */
struct seen {
	struct seen_slot {
		_Atomic int64_t coupon_id;
		_Atomic int64_t seq;
	} slots[SEEN_SLOTS];
};

void seen_note(struct seen *seen, int64_t coupon_id, int64_t seq);

/* 0 when nothing is known. */
int64_t seen_highest(const struct seen *seen, int64_t coupon_id);

#endif
