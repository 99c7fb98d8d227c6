/* SPDX-License-Identifier: MIT */
/*
 * levers_tasks - the api's background threads and pools, as the actuator
 * shows them.
 */
#include "api/api.h"
#include "api/levers.h"
#include "api/rebuild.h"
#include "api/reconcile.h"
#include "api/reconcile_report.h"
#include "api/relay.h"
#include "api/upkeep.h"
#include "common/actuator.h"
#include "common/clock.h"
#include "common/pg.h"
#include "common/redis.h"

#include <jansson.h>

static void
set_count(json_t *details, const char *key, uint64_t count)
{
	(void)json_object_set_new(
		details, key, json_integer((json_int_t)count));
}

static void
relay_task(void *arg, struct actuator_task *ret, json_t *details)
{
	struct api *api = arg;
	struct relay_status status;

	relay_status(api->relay, &status);
	ret->interval_ns = status.interval_ns;
	ret->last_age_ns = status.last_pass_age_ns;
	ret->last_took_ns = status.last_pass_took_ns;
	(void)snprintf(ret->error, sizeof(ret->error), "%s", status.error);
	set_count(details, "events", status.events);
	set_count(details, "sent", status.sent);
	set_count(details, "inFlight", status.skipped);
	set_count(details, "removed", status.removed);
}

static void
upkeep_task(void *arg, struct actuator_task *ret, json_t *details)
{
	struct api *api = arg;
	struct upkeep_status status;

	upkeep_status(api->upkeep, &status);
	ret->interval_ns = status.interval_ns;
	ret->last_age_ns = status.last_pass_age_ns;
	ret->last_took_ns = status.last_pass_took_ns;
	(void)snprintf(ret->error, sizeof(ret->error), "%s", status.error);
	(void)json_object_set_new(
		details, "migrated", json_boolean(status.migrated));
	(void)json_object_set_new(details, "outboxPending",
		json_integer((json_int_t)status.pending));
	(void)json_object_set_new(details, "outboxOldestMs",
		json_integer((json_int_t)status.oldest_ms));
}

/* Runs when there is cause; the error is shown until one goes well. */
static void
rebuild_task(void *arg, struct actuator_task *ret, json_t *details)
{
	struct api *api = arg;
	struct rebuild_status status;

	rebuild_status(api->rebuild, &status);
	ret->last_age_ns = status.last_age_ns;
	if (status.error_age_ns >= 0 && status.error_age_ns / NS_PER_MS <=
						status.last_age_ns / NS_PER_MS)
		(void)snprintf(
			ret->error, sizeof(ret->error), "%s", status.error);
	set_count(details, "waiting", status.waiting);
	set_count(details, "done", status.done);
	set_count(details, "failed", status.failed);
	(void)json_object_set_new(details, "runningCoupon",
		status.running != 0 ? json_integer((json_int_t)status.running)
				    : json_null());
}

/* One api does it for all. */
static void
reconcile_task(void *arg, struct actuator_task *ret, json_t *details)
{
	struct api *api = arg;
	struct reconcile_status status;

	reconcile_status(api->reconcile, &status);
	ret->interval_ns = status.interval_ns;
	ret->last_age_ns = status.last_pass_age_ns;
	ret->last_took_ns = status.last_pass_took_ns;
	(void)snprintf(ret->error, sizeof(ret->error), "%s", status.error);
	(void)json_object_set_new(details, "mine", json_boolean(status.mine));
	set_count(details, "violations", status.violations);
	set_count(details, "restored", status.restored);
}

void
levers_register(struct api *api)
{
	actuator_pool(
		api->actuator, "redis", redis_shards_pool_at(api->shards, 0));
	actuator_pool(api->actuator, "postgres", pg_write_pool(api->pg));
	if (pg_pools_has_replica(api->pg))
		actuator_pool(
			api->actuator, "postgres-read", pg_read_pool(api->pg));
	actuator_task(api->actuator, "relay", relay_task, api);
	actuator_task(api->actuator, "upkeep", upkeep_task, api);
	actuator_task(api->actuator, "rebuild", rebuild_task, api);
	actuator_task(api->actuator, "reconcile", reconcile_task, api);
}
