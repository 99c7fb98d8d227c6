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

/* The records of one event, which one ZREM removes. */
struct removal {
	struct producer_record *const *records;
	size_t n;
};

struct outbox {
	struct redis_shards *shards;
	struct counter *removed;
	struct counter *left;
	/* Reused from call to call. */
	struct producer_record *sorted[PRODUCER_BATCH_MAX];
	struct removal removals[PRODUCER_BATCH_MAX];
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

static int64_t
removal_coupon(const struct removal *removal)
{
	return coupon_of(removal->records[0]);
}

/* By event, so that each has one removal; their number. */
static size_t
sort_removals(
	struct outbox *outbox, struct producer_record *const *records, size_t n)
{
	struct producer_record **sorted = outbox->sorted;
	size_t n_removals = 0;

	for (size_t i = 0; i < n; i++)
		sorted[i] = records[i];
	qsort(sorted, n, sizeof(struct producer_record *), by_coupon);
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || coupon_of(sorted[i]) != coupon_of(sorted[i - 1]))
			outbox->removals[n_removals++] =
				(struct removal){ &sorted[i], 0 };
		outbox->removals[n_removals - 1].n++;
	}
	return n_removals;
}

/* ZREM key member ... */
static int
send_removal(struct outbox *outbox, struct redis_conn *conn,
	const struct removal *removal, struct error *err)
{
	struct message message;
	char key[REDIS_KEY_SIZE];

	redis_key(key, removal_coupon(removal), "pending");
	outbox->argv[0] = "ZREM";
	outbox->argvlen[0] = strlen("ZREM");
	outbox->argv[1] = key;
	outbox->argvlen[1] = strlen(key);
	for (size_t i = 0; i < removal->n; i++) {
		const struct producer_record *record = removal->records[i];
		message.coupon_id = coupon_of(record);
		message.user_id = record->inflight.key.user_id;
		message.seq = record->seq;
		memcpy(message.request_id, record->inflight.key.request_id,
			sizeof(message.request_id));
		outbox->argv[i + 2] = outbox->members[i];
		outbox->argvlen[i + 2] =
			outbox_member(&message, outbox->members[i]);
	}
	const struct redis_args args = { (int)removal->n + 2, outbox->argv,
		outbox->argvlen };

	return redis_send(conn, &args, err);
}

static void
left(struct outbox *outbox, const struct removal *removal,
	const struct error *err)
{
	counter_add(outbox->left, removal->n);
	LOG_WARN("outbox entries not removed, left to the relay",
		LOG_INT("coupon", removal_coupon(removal)),
		LOG_INT("entries", removal->n), LOG_ERR(err));
}

static int
receive_removal(struct outbox *outbox, struct redis_conn *conn,
	const struct removal *removal, int64_t deadline_ns)
{
	struct redisReply *reply;
	struct error err;
	int rc = redis_receive(conn, deadline_ns, &reply, &err);

	if (rc < 0) {
		left(outbox, removal, &err);
		return rc;
	}
	counter_add(outbox->removed, removal->n);
	freeReplyObject(reply);
	return 0;
}

static enum pool_return
exchange(struct outbox *outbox, struct redis_conn *conn,
	const struct removal *removals, size_t n, int64_t deadline_ns)
{
	enum pool_return how = POOL_REUSE;
	struct error err;
	size_t n_sent = 0;

	while (n_sent < n &&
		send_removal(outbox, conn, &removals[n_sent], &err) == 0)
		n_sent++;
	for (size_t i = 0; i < n_sent; i++)
		if (redis_verdict(receive_removal(outbox, conn, &removals[i],
			    deadline_ns)) == POOL_DESTROY)
			how = POOL_DESTROY;
	for (size_t i = n_sent; i < n; i++)
		left(outbox, &removals[i], &err);
	return how;
}

/*
 * One round trip, however many events: Redis executes what one read brings
 * in one turn, and with appendfsync always a turn costs one fsync.
 */
static void
remove_from_shard(struct outbox *outbox, struct pool *pool,
	const struct removal *removals, size_t n)
{
	const int64_t deadline_ns = clock_now_ns() + REMOVE_TIMEOUT_NS;
	struct pool_entry *entry;
	struct error err;

	if (pool_acquire(pool, "delivery", deadline_ns, &entry, &err) != 0) {
		for (size_t i = 0; i < n; i++)
			left(outbox, &removals[i], &err);
		return;
	}
	enum pool_return how =
		exchange(outbox, entry->resource, removals, n, deadline_ns);

	pool_release(pool, &entry, how);
}

static struct pool *
pool_of(const struct outbox *outbox, const struct removal *removal)
{
	return redis_shard_pool(outbox->shards, removal_coupon(removal));
}

void
outbox_remove(void *arg, struct producer_record *const *records, size_t n)
{
	struct outbox *outbox = arg;
	const struct removal *removals = outbox->removals;
	size_t end;

	assert(n <= PRODUCER_BATCH_MAX);
	n = sort_removals(outbox, records, n);
	for (size_t start = 0; start < n; start = end) {
		struct pool *pool = pool_of(outbox, &removals[start]);

		for (end = start + 1; end < n; end++)
			if (pool_of(outbox, &removals[end]) != pool)
				break;
		remove_from_shard(outbox, pool, &removals[start], end - start);
	}
}
