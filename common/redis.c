/* SPDX-License-Identifier: MIT */
#include "common/redis.h"

#include <inttypes.h>
#include <stdio.h>

void
redis_key(char buf[REDIS_KEY_SIZE], int64_t coupon_id, const char *part)
{
	snprintf(buf, REDIS_KEY_SIZE, "{c:%" PRId64 "}:%s", coupon_id, part);
}
