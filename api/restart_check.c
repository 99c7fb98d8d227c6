/* SPDX-License-Identifier: MIT */
#include "api/restart_check.h"

#include "api/coupon.h"
#include "api/event_loader.h"
#include "api/event_store.h"
#include "api/rebuild.h"
#include "api/rebuild_redis.h"
#include "api/rebuild_store.h"
#include "api/scripts.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/kafka_scan.h"
#include "common/log.h"
#include "common/redis.h"

#include <stdlib.h>
#include <sys/param.h>

/* What takes longer is not waited for: requests see the fence by then. */
#define REBUILD_TIMEOUT_NS (5 * NS_PER_S)
/* A server that hangs may cost no more: the gate opens after 5 s. */
#define STEP_TIMEOUT_NS (1 * NS_PER_S)

struct suspect {
	int64_t coupon_id;
	int64_t in_kafka; /* the highest number of it that is unconsumed */
	bool rebuilding;
};

struct suspects {
	const struct restart_check *check;
	struct suspect *items;
	size_t n;
	struct error unasked; /* why PostgreSQL is not, any more; or none */
};

static int64_t
step_deadline_ns(const struct restart_check *check)
{
	return MIN(check->deadline_ns, clock_now_ns() + STEP_TIMEOUT_NS);
}

static int
note_message(void *arg, const rd_kafka_message_t *kafka, struct error *err)
{
	const struct suspects *suspects = arg;
	struct message message;
	bool identified;

	if (message_decode(kafka->payload, kafka->len, &message, &identified,
		    err) != MESSAGE_OK)
		return 0;
	for (size_t i = 0; i < suspects->n; i++) {
		struct suspect *suspect = &suspects->items[i];

		if (suspect->coupon_id == message.coupon_id)
			suspect->in_kafka = MAX(suspect->in_kafka, message.seq);
	}
	return 0;
}

static int
tick(void *arg, struct error *err)
{
	const struct suspects *suspects = arg;

	return suspects->check->tick(suspects->check->tick_arg, err);
}

/* Fills in_kafka of each. */
static int
read_kafka(const struct restart_check *check, struct suspects *suspects,
	struct error *err)
{
	const struct store_call call = { check->loader->pg,
		check->deadline_ns };
	const struct settings *settings = check->settings;
	struct kafka_scan_partition *partitions;
	struct rebuild_offsets offsets;
	size_t n;
	int rc = rebuild_store_offsets(&call, settings->kafka_group_id,
		settings->kafka_topic, &offsets, err);

	if (rc != 0)
		return rc;
	const struct kafka_scan scan = {
		.topic = settings->kafka_topic,
		.starts = offsets.items,
		.n_starts = offsets.n,
		.message = note_message,
		.tick = tick,
		.arg = suspects,
		.deadline_ns = check->deadline_ns,
	};

	rc = kafka_scan(settings, &scan, &partitions, &n, err);
	free(offsets.items);
	if (rc == 0)
		free(partitions);
	return rc;
}

/*
 * At once, and before the gate opens: the rebuild may have to wait for others
 * or for PostgreSQL, and meanwhile numbers that are taken would be given out.
 * Its own fence will be a higher one; a fence that nobody lifts is found.
 */
static int
fence(const struct restart_check *check, int64_t coupon_id, int64_t epoch,
	struct error *err)
{
	const struct rebuild_redis call = {
		.shards = check->loader->shards,
		.coupon_id = coupon_id,
		.deadline_ns = step_deadline_ns(check),
	};
	bool fenced; /* false: somebody else has fenced it higher */

	return rebuild_redis_fence(&call, epoch, &fenced, err);
}

struct known {
	int64_t highest; /* number of this event that was given out */
	int64_t total;   /* as PostgreSQL has it: Redis's may be old, too */
};

static int
ask_postgresql(const struct restart_check *check, int64_t coupon_id,
	struct known *ret, struct error *err)
{
	const struct store_call call = { check->loader->pg,
		step_deadline_ns(check) };
	struct coupon coupon;
	int rc = event_store_get_latest(&call, coupon_id, &coupon, err);

	if (rc != 0)
		return rc;
	ret->total = coupon.total;
	return rebuild_store_highest(&call, coupon_id, &ret->highest, err);
}

/* Without PostgreSQL: what is known without. */
static struct known
read_known(struct suspects *suspects, const struct suspect *suspect)
{
	const struct restart_check *check = suspects->check;
	int64_t seen = check->seen_highest(check->arg, suspect->coupon_id);
	struct known known = { 0 };
	struct error err;

	if (suspects->unasked.kind == ERROR_NONE) {
		int rc =
			ask_postgresql(check, suspect->coupon_id, &known, &err);

		/* Not found: it was deleted, and nobody is let in. */
		if (rc != 0 && rc != -ERROR_NOT_FOUND)
			suspects->unasked = err;
	}
	known.highest = MAX(known.highest, MAX(seen, suspect->in_kafka));
	return known;
}

static int
check_event(
	struct suspects *suspects, struct suspect *suspect, struct error *err)
{
	const struct restart_check *check = suspects->check;
	const int64_t coupon_id = suspect->coupon_id;
	const struct known known = read_known(suspects, suspect);
	struct event_figures figures;

	/* Redis last: what is accepted meanwhile is above what is known. */
	int rc = event_figures_read(check->loader, coupon_id,
		step_deadline_ns(check), &figures, err);
	if (rc != 0 || figures.event != EVENT_LIVE)
		return rc; /* missing or fenced: found elsewhere */
	/* A number above the total is nobody's; it says nothing of Redis. */
	if (figures.next > MIN(known.highest, MAX(known.total, figures.total)))
		return 0;
	LOG_WARN("Redis holds older numbers",
		LOG_INT("coupon", coupon_id), LOG_INT("next", figures.next),
		LOG_INT("known", known.highest));
	rc = fence(check, coupon_id, figures.epoch + 1, err);
	if (rc != 0)
		return rc;
	/* Too many wait already: the fence stays, and upkeep asks again. */
	suspect->rebuilding = rebuild_request(
		check->loader->rebuild, coupon_id, REBUILD_RESTARTED);
	return 0;
}

/* An event whose own keys are broken issues nothing, and holds up no other. */
static int
check_events(struct suspects *suspects, struct error *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < suspects->n; i++) {
		struct suspect *suspect = &suspects->items[i];

		if (suspect->rebuilding)
			continue;
		rc = tick(suspects, err);
		if (rc == 0)
			rc = check_event(suspects, suspect, err);
		if (rc != -ERROR_REDIS_ERROR || redis_refuses_all(err))
			continue;
		LOG_WARN("event not checked",
			LOG_INT("coupon", suspect->coupon_id), LOG_ERR(err));
		rc = 0;
	}
	if (rc != 0 || suspects->unasked.kind == ERROR_NONE)
		return rc;
	*err = suspects->unasked;
	return -(int)err->kind;
}

/*
 * Twice: Kafka may be away for longer than the gate stays closed, and what
 * PostgreSQL or this process know must be fenced by then.  After Kafka has
 * been read PostgreSQL is asked again, which has what was consumed meanwhile.
 */
static int
check_all(const struct restart_check *check, struct suspects *suspects,
	struct error *err)
{
	int rc = check_events(suspects, err);

	if (rc == 0)
		rc = read_kafka(check, suspects, err);
	if (rc == 0)
		rc = check_events(suspects, err);
	const int64_t until_ns =
		MIN(check->deadline_ns, clock_now_ns() + REBUILD_TIMEOUT_NS);
	for (size_t i = 0; rc == 0 && i < suspects->n; i++)
		if (suspects->items[i].rebuilding)
			(void)rebuild_await(check->loader->rebuild,
				suspects->items[i].coupon_id, until_ns);
	return rc;
}

int
restart_check_run(const struct restart_check *check, const int64_t *coupon_ids,
	size_t n, struct error *err)
{
	if (n == 0)
		return 0; /* also while Kafka cannot be asked */
	struct suspects suspects = { check, calloc(n, sizeof(struct suspect)),
		n, { 0 } };

	if (suspects.items == NULL)
		return error_set(
			err, ERROR_NO_MEMORY, "restart check: out of memory");
	for (size_t i = 0; i < n; i++)
		suspects.items[i].coupon_id = coupon_ids[i];
	int rc = check_all(check, &suspects, err);

	free(suspects.items);
	return rc;
}
