/* SPDX-License-Identifier: MIT */
/* events - does Redis know an event?  Any thread. */
#ifndef CONSUMER_EVENTS_H
#define CONSUMER_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

struct redis_shards;

/* False only when Redis has answered that it does not; waits at most 1 s. */
bool events_may_exist(struct redis_shards *redis, int64_t coupon_id);

#endif
