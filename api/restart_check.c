/* SPDX-License-Identifier: MIT */
#include "api/restart_check.h"

#include "api/event_loader.h"
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

static int
check_event(const struct restart_check *check, struct suspect *suspect,
	struct error *err)
{
	const int64_t coupon_id = suspect->coupon_id;
	const struct store_call call = { check->loader->pg,
		check->deadline_ns };
	struct event_figures figures;
	int64_t in_database = 0;
	int64_t seen = check->seen_highest(check->arg, coupon_id);
	int rc = rebuild_store_highest(&call, coupon_id, &in_database, err);

	if (rc != 0)
		return rc;
	/* Redis last: what is accepted meanwhile is above what is known. */
	rc = event_figures_read(
		check->loader, coupon_id, check->deadline_ns, &figures, err);
	if (rc != 0 || figures.event != EVENT_LIVE)
		return rc; /* what is missing or fenced is found elsewhere */
	int64_t known = MAX(MAX(in_database, suspect->in_kafka), seen);

	/* A number above the total is nobody's; it says nothing of Redis. */
	if (figures.next > MIN(known, figures.total))
		return 0;
	LOG_WARN("Redis came back with older numbers",
		LOG_INT("coupon", coupon_id), LOG_INT("next", figures.next),
		LOG_INT("known", known));
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

static int
check_all(const struct restart_check *check, struct suspects *suspects,
	struct error *err)
{
	const int64_t until_ns =
		MIN(check->deadline_ns, clock_now_ns() + REBUILD_TIMEOUT_NS);
	int rc = read_kafka(check, suspects, err);

	for (size_t i = 0; rc == 0 && i < suspects->n; i++)
		rc = check_event(check, &suspects->items[i], err);
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
	struct suspects suspects = { calloc(n, sizeof(struct suspect)), n };

	if (suspects.items == NULL)
		return error_set(
			err, ERROR_NO_MEMORY, "restart check: out of memory");
	for (size_t i = 0; i < n; i++)
		suspects.items[i].coupon_id = coupon_ids[i];
	int rc = check_all(check, &suspects, err);

	free(suspects.items);
	return rc;
}
