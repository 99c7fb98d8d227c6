/* SPDX-License-Identifier: MIT */
#include "api/api_health.h"

#include "api/api.h"
#include "api/levers.h"
#include "api/producer.h"
#include "common/actuator.h"
#include "common/clock.h"
#include "common/http.h"
#include "common/migration.h"
#include "common/pg.h"
#include "common/pool_admin.h"
#include "common/redis.h"

#include <jansson.h>

/* A loop that has not turned for this long will not turn again. */
#define STALLED_NS (10 * NS_PER_S)

static enum health
pool_health(struct pool *pool, json_t *details)
{
	struct pool_snapshot snapshot;

	pool_snapshot(pool, &snapshot);
	(void)json_object_set_new(
		details, "active", json_integer((json_int_t)snapshot.active));
	(void)json_object_set_new(
		details, "idle", json_integer((json_int_t)snapshot.idle));
	(void)json_object_set_new(
		details, "waiting", json_integer((json_int_t)snapshot.waiting));
	if (snapshot.failing)
		(void)json_object_set_new(
			details, "error", json_string(snapshot.last_error.msg));
	if (snapshot.failing)
		return HEALTH_DOWN;
	return pool_has_connected(pool) ? HEALTH_UP : HEALTH_UNKNOWN;
}

static enum health
redis_health(void *arg, json_t *details)
{
	struct api *api = arg;
	struct redis_server_info info;

	redis_server_info(api->shards, 0, &info);
	(void)json_object_set_new(
		details, "version", json_string(info.version));
	(void)json_object_set_new(
		details, "couldForget", json_boolean(info.could_forget));
	(void)json_object_set_new(
		details, "couldEvict", json_boolean(info.could_evict));
	return pool_health(redis_shards_pool_at(api->shards, 0), details);
}

static enum health
db_health(void *arg, json_t *details)
{
	struct api *api = arg;

	(void)json_object_set_new(
		details, "database", json_string("PostgreSQL"));
	return pool_health(pg_write_pool(api->pg), details);
}

static enum health
kafka_health(void *arg, json_t *details)
{
	struct api *api = arg;
	const char *missing = producer_missing_topic(api->producer);

	if (missing != NULL)
		(void)json_object_set_new(details, "error",
			json_sprintf("topic %s does not exist", missing));
	if (!producer_was_asked(api->producer))
		return HEALTH_UNKNOWN;
	return producer_is_connected(api->producer) && missing == NULL
		       ? HEALTH_UP
		       : HEALTH_DOWN;
}

static enum health
liveness(void *arg, json_t *details)
{
	struct api *api = arg;
	struct http_server *server = atomic_load(&api->server);
	/* NULL: its threads are just being started. */
	int64_t stalled_ns =
		server != NULL ? http_server_stalled_ns(server) : 0;

	(void)json_object_set_new(details, "stalledMs",
		json_integer((json_int_t)(stalled_ns / NS_PER_MS)));
	return stalled_ns < STALLED_NS ? HEALTH_UP : HEALTH_DOWN;
}

static enum health
readiness(void *arg, json_t *details)
{
	struct api *api = arg;

	if (atomic_load(&api->draining)) {
		(void)json_object_set_new(
			details, "reason", json_string("draining"));
		return HEALTH_OUT_OF_SERVICE;
	}
	if (!pool_has_connected(redis_shards_pool_at(api->shards, 0))) {
		(void)json_object_set_new(details, "reason",
			json_string("no connection to Redis yet"));
		return HEALTH_OUT_OF_SERVICE;
	}
	if (!migration_was_tried(api->migration)) {
		(void)json_object_set_new(details, "reason",
			json_string("the schema is being applied"));
		return HEALTH_OUT_OF_SERVICE;
	}
	if (!atomic_load(&api->was_trusted) &&
		redis_shard_is_in_doubt(api->shards, 0, clock_now_ns())) {
		(void)json_object_set_new(details, "reason",
			json_string("what Redis holds is being checked"));
		return HEALTH_OUT_OF_SERVICE;
	}
	atomic_store(&api->was_trusted, true);
	return HEALTH_UP;
}

void
api_health_register(struct api *api)
{
	actuator_health(api->actuator, "redis", redis_health, api);
	actuator_health(api->actuator, "db", db_health, api);
	actuator_health(api->actuator, "kafka", kafka_health, api);
	actuator_health(
		api->actuator, "circuitBreakers", levers_breaker_health, api);
	actuator_liveness(api->actuator, liveness, api);
	actuator_readiness(api->actuator, readiness, api);
}
