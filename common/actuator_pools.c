/* SPDX-License-Identifier: MIT */
/*
 * actuator_pools - /actuator/pools: who holds the connections, who waits, and
 * suspend, resume, evict.
 */
#include "common/actuator_internal.h"
#include "common/audit.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/pool_admin.h"

#include <assert.h>
#include <jansson.h>

/* Of those who hold or wait, the first so many are named. */
#define NAMED_MAX 100

void
actuator_pool(struct actuator *actuator, const char *name, struct pool *pool)
{
	assert(actuator->n_pools < ACTUATOR_POOLS_MAX);
	actuator->pools[actuator->n_pools++] =
		(struct actuator_named_pool){ name, pool };
}

/* ---- reading ---- */

static json_t *
count_json(size_t count)
{
	return json_integer((json_int_t)count);
}

static json_t *
ms_json(int64_t ns)
{
	return json_integer((json_int_t)(ns / NS_PER_MS));
}

static json_t *
duration_json(int64_t ns)
{
	char text[32];

	clock_format_duration(ns, text, sizeof(text));
	return json_string(text);
}

static const char *
state_name(const struct pool_snapshot *snapshot)
{
	if (snapshot->suspended)
		return "SUSPENDED";
	return snapshot->failing ? "FAILING" : "RUNNING";
}

static json_t *
last_error_json(const struct pool_snapshot *snapshot)
{
	const struct error *err = &snapshot->last_error;

	if (snapshot->last_error_age_ns < 0)
		return json_null();
	return json_pack("{s:s, s:s, s:o}", "message", err->msg, "reason",
		error_name(err->kind), "ageMs",
		ms_json(snapshot->last_error_age_ns));
}

/* `ms` is "heldMs" or "waitedMs". */
static json_t *
people_json(const struct pool_holder *people, size_t n, const char *ms)
{
	json_t *json = json_array();

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(json,
			json_pack("{s:s, s:o}", "holder", people[i].holder, ms,
				ms_json(people[i].held_ns)));
	return json;
}

/* By the names of the settings. */
static json_t *
config_json(struct pool *pool)
{
	struct pool_config config;

	pool_config_get(pool, &config);
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
		"max-active", count_json(config.max_active), "max-idle",
		count_json(config.max_idle), "min-idle",
		count_json(config.min_idle), "max-waiters",
		count_json(config.max_waiters), "max-wait",
		duration_json(config.max_wait_ns), "connect-timeout",
		duration_json(config.connect_timeout_ns), "max-lifetime",
		duration_json(config.max_lifetime_ns), "idle-timeout",
		duration_json(config.idle_timeout_ns), "keepalive-time",
		duration_json(config.keepalive_ns), "leak-detection-threshold",
		duration_json(config.leak_threshold_ns));
}

static json_t *
counters_json(const struct pool_snapshot *s)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
			 "s:o, s:o, s:o, s:o}",
		"state", state_name(s), "total", count_json(s->total), "active",
		count_json(s->active), "idle", count_json(s->idle), "opening",
		count_json(s->opening), "waiting", count_json(s->waiting),
		"max", count_json(s->max), "min", count_json(s->min),
		"oldestWaitMs", ms_json(s->oldest_wait_ns), "timeouts",
		count_json(s->timeouts), "opened", count_json(s->opened),
		"openFailed", count_json(s->open_failed), "closed",
		count_json(s->closed), "lastError", last_error_json(s));
}

static json_t *
pool_json(struct pool *pool)
{
	struct pool_holder people[NAMED_MAX];
	struct pool_snapshot snapshot;

	pool_snapshot(pool, &snapshot);
	json_t *json = counters_json(&snapshot);
	size_t n = pool_holders(pool, people, NAMED_MAX);
	(void)json_object_set_new(
		json, "holders", people_json(people, n, "heldMs"));
	n = pool_waiters(pool, people, NAMED_MAX);
	(void)json_object_set_new(
		json, "waiters", people_json(people, n, "waitedMs"));
	(void)json_object_set_new(json, "config", config_json(pool));
	return json;
}

void
actuator_get_pools(struct http_request *req)
{
	const struct actuator *actuator = actuator_of(req);
	json_t *pools = json_object();

	for (size_t i = 0; i < actuator->n_pools; i++)
		(void)json_object_set_new(pools, actuator->pools[i].name,
			pool_json(actuator->pools[i].pool));
	actuator_reply(req, 200, json_pack("{s:o}", "pools", pools));
}

static struct pool *
find_pool(const struct http_request *req)
{
	const struct actuator *actuator = actuator_of(req);
	const char *name = http_request_path_param(req, "name");

	for (size_t i = 0; i < actuator->n_pools; i++) {
		if (strcmp(actuator->pools[i].name, name) == 0)
			return actuator->pools[i].pool;
	}
	return NULL;
}

void
actuator_get_pool(struct http_request *req)
{
	struct pool *pool = find_pool(req);

	if (pool != NULL)
		actuator_reply(req, 200, pool_json(pool));
	else
		actuator_reply_empty(req, 404);
}

/* ---- acting ---- */

static void
evict(struct pool *pool)
{
	pool_evict_all(pool, "by an operator");
}

static const struct {
	const char *name;
	void (*act)(struct pool *pool);
} actions[] = {
	{ "suspend", pool_suspend },
	{ "resume", pool_resume },
	{ "evict", evict },
};

void
actuator_post_pool(struct http_request *req)
{
	const char *action = http_request_path_param(req, "action");
	struct pool *pool = find_pool(req);

	for (size_t i = 0; pool != NULL && i < ARRAY_SIZE(actions); i++) {
		if (strcmp(actions[i].name, action) != 0)
			continue;
		actions[i].act(pool);
		audit_request(req, actions[i].name,
			http_request_path_param(req, "name"), "done");
		actuator_reply(req, 200, pool_json(pool));
		return;
	}
	actuator_reply_empty(req, 404);
}
