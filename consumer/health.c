/* SPDX-License-Identifier: MIT */
#include "consumer/health.h"

#include "common/actuator.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/pool.h"
#include "common/pool_admin.h"
#include "common/redis.h"
#include "consumer/group.h"

#include <jansson.h>

static void
set_count(json_t *details, const char *key, int64_t value)
{
	(void)json_object_set_new(details, key, json_integer(value));
}

static enum health
pool_health(struct pool *pool, json_t *details)
{
	struct pool_snapshot snapshot;

	pool_snapshot(pool, &snapshot);
	set_count(details, "active", (int64_t)snapshot.active);
	set_count(details, "idle", (int64_t)snapshot.idle);
	if (snapshot.failing) {
		(void)json_object_set_new(
			details, "error", json_string(snapshot.last_error.msg));
		return HEALTH_DOWN;
	}
	return pool_has_connected(pool) ? HEALTH_UP : HEALTH_UNKNOWN;
}

static enum health
db(void *arg, json_t *details)
{
	struct consumer_health *health = arg;

	(void)json_object_set_new(
		details, "database", json_string("PostgreSQL"));
	return pool_health(health->pg, details);
}

/* Asked about unknown events only, so often never connected to. */
static enum health
redis(void *arg, json_t *details)
{
	struct consumer_health *health = arg;
	struct redis_server_info info;

	redis_server_info(health->redis, 0, &info);
	(void)json_object_set_new(
		details, "version", json_string(info.version));
	return pool_health(redis_shards_pool_at(health->redis, 0), details);
}

static enum health
kafka(void *arg, json_t *details)
{
	struct consumer_health *health = arg;
	struct group_status status;

	group_status(health->group, &status);
	set_count(details, "brokersUp",
		status.brokers_up > 0 ? status.brokers_up : 0);
	if (status.missing_topic != NULL)
		(void)json_object_set_new(details, "error",
			json_sprintf("topic %s does not exist",
				status.missing_topic));
	if (status.fatal || status.brokers_up == 0 ||
		status.missing_topic != NULL)
		return HEALTH_DOWN;
	return status.brokers_up > 0 ? HEALTH_UP : HEALTH_UNKNOWN;
}

/* Depends on no other server: do our threads turn? */
static enum health
liveness(void *arg, json_t *details)
{
	struct consumer_health *health = arg;
	int64_t watchdog_ns = atomic_load(&health->watchdog_ns);
	struct group_status status;

	group_status(health->group, &status);
	set_count(details, "hungPartitions", (int64_t)status.hung);
	if (status.hung > 0 || status.fatal || status.unpolled_ns > watchdog_ns)
		return HEALTH_DOWN;
	return HEALTH_UP;
}

static enum health
readiness(void *arg, json_t *details)
{
	struct consumer_health *health = arg;
	struct group_status status;
	size_t partitions = 0;

	group_status(health->group, &status);
	for (size_t i = 0; i < PARTITION_STATES; i++)
		partitions += status.states[i];
	set_count(details, "partitions", (int64_t)partitions);
	if (atomic_load(&health->draining) || !status.assigned)
		return HEALTH_OUT_OF_SERVICE;
	return HEALTH_UP;
}

void
consumer_health_init(struct consumer_health *health, struct group *group,
	struct pool *pg, struct redis_shards *shards,
	const struct settings *settings)
{
	health->group = group;
	health->pg = pg;
	health->redis = shards;
	consumer_health_configure(health, settings);
}

void
consumer_health_configure(
	struct consumer_health *health, const struct settings *settings)
{
	atomic_store(
		&health->watchdog_ns, settings->consumer_watchdog_timeout_ns);
}

void
consumer_health_register(
	struct consumer_health *health, struct actuator *actuator)
{
	actuator_health(actuator, "db", db, health);
	actuator_health(actuator, "redis", redis, health);
	actuator_health(actuator, "kafka", kafka, health);
	actuator_liveness(actuator, liveness, health);
	actuator_readiness(actuator, readiness, health);
}

void
consumer_health_drain(struct consumer_health *health)
{
	atomic_store(&health->draining, true);
}
