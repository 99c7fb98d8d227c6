/* SPDX-License-Identifier: MIT */
#include "consumer/events.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/redis.h"

#include <hiredis/hiredis.h>

#define WAIT_NS NS_PER_S

static int
ask(struct redis_shards *redis, int64_t coupon_id, bool *ret_exists,
	struct error *err)
{
	struct pool *pool = redis_shard_pool(redis, coupon_id);
	int64_t deadline_ns = clock_now_ns() + WAIT_NS;
	char key[REDIS_KEY_SIZE];
	struct redisReply *reply;
	struct pool_entry *entry;
	int rc = pool_acquire(pool, "event lookup", deadline_ns, &entry, err);

	if (rc != 0)
		return rc;
	redis_key(key, coupon_id, "event");
	rc = redis_callf(
		entry->resource, deadline_ns, &reply, err, "EXISTS %s", key);
	pool_release(pool, &entry, redis_verdict(rc));
	if (rc != 0)
		return rc;
	*ret_exists = reply->integer != 0;
	freeReplyObject(reply);
	return 0;
}

bool
events_may_exist(struct redis_shards *redis, int64_t coupon_id)
{
	struct error err;
	bool exists = true;

	if (ask(redis, coupon_id, &exists, &err) != 0)
		LOG_WARN("Redis cannot be asked for an event PostgreSQL does "
			 "not know",
			LOG_INT("coupon", coupon_id), LOG_ERR(&err));
	else if (exists)
		LOG_ERROR("Redis knows an event that PostgreSQL does not",
			LOG_INT("coupon", coupon_id));
	return exists;
}
