/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * A fence is acknowledged when nothing from before it can come to light here
 * any more: (1) Redis holds the fence, so every command that runs from now
 * on is refused; (2) every command sent before we saw that has its answer or
 * was dropped; (3) each message of the event that those answers produced has
 * its delivery report.  What remains is in Kafka or in Redis, where the
 * rebuild looks.
 */
#include "api/instance.h"

#include "api/producer.h"
#include "api/rebuild_store.h"
#include "api/scripts.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/redis.h"
#include "common/sync.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <string.h>

#define BEAT_EVERY_NS (1 * NS_PER_S)
#define LOOK_EVERY_NS (100 * NS_PER_MS)
#define CALL_TIMEOUT_NS (1 * NS_PER_S)

/* A fence on its way to being acknowledged. */
struct watched {
	struct instance_fence fence;
	int64_t seen_ns; /* when Redis was found fenced; 0: not yet */
};

struct instance {
	struct instance_config config;
	char id[REQUEST_ID_MAX + 1];
	pthread_t thread;
	struct mutex lock;
	struct cond changed; /* stopping was set */
	struct locked {      /* only through locked() */
		bool stopping;
	} locked_;
	/* Of the thread. */
	struct watched watched[INSTANCE_FENCES_MAX];
	size_t n_watched;
};

static struct locked *locked(struct instance *instance)
	REQUIRES(instance->lock);

static struct locked *
locked(struct instance *instance)
{
	return &instance->locked_;
}

static struct store_call
store_call(const struct instance *instance)
{
	return (struct store_call){ instance->config.pg,
		clock_now_ns() + CALL_TIMEOUT_NS };
}

/* Does Redis hold this fence, or a later one? */
static bool
is_fenced(const struct instance *instance, const struct instance_fence *fence)
{
	struct pool *pool =
		redis_shard_pool(instance->config.shards, fence->coupon_id);
	int64_t deadline_ns = clock_now_ns() + CALL_TIMEOUT_NS;
	char key[REDIS_KEY_SIZE];
	struct redisReply *reply;
	struct pool_entry *entry;
	struct error err;
	bool fenced = false;

	if (pool_acquire(pool, "fence", deadline_ns, &entry, &err) != 0)
		return false;
	redis_key(key, fence->coupon_id, "event");
	int rc = redis_callf(entry->resource, deadline_ns, &reply, &err,
		"HGET %s epoch", key);

	pool_release(pool, &entry, redis_verdict(rc));
	if (rc != 0)
		return false;
	if (reply->type == REDIS_REPLY_STRING)
		fenced = strtoll(reply->str, NULL, 10) >= fence->epoch;
	freeReplyObject(reply);
	return fenced;
}

static bool
is_quiet(const struct instance *instance, const struct watched *watched)
{
	const struct instance_config *config = &instance->config;

	return config->is_answered_since(config->arg, watched->seen_ns) &&
	       inflight_unreported(producer_inflight(config->producer),
		       watched->fence.coupon_id) == 0;
}

static struct watched *
find_watched(struct instance *instance, const struct instance_fence *fence)
{
	for (size_t i = 0; i < instance->n_watched; i++) {
		struct watched *w = &instance->watched[i];

		if (w->fence.coupon_id == fence->coupon_id &&
			w->fence.epoch == fence->epoch)
			return w;
	}
	return NULL;
}

/* Keep what is known of the fences that are still open; forget the others. */
static int
update_watched(struct instance *instance, struct error *err)
{
	const struct store_call call = store_call(instance);
	struct instance_fences open;
	struct watched next[INSTANCE_FENCES_MAX];
	int rc = instance_store_fences(&call, instance->id, &open, err);

	if (rc != 0)
		return rc;
	for (size_t i = 0; i < open.n; i++) {
		const struct watched *known =
			find_watched(instance, &open.items[i]);

		next[i] = known != NULL
				  ? *known
				  : (struct watched){ .fence = open.items[i] };
	}
	memcpy(instance->watched, next, open.n * sizeof(next[0]));
	instance->n_watched = open.n;
	return 0;
}

static int
acknowledge_fences(struct instance *instance, struct error *err)
{
	int rc = update_watched(instance, err);

	for (size_t i = 0; rc == 0 && i < instance->n_watched; i++) {
		struct watched *w = &instance->watched[i];
		const struct store_call call = store_call(instance);

		if (w->seen_ns == 0 && is_fenced(instance, &w->fence))
			w->seen_ns = clock_now_ns();
		if (w->seen_ns != 0 && is_quiet(instance, w))
			rc = instance_store_ack(
				&call, instance->id, &w->fence, err);
	}
	return rc;
}

/* False once the instance is to stop. */
static bool
pause_until(struct instance *instance, int64_t deadline_ns)
{
	bool in_time = true;

	mutex_lock(&instance->lock);
	while (!locked(instance)->stopping && in_time)
		in_time = cond_wait_until(
			&instance->changed, &instance->lock, deadline_ns);
	bool stopping = locked(instance)->stopping;

	mutex_unlock(&instance->lock);
	return !stopping;
}

static void *
instance_main(void *arg)
{
	struct instance *instance = arg;
	int64_t next_beat_ns = 0;
	bool complained = false;
	bool alive = false; /* the last heartbeat is in PostgreSQL */
	struct error err;

	thread_set_name("instance");
	do {
		const struct store_call call = store_call(instance);
		int rc = 0;

		if (clock_now_ns() >= next_beat_ns) {
			rc = instance_store_beat(&call, instance->id, &err);
			alive = rc == 0;
			next_beat_ns = clock_now_ns() + BEAT_EVERY_NS;
		}
		/* Only who is counted has to answer, and may. */
		if (alive)
			rc = acknowledge_fences(instance, &err);
		if (rc != 0 && !complained)
			LOG_WARN("heartbeat failed, trying again",
				LOG_ERR(&err));
		complained = rc != 0 || !alive;
	} while (pause_until(instance, clock_now_ns() + LOOK_EVERY_NS));

	const struct store_call call = store_call(instance);

	/* Without it a rebuild waits INSTANCE_ALIVE_S for our word. */
	if (instance_store_leave(&call, instance->id, &err) != 0)
		LOG_WARN("could not say good-bye, going on", LOG_ERR(&err));
	return NULL;
}

struct instance *
instance_start(const struct instance_config *config)
{
	struct instance *instance = calloc(1, sizeof(*instance));

	if (instance == NULL)
		abort();
	instance->config = *config;
	request_id_generate(instance->id);
	mutex_init(&instance->lock);
	cond_init(&instance->changed);
	sync_must(pthread_create(
		&instance->thread, NULL, instance_main, instance));
	return instance;
}

void
instance_stop(struct instance *instance)
{
	if (instance == NULL)
		return;
	mutex_lock(&instance->lock);
	locked(instance)->stopping = true;
	cond_signal(&instance->changed);
	mutex_unlock(&instance->lock);
	sync_must(pthread_join(instance->thread, NULL));
	cond_fini(&instance->changed);
	mutex_fini(&instance->lock);
	free(instance);
}

const char *
instance_id(const struct instance *instance)
{
	return instance->id;
}
