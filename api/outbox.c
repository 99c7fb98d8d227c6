/* SPDX-License-Identifier: MIT */
#include "api/outbox.h"

#include "api/producer.h"
#include "api/scripts.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/message.h"
#include "common/metrics.h"
#include "common/redis.h"

#include <assert.h>
#include <hiredis/hiredis.h>

#define REMOVE_TIMEOUT_NS (1 * NS_PER_S)

static const struct metric_family removed_family METRIC_FAMILY = {
	.name = "coupon.outbox.removed",
	.kind = METRIC_COUNTER,
	.description = "Outbox entries removed after Kafka's acknowledgement.",
};
static const struct metric_family left_family METRIC_FAMILY = {
	.name = "coupon.outbox.left",
	.kind = METRIC_COUNTER,
	.description = "Acknowledged entries that could not be removed; the "
		       "relay sends them again.",
};

struct outbox {
	struct redis_shards *shards;
	struct counter *removed;
	struct counter *left;
	/* Reused from call to call. */
	struct producer_record *sorted[PRODUCER_BATCH_MAX];
	char members[PRODUCER_BATCH_MAX][OUTBOX_MEMBER_SIZE];
	const char *argv[PRODUCER_BATCH_MAX + 2];
	size_t argvlen[PRODUCER_BATCH_MAX + 2];
};

struct outbox *
outbox_new(struct redis_shards *shards, struct metrics *metrics)
{
	struct outbox *outbox = calloc(1, sizeof(*outbox));

	if (outbox == NULL)
		abort();
	outbox->shards = shards;
	outbox->removed =
		metrics_counter(metrics, &removed_family, METRIC_NO_TAGS);
	outbox->left = metrics_counter(metrics, &left_family, METRIC_NO_TAGS);
	return outbox;
}

void
outbox_free(struct outbox *outbox)
{
	free(outbox);
}

static int64_t
coupon_of(const struct producer_record *record)
{
	return record->inflight.key.coupon_id;
}

static int
by_coupon(const void *a, const void *b)
{
	int64_t left = coupon_of(*(struct producer_record *const *)a);
	int64_t right = coupon_of(*(struct producer_record *const *)b);

	return (left > right) - (left < right);
}

/* ZREM key member ...: the records of one event. */
static int
build_command(
	struct outbox *outbox, struct producer_record *const *records, size_t n)
{
	struct message message;

	outbox->argv[0] = "ZREM";
	outbox->argvlen[0] = strlen("ZREM");
	for (size_t i = 0; i < n; i++) {
		const struct inflight_key *key = &records[i]->inflight.key;
		message.coupon_id = key->coupon_id;
		message.user_id = key->user_id;
		message.seq = records[i]->seq;
		memcpy(message.request_id, key->request_id,
			sizeof(message.request_id));
		outbox->argv[i + 2] = outbox->members[i];
		outbox->argvlen[i + 2] =
			outbox_member(&message, outbox->members[i]);
	}
	return (int)n + 2;
}

static int
remove_of_event(struct outbox *outbox, struct producer_record *const *records,
	size_t n, struct error *err)
{
	char key[REDIS_KEY_SIZE];
	struct redisReply *reply;
	struct pool_entry *entry;
	struct pool *pool =
		redis_shard_pool(outbox->shards, coupon_of(records[0]));
	int64_t deadline_ns = clock_now_ns() + REMOVE_TIMEOUT_NS;
	int rc = pool_acquire(pool, "delivery", deadline_ns, &entry, err);

	if (rc != 0)
		return rc;
	int argc = build_command(outbox, records, n);
	redis_key(key, coupon_of(records[0]), "pending");
	outbox->argv[1] = key;
	outbox->argvlen[1] = strlen(key);
	const struct redis_args args = { argc, outbox->argv, outbox->argvlen };

	rc = redis_call(entry->resource, deadline_ns, &args, &reply, err);
	pool_release(pool, &entry, redis_verdict(rc));
	if (rc == 0)
		freeReplyObject(reply);
	return rc;
}

void
outbox_remove(void *arg, struct producer_record *const *records, size_t n)
{
	struct outbox *outbox = arg;
	struct error err;
	size_t end;

	assert(n <= PRODUCER_BATCH_MAX);
	for (size_t i = 0; i < n; i++)
		outbox->sorted[i] = records[i];
	qsort(outbox->sorted, n, sizeof(struct producer_record *), by_coupon);
	for (size_t start = 0; start < n; start = end) {
		for (end = start + 1; end < n; end++)
			if (coupon_of(outbox->sorted[end]) !=
				coupon_of(outbox->sorted[start]))
				break;
		if (remove_of_event(outbox, &outbox->sorted[start], end - start,
			    &err) == 0) {
			counter_add(outbox->removed, end - start);
			continue;
		}
		counter_add(outbox->left, end - start);
		LOG_WARN("outbox entries not removed, left to the relay",
			LOG_INT("coupon", coupon_of(outbox->sorted[start])),
			LOG_INT("entries", end - start), LOG_ERR(&err));
	}
}
