/* SPDX-License-Identifier: MIT */
/*
 * The pool of Redis connections: common/pool.c does the work, this file knows
 * how to open, check and close, and what the servers said of themselves.
 *
 * One shard today.  Whoever uses it asks for the shard of a key all the same,
 * so that Redis Cluster becomes a second implementation of this file.
 */
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pool_admin.h"
#include "common/pool_metrics.h"
#include "common/redis.h"
#include "common/redis_conn.h"
#include "common/sync.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Connects at a time: a restart of Redis is met by no storm. */
enum { MAX_OPENING = 4 };

/* A restarted server is trusted after this long, whoever has not looked. */
#define DOUBT_NS (5 * NS_PER_S)

/* clang-format off */
static const struct metric_family unsafe METRIC_FAMILY = {
	.name = "redis.server.unsafe", .kind = METRIC_GAUGE,
	.description = "1 while the Redis server could forget or evict what "
		"was accepted, by its configuration.",
	.tags = "reason",
};
static const struct metric_family restarts METRIC_FAMILY = {
	.name = "redis.server.restarts", .kind = METRIC_COUNTER,
	.description = "Changes of the Redis server's run id seen.",
};
/* clang-format on */

struct redis_shards {
	char *host, *password;
	struct redis_target target;      /* borrows host */
	_Atomic int64_t user_timeout_ns; /* in place of the target's: live */
	struct redis_script *scripts;
	size_t n_scripts;
	struct metrics *metrics;
	struct pool_metrics *pool_metrics;
	struct pool *pool;
	_Atomic int64_t in_doubt_until_ns; /* written with lock */
	struct mutex lock;
	struct shards_locked { /* only through locked() */
		bool doubts_first;
		struct redis_server_info info;
	} locked_;
};

static struct shards_locked *locked(struct redis_shards *shards)
	REQUIRES(shards->lock);

static struct shards_locked *
locked(struct redis_shards *shards)
{
	return &shards->locked_;
}

/*
 * The first to load a script learns its SHA-1.  Readers need no lock: they
 * hold a connection, and opening that one went through here.
 */
static void
learn_sha1(void *ctx, size_t i, const char *sha1)
{
	struct redis_shards *shards = ctx;
	struct redis_script *script = &shards->scripts[i];

	mutex_lock(&shards->lock);
	if (script->sha1[0] == '\0')
		memcpy(script->sha1, sha1, sizeof(script->sha1));
	mutex_unlock(&shards->lock);
}

static struct redis_server_info
learn_facts(struct redis_shards *shards, const struct redis_facts *facts)
{
	mutex_lock(&shards->lock);
	struct redis_server_info *info = &locked(shards)->info;
	const struct redis_server_info before = *info;

	bool restarted = before.connected_once &&
			 strcmp(before.run_id, facts->run_id) != 0;
	bool met = !before.connected_once && locked(shards)->doubts_first;

	info->generation += restarted;
	if (restarted || met)
		atomic_store(
			&shards->in_doubt_until_ns, clock_now_ns() + DOUBT_NS);
	info->connected_once = true;
	memcpy(info->version, facts->version, sizeof(info->version));
	memcpy(info->run_id, facts->run_id, sizeof(info->run_id));
	info->could_forget = facts->could_forget;
	info->could_evict = facts->could_evict;
	mutex_unlock(&shards->lock);
	return before;
}

/* The opener thread is the boundary: a change is said once, here. */
static void
log_changes(
	const struct redis_server_info *before, const struct redis_facts *now)
{
	if (!before->connected_once)
		LOG_INFO("redis connected", LOG_STR("version", now->version),
			LOG_STR("run-id", now->run_id));
	else if (strcmp(before->run_id, now->run_id) != 0)
		LOG_WARN("redis was restarted", LOG_STR("run-id", now->run_id),
			LOG_STR("before", before->run_id));
	if (now->could_forget && !before->could_forget)
		LOG_WARN("redis could forget accepted requests",
			LOG_STR("wanted",
				"appendonly yes, appendfsync always"));
	if (now->could_evict && !before->could_evict)
		LOG_WARN("redis could evict accepted requests",
			LOG_STR("wanted", "maxmemory-policy noeviction"));
}

static int
open_conn(void *ctx, int64_t deadline_ns, void **ret, struct error *err)
{
	struct redis_shards *shards = ctx;
	const struct redis_setup setup = {
		.password = shards->password,
		.scripts = shards->scripts,
		.n_scripts = shards->n_scripts,
		.loaded = learn_sha1,
		.ctx = shards,
	};
	struct redis_target target = shards->target;
	struct redis_conn *conn = NULL;
	struct redis_facts facts = { 0 };

	target.user_timeout_ns = atomic_load(&shards->user_timeout_ns);
	int rc = redis_conn_open(&target, deadline_ns, &conn, err);

	if (rc == 0)
		rc = redis_conn_setup(conn, &setup, deadline_ns, &facts, err);
	if (rc < 0) {
		redis_conn_close(conn);
		return rc;
	}

	const struct redis_server_info before = learn_facts(shards, &facts);

	log_changes(&before, &facts);
	*ret = conn;
	return 0;
}

static void
close_conn(void *ctx UNUSED, void *resource)
{
	redis_conn_close(resource);
}

static int
check_conn(void *ctx UNUSED, void *resource, int64_t deadline_ns,
	struct error *err)
{
	struct redisReply *reply = NULL;
	int rc = redis_callf(resource, deadline_ns, &reply, err, "PING");

	if (rc == 0)
		freeReplyObject(reply);
	return rc;
}

static const struct pool_methods methods = {
	.open = open_conn,
	.close = close_conn,
	.check = check_conn,
};

static size_t
least(int64_t a, size_t b)
{
	return (size_t)a < b ? (size_t)a : b;
}

static struct pool_config
to_pool_config(const struct settings *s)
{
	const size_t max_active = (size_t)s->redis_pool_max_active;
	const size_t max_idle = least(s->redis_pool_max_idle, max_active);

	return (struct pool_config){
		.name = "redis",
		.max_active = max_active,
		.max_idle = max_idle,
		.min_idle = least(s->redis_pool_min_idle, max_idle),
		.max_waiters = (size_t)s->redis_pool_max_waiters,
		.max_opening = MAX_OPENING,
		.max_wait_ns = s->redis_pool_max_wait_ns,
		.connect_timeout_ns = s->redis_timeout_ns,
		.validation_timeout_ns = s->redis_timeout_ns,
		.max_lifetime_ns = s->redis_pool_max_lifetime_ns,
		.idle_timeout_ns = s->redis_pool_idle_timeout_ns,
		.keepalive_ns = s->redis_pool_keepalive_time_ns,
		.leak_threshold_ns = s->redis_pool_leak_detection_threshold_ns,
	};
}

static void
collect(void *arg, struct metrics_sink *sink)
{
	struct redis_server_info info;

	redis_server_info(arg, 0, &info);
	metrics_emit(sink, &unsafe, METRIC_TAGS({ "reason", "could-forget" }),
		info.could_forget);
	metrics_emit(sink, &unsafe, METRIC_TAGS({ "reason", "could-evict" }),
		info.could_evict);
	metrics_emit(sink, &restarts, METRIC_NO_TAGS, (double)info.generation);
}

static char *
must_copy(const char *text)
{
	char *copy = strdup(text != NULL ? text : "");

	if (copy == NULL)
		abort(); /* at start-up */
	return copy;
}

struct redis_shards *
redis_shards_new(const struct settings *settings, struct redis_script *scripts,
	size_t n_scripts, struct metrics *metrics)
{
	struct redis_shards *shards = calloc(1, sizeof(*shards));
	const struct pool_config config = to_pool_config(settings);

	if (shards == NULL)
		abort(); /* at start-up */
	shards->host = must_copy(settings->redis_host);
	shards->password = must_copy(settings->redis_password);
	shards->target = (struct redis_target){
		.host = shards->host,
		.port = (int)settings->redis_port,
	};
	atomic_init(&shards->user_timeout_ns, settings->redis_timeout_ns);
	shards->scripts = scripts;
	shards->n_scripts = n_scripts;
	shards->metrics = metrics;
	mutex_init(&shards->lock);
	shards->pool_metrics =
		pool_metrics_new(metrics, POOL_METRICS_REDIS, "redis");
	shards->pool = pool_new(&config, &methods, shards,
		pool_metrics_observer(shards->pool_metrics));
	pool_metrics_attach(shards->pool_metrics, shards->pool);
	metrics_collector(metrics, collect, shards);
	return shards;
}

void
redis_shards_free(struct redis_shards *shards)
{
	if (shards == NULL)
		return;
	metrics_collector_remove(shards->metrics, collect, shards);
	pool_metrics_detach(shards->pool_metrics);
	pool_free(shards->pool);
	pool_metrics_free(shards->pool_metrics);
	mutex_fini(&shards->lock);
	free(shards->host);
	free(shards->password);
	free(shards);
}

bool
redis_shards_drain(struct redis_shards *shards, int64_t deadline_ns)
{
	return pool_drain(shards->pool, deadline_ns);
}

void
redis_shards_configure(
	struct redis_shards *shards, const struct settings *settings)
{
	const struct pool_config config = to_pool_config(settings);

	atomic_store(&shards->user_timeout_ns, settings->redis_timeout_ns);
	pool_configure(shards->pool, &config);
}

struct pool *
redis_shard_pool(struct redis_shards *shards, int64_t coupon_id UNUSED)
{
	return shards->pool;
}

struct redis_script *
redis_shards_scripts(struct redis_shards *shards, size_t *ret_count)
{
	*ret_count = shards->n_scripts;
	return shards->scripts;
}

size_t
redis_shards_count(const struct redis_shards *shards UNUSED)
{
	return 1;
}

struct pool *
redis_shards_pool_at(struct redis_shards *shards, size_t i)
{
	assert(i < redis_shards_count(shards));
	return shards->pool;
}

void
redis_server_info(struct redis_shards *shards, size_t shard,
	struct redis_server_info *ret)
{
	assert(shard < redis_shards_count(shards));
	mutex_lock(&shards->lock);
	*ret = locked(shards)->info;
	mutex_unlock(&shards->lock);
}

void
redis_shards_doubt(struct redis_shards *shards)
{
	mutex_lock(&shards->lock);
	locked(shards)->doubts_first = true;
	if (locked(shards)->info.connected_once) /* it was quick */
		atomic_store(
			&shards->in_doubt_until_ns, clock_now_ns() + DOUBT_NS);
	mutex_unlock(&shards->lock);
}

bool
redis_shard_is_in_doubt(
	const struct redis_shards *shards, size_t shard, int64_t now_ns)
{
	assert(shard < redis_shards_count(shards));
	return now_ns < atomic_load(&shards->in_doubt_until_ns);
}

void
redis_shard_trust(
	struct redis_shards *shards, size_t shard, uint64_t generation)
{
	assert(shard < redis_shards_count(shards));
	mutex_lock(&shards->lock);
	if (locked(shards)->info.generation == generation)
		atomic_store(&shards->in_doubt_until_ns, 0);
	mutex_unlock(&shards->lock);
}
