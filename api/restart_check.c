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

#include <stdlib.h>
#include <sys/param.h>

/* What takes longer is not waited for: requests see the fence by then. */
#define REBUILD_TIMEOUT_NS (5 * NS_PER_S)

struct suspect {
	int64_t coupon_id;
	int64_t in_kafka; /* the highest number of it that is unconsumed */
	bool rebuilding;
};

struct suspects {
	const struct restart_check *check;
	struct suspect *items;
	size_t n;
};

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
		.deadline_ns = check->deadline_ns,
	};
	bool fenced; /* false: somebody else has fenced it higher */

	return rebuild_redis_fence(&call, epoch, &fenced, err);
}

struct known {
	int64_t highest; /* number of this event that was given out */
	int64_t total;   /* as PostgreSQL has it: Redis's may be old, too */
};

/* Also after an error: what is known without PostgreSQL. */
static int
read_known(const struct restart_check *check, const struct suspect *suspect,
	struct known *ret, struct error *err)
{
	const struct store_call call = { check->loader->pg,
		check->deadline_ns };
	int64_t seen = check->seen_highest(check->arg, suspect->coupon_id);
	struct coupon coupon;
	int64_t in_database = 0;

	*ret = (struct known){ MAX(seen, suspect->in_kafka), 0 };
	int rc = event_store_get_latest(
		&call, suspect->coupon_id, &coupon, err);
	if (rc == 0)
		rc = rebuild_store_highest(
			&call, suspect->coupon_id, &in_database, err);
	if (rc == -ERROR_NOT_FOUND)
		return 0; /* it was deleted, and nobody is let in */
	if (rc != 0)
		return rc;
	*ret = (struct known){ MAX(ret->highest, in_database), coupon.total };
	return 0;
}

static int
check_event(const struct restart_check *check, struct suspect *suspect,
	struct error *err)
{
	const int64_t coupon_id = suspect->coupon_id;
	struct event_figures figures;
	struct known known;
	int known_rc = read_known(check, suspect, &known, err);

	/* Redis last: what is accepted meanwhile is above what is known. */
	int rc = event_figures_read(
		check->loader, coupon_id, check->deadline_ns, &figures, err);
	if (rc != 0)
		return rc;
	if (figures.event != EVENT_LIVE)
		return known_rc; /* missing or fenced: found elsewhere */
	/* A number above the total is nobody's; it says nothing of Redis. */
	if (figures.next >
		MIN(known.highest, MAX(known.total, figures.total)))
		return known_rc;
	LOG_WARN("Redis came back with older numbers",
		LOG_INT("coupon", coupon_id), LOG_INT("next", figures.next),
		LOG_INT("known", known.highest));
	rc = fence(check, coupon_id, figures.epoch + 1, err);
	if (rc != 0)
		return rc;
	if (!rebuild_request(
		    check->loader->rebuild, coupon_id, REBUILD_RESTARTED))
		return error_set(
			err, ERROR_BUSY, "too many events wait for a rebuild");
	suspect->rebuilding = true;
	return 0;
}

/* All of them, whatever one comes to; the first error. */
static int
check_events(const struct restart_check *check, struct suspects *suspects,
	struct error *err)
{
	struct error later;
	int first = 0;

	for (size_t i = 0; i < suspects->n; i++) {
		if (suspects->items[i].rebuilding)
			continue;
		int rc = check_event(check, &suspects->items[i],
			first == 0 ? err : &later);
		if (first == 0)
			first = rc;
	}
	return first;
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
	int rc = check_events(check, suspects, err);

	if (rc == 0)
		rc = read_kafka(check, suspects, err);
	if (rc == 0)
		rc = check_events(check, suspects, err);
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
		n };

	if (suspects.items == NULL)
		return error_set(
			err, ERROR_NO_MEMORY, "restart check: out of memory");
	for (size_t i = 0; i < n; i++)
		suspects.items[i].coupon_id = coupon_ids[i];
	int rc = check_all(check, &suspects, err);

	free(suspects.items);
	return rc;
}
