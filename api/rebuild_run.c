/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 *   1 fence   Take the event's lease, which raises its epoch in PostgreSQL,
 *             then raise it in Redis: issue.lua admits nothing any more,
 *             whoever sends.  Wait until every living api has said that no
 *             reply and no message from before is on its way (at most 5 s:
 *             an api that hangs must not close the event for good).
 *   2 cut     Rows, rejections and consumer offsets in one snapshot.
 *   3 gather  What Kafka holds behind those offsets, then what Redis still
 *             has.  What only Redis knows is sent to Kafka and looked for
 *             there again: acknowledged is what the next look finds.  Only an
 *             event that begins with this fence has let in nobody yet, and
 *             opens also while Kafka, or the topic, is away.
 *   4 commit  Written beside the event and put in force by one script, only
 *             if the event is still fenced with this very epoch.
 *
 * A rebuilder that dies leaves a fenced event and a lease that runs out:
 * somebody finds it (api/upkeep.h) and begins at 1 with a higher epoch.  One
 * that was only slow fails in 4.  Nothing is undone on failure; the event
 * stays fenced, refused requests leave no trace, and the next try begins
 * after RETRY_AFTER_NS.
 */
#include "api/rebuild_run.h"

#include "api/latch.h"
#include "api/producer.h"
#include "api/rebuild_plan.h"
#include "api/rebuild_redis.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/log.h"
#include "common/redis.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>

#define ACKS_TIMEOUT_NS (5 * NS_PER_S)
#define RENEW_EVERY_NS (1 * NS_PER_S)
#define LOOK_EVERY_NS (50 * NS_PER_MS)

enum { SEND_ROUNDS = 3 };

static struct store_call
store_call(const struct rebuild_run *run)
{
	return (struct store_call){ run->config->pg, run->deadline_ns };
}

/* Between two pieces of work: keep the lease, notice a stop. */
static int
tick(void *arg, struct error *err)
{
	struct rebuild_run *run = arg;
	const struct store_call call = store_call(run);

	if (run->is_stopping(run->arg))
		return error_set(err, ERROR_CLOSED, "rebuild: shutting down");
	if (clock_now_ns() < run->renew_at_ns)
		return 0;
	run->renew_at_ns = clock_now_ns() + RENEW_EVERY_NS;
	return rebuild_store_renew(
		&call, run->event.coupon_id, run->config->instance_id, err);
}

static struct rebuild_redis
redis_stage(struct rebuild_run *run)
{
	return (struct rebuild_redis){
		.shards = run->config->shards,
		.coupon_id = run->event.coupon_id,
		.deadline_ns = run->deadline_ns,
		.tick = tick,
		.arg = run,
	};
}

/* ---- 1: fence ---- */

static int
read_redis_epoch(const struct rebuild_run *run, int64_t *ret, struct error *err)
{
	struct pool *pool =
		redis_shard_pool(run->config->shards, run->event.coupon_id);
	char key[REDIS_KEY_SIZE];
	struct redisReply *reply;
	struct pool_entry *entry;
	int rc = pool_acquire(pool, "rebuild", run->deadline_ns, &entry, err);

	if (rc != 0)
		return rc;
	redis_key(key, run->event.coupon_id, "event");
	rc = redis_callf(entry->resource, run->deadline_ns, &reply, err,
		"HGET %s epoch", key);
	pool_release(pool, &entry, redis_verdict(rc));
	if (rc != 0)
		return rc;
	*ret = reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10)
						 : 0;
	freeReplyObject(reply);
	return 0;
}

static int
raise_fence(struct rebuild_run *run, struct error *err)
{
	const struct store_call call = store_call(run);
	int64_t coupon_id = run->event.coupon_id, redis_epoch = 0;
	bool taken = false, fenced = false;
	int rc = read_redis_epoch(run, &redis_epoch, err);
	const struct rebuild_claim claim = { coupon_id,
		run->config->instance_id, redis_epoch };

	if (rc == 0)
		rc = rebuild_store_take(
			&call, &claim, &taken, &run->event, err);
	if (rc == 0 && !taken)
		rc = error_set(err, ERROR_BUSY,
			"another api rebuilds event %" PRId64, coupon_id);
	if (rc != 0)
		return rc;
	run->renew_at_ns = clock_now_ns() + RENEW_EVERY_NS;

	const struct rebuild_redis stage = redis_stage(run);

	rc = rebuild_redis_fence(&stage, run->event.epoch, &fenced, err);
	if (rc == 0 && !fenced)
		rc = error_set(err, ERROR_BUSY,
			"event %" PRId64 " has a later fence", coupon_id);
	return rc;
}

static int
await_acks(struct rebuild_run *run, struct error *err)
{
	const struct store_call call = store_call(run);
	int64_t until_ns = clock_now_ns() + ACKS_TIMEOUT_NS;
	int64_t missing = 1;
	int rc = 0;

	while (rc == 0 && missing > 0 && clock_now_ns() < until_ns) {
		rc = rebuild_store_missing_acks(
			&call, &run->event, &missing, err);
		if (rc == 0)
			rc = tick(run, err);
		if (rc == 0 && missing > 0)
			run->pause(run->arg, LOOK_EVERY_NS);
	}
	if (rc == 0 && missing > 0)
		LOG_WARN("an api did not acknowledge a fence, going on",
			LOG_INT("coupon", run->event.coupon_id),
			LOG_INT("epoch", run->event.epoch),
			LOG_INT("missing", missing));
	return rc;
}

/* ---- 2: cut ---- */

static int
add_decided(void *arg, const struct message *request, const char *reason,
	struct error *err)
{
	struct rebuild_run *run = arg;
	bool added = reason != NULL ? rebuild_plan_add_rejection(
					      run->plan, request, reason)
				    : rebuild_plan_add_row(run->plan, request);

	return added ? 0
		     : error_set(
			       err, ERROR_NO_MEMORY, "rebuild: out of memory");
}

static int
read_database(struct rebuild_run *run, struct error *err)
{
	const struct settings *settings = run->config->settings;
	const struct store_call call = store_call(run);
	const struct rebuild_cut cut = {
		.coupon_id = run->event.coupon_id,
		.group_id = settings->kafka_group_id,
		.topic = settings->kafka_topic,
		.request = add_decided,
		.tick = tick,
		.arg = run,
	};

	return rebuild_store_read(&call, &cut, &run->offsets, err);
}

/* ---- 3: gather ---- */

static int
add_message(void *arg, const rd_kafka_message_t *kafka, struct error *err)
{
	struct rebuild_run *run = arg;
	struct error why;
	struct message message;
	bool identified;

	/* What cannot be read is the consumer's to dead-letter. */
	if (message_decode(kafka->payload, kafka->len, &message, &identified,
		    &why) != MESSAGE_OK ||
		message.coupon_id != run->event.coupon_id)
		return 0;
	if (!rebuild_plan_add_message(run->plan, &message))
		return error_set(
			err, ERROR_NO_MEMORY, "rebuild: out of memory");
	return 0;
}

/* Read Kafka from run->offsets on, and remember how far. */
static int
read_kafka(struct rebuild_run *run, struct error *err)
{
	const struct settings *settings = run->config->settings;
	struct kafka_scan_partition *partitions;
	size_t n;
	const struct kafka_scan scan = {
		.topic = settings->kafka_topic,
		.starts = run->offsets.items,
		.n_starts = run->offsets.n,
		.message = add_message,
		.tick = tick,
		.arg = run,
		.deadline_ns = run->deadline_ns,
	};
	int rc = kafka_scan(settings, &scan, &partitions, &n, err);

	if (rc != 0)
		return rc;
	struct kafka_scan_offset *offsets = calloc(n + 1, sizeof(*offsets));

	if (offsets == NULL) {
		free(partitions);
		return error_set(
			err, ERROR_NO_MEMORY, "rebuild: out of memory");
	}
	for (size_t i = 0; i < n; i++)
		offsets[i] = (struct kafka_scan_offset){ partitions[i].id,
			partitions[i].high };
	free(partitions);
	free(run->offsets.items);
	run->offsets = (struct rebuild_offsets){ offsets, n };
	return 0;
}

struct sending {
	struct rebuild_run *run;
	size_t sent, refused;
};

static bool
send_unsent(void *arg, const struct message *message, const char *reason)
{
	struct sending *sending = arg;

	(void)reason;
	if (producer_send(sending->run->config->producer, message, NULL))
		sending->sent++;
	else
		sending->refused++;
	return sending->refused == 0;
}

static int
await_reports(struct rebuild_run *run, struct error *err)
{
	struct inflight *inflight = producer_inflight(run->config->producer);
	int rc = 0;

	while (rc == 0 &&
		inflight_unreported(inflight, run->event.coupon_id) > 0) {
		if (clock_now_ns() >= run->deadline_ns)
			return error_set(err, ERROR_KAFKA_ERROR,
				"rebuild: Kafka acknowledges nothing");
		run->pause(run->arg, LOOK_EVERY_NS);
		rc = tick(run, err);
	}
	return rc;
}

/* What only Redis knows goes to Kafka, until Kafka has all of it. */
static int
send_what_only_redis_knows(struct rebuild_run *run, struct error *err)
{
	struct rebuild_plan_counts counts;

	rebuild_plan_counts(run->plan, &counts);
	for (int i = 0; i < SEND_ROUNDS && counts.unsent > 0; i++) {
		struct sending sending = { .run = run };

		(void)rebuild_plan_each_unsent(
			run->plan, send_unsent, &sending);
		int rc = await_reports(run, err);

		if (rc == 0)
			rc = read_kafka(run, err);
		if (rc != 0)
			return rc;
		rebuild_plan_counts(run->plan, &counts);
	}
	if (counts.unsent > 0)
		return error_set(err, ERROR_KAFKA_ERROR,
			"rebuild: Kafka does not take %zu requests that only "
			"Redis knows",
			counts.unsent);
	return 0;
}

/*
 * Every fence is raised in PostgreSQL before anything is put into force, and
 * above Redis's: before the first one nobody was let in, and Kafka can have
 * nothing.  (The counts are not 0 when the id is that of an earlier event.)
 */
static bool
is_new(const struct rebuild_run *run)
{
	struct rebuild_plan_counts counts;

	rebuild_plan_counts(run->plan, &counts);
	return run->event.epoch == 1 &&
	       counts.rows + counts.rejections + counts.messages == 0;
}

static int
read_kafka_if_needed(struct rebuild_run *run, struct error *err)
{
	int rc = read_kafka(run, err);

	if ((rc != -ERROR_KAFKA_ERROR && rc != -ERROR_TIMEOUT) || !is_new(run))
		return rc;
	LOG_WARN("Kafka cannot be asked, a new event opens without",
		LOG_INT("coupon", run->event.coupon_id), LOG_ERR(err));
	return 0;
}

static int
gather(struct rebuild_run *run, struct error *err)
{
	const struct rebuild_redis stage = redis_stage(run);
	int rc = read_kafka_if_needed(run, err);

	if (rc == 0)
		rc = rebuild_redis_read(&stage, run->plan, err);
	if (rc == 0)
		rc = send_what_only_redis_knows(run, err);
	return rc;
}

/* ---- 4: commit ---- */

static int
commit(struct rebuild_run *run, struct error *err)
{
	const struct rebuild_redis stage = redis_stage(run);
	const struct store_call call = store_call(run);
	bool done = false;
	int rc = rebuild_redis_commit(
		&stage, &run->event, run->plan, &done, err);

	if (rc == 0 && !done)
		rc = error_set(err, ERROR_BUSY,
			"event %" PRId64 " is no longer fenced with epoch "
			"%" PRId64,
			run->event.coupon_id, run->event.epoch);
	if (rc != 0)
		return rc;
	latches_clear();
	return rebuild_store_release(
		&call, run->event.coupon_id, run->config->instance_id, err);
}

int
rebuild_run(struct rebuild_run *run, struct error *err)
{
	int rc = raise_fence(run, err);

	if (rc != 0)
		return rc;
	run->plan = rebuild_plan_new(run->event.coupon_id, run->event.total);
	if (run->plan == NULL)
		return error_set(
			err, ERROR_NO_MEMORY, "rebuild: out of memory");
	rc = await_acks(run, err);
	if (rc == 0)
		rc = read_database(run, err);
	if (rc == 0)
		rc = gather(run, err);
	if (rc == 0)
		rc = commit(run, err);
	return rc;
}

void
rebuild_run_fini(struct rebuild_run *run)
{
	rebuild_plan_free(run->plan);
	free(run->offsets.items);
}
