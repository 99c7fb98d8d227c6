/* SPDX-License-Identifier: MIT */
#include "api/upkeep.h"

#include "api/event_errors.h"
#include "api/event_loader.h"
#include "api/event_store.h"
#include "api/event_watch.h"
#include "api/rebuild.h"
#include "api/rebuild_store.h"
#include "api/restart_check.h"
#include "api/role.h"
#include "api/scripts.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/migration.h"
#include "common/redis.h"
#include "common/sync.h"

#include <inttypes.h>

/* A restarted Redis is closed to requests until it has been looked at. */
#define TICK_NS (200 * NS_PER_MS)
/* A new process gives out nothing before: then, the look does not wait. */
#define FIRST_TICK_NS (10 * NS_PER_MS)
#define LOOK_EVERY_NS (1 * NS_PER_S)
#define PUBLISH_EVERY_NS (5 * NS_PER_S)
#define PAST_EVERY_NS (60 * NS_PER_S)
#define STEP_TIMEOUT_NS (5 * NS_PER_S)
#define CHECK_TIMEOUT_NS (30 * NS_PER_S)
/* Rows that each query of an event may count: a tenth of a millisecond. */
#define UNCOUNTED_MAX 1000

struct upkeep {
	struct upkeep_config config;
	pthread_t thread;
	struct event_watch *events;
	struct mutex lock;
	struct cond changed; /* with lock: stopping */
	struct locked {      /* only through locked() */
		bool stopping;
		struct upkeep_status status;
		int64_t passed_at_ns; /* 0: never */
	} locked_;
	/* The thread's. */
	struct role role;
	char error[360];         /* of this pass so far; "": none */
	char publish_error[360]; /* of the last time it came to that */
	char check_error[360];   /* the same, of what Redis holds */
	bool migrated;
	int64_t next_publish_ns;
	int64_t next_past_ns;
	bool looks_at_past; /* in this pass: there may be thousands of them */
	int64_t next_look_ns;
	int64_t next_check_ns; /* after one that failed */
	bool checked;          /* every shard, once */
	uint64_t *generations; /* of each shard's server, when last checked */
};

static struct locked *locked(struct upkeep *upkeep) REQUIRES(upkeep->lock);

static struct locked *
locked(struct upkeep *upkeep)
{
	return &upkeep->locked_;
}

static void
note(char error[360], const struct error *err)
{
	(void)snprintf(error, sizeof(err->msg), "%s", err->msg);
}

/* ---- events ---- */

static int
ask_rebuild(struct upkeep *upkeep, int64_t coupon_id, enum rebuild_cause cause,
	struct error *err)
{
	if (rebuild_request(upkeep->config.loader->rebuild, coupon_id, cause))
		return 0;
	return error_set(err, ERROR_BUSY, "too many events wait for a rebuild");
}

/* Whoever fenced it may be at work still. */
static int
rebuild_if_deserted(struct upkeep *upkeep, int64_t coupon_id, struct error *err)
{
	const struct store_call call = { upkeep->config.loader->pg,
		clock_now_ns() + STEP_TIMEOUT_NS };
	bool leased = true;
	int rc = rebuild_store_is_leased(&call, coupon_id, &leased, err);

	if (rc != 0 || leased)
		return rc;
	return ask_rebuild(upkeep, coupon_id, REBUILD_FENCED, err);
}

/* It only makes queries cheaper: where it fails, the event is tended still. */
static void
count_rows(struct upkeep *upkeep, const struct coupon *coupon)
{
	const struct store_call call = { upkeep->config.loader->pg,
		clock_now_ns() + STEP_TIMEOUT_NS };
	struct error err;

	if (coupon->issued - coupon->counted_to <= UNCOUNTED_MAX)
		return;
	if (event_store_count(&call, coupon, &err) != 0)
		LOG_WARN("rows of an event not counted ahead",
			LOG_INT("coupon", coupon->id), LOG_ERR(&err));
}

static int
tend_event(
	struct upkeep *upkeep, const struct coupon *coupon, struct error *err)
{
	int64_t deadline_ns = clock_now_ns() + STEP_TIMEOUT_NS;
	struct event_figures figures;

	count_rows(upkeep, coupon);
	bool past = coupon_is_past(coupon, clock_wall_ms());
	if (past && !upkeep->looks_at_past)
		return 0;
	int rc = event_figures_read(
		upkeep->config.loader, coupon->id, deadline_ns, &figures, err);
	if (rc != 0)
		return rc;
	/* Also of an event long over: nobody else lifts its fence. */
	if (figures.event == EVENT_FENCED)
		return rebuild_if_deserted(upkeep, coupon->id, err);
	if (past)
		return 0;
	if (figures.event == EVENT_MISSING)
		return ask_rebuild(upkeep, coupon->id, REBUILD_MISSING, err);
	if (figures.version >= coupon->version)
		return 0;
	rc = event_publish(upkeep->config.loader, coupon, deadline_ns, err);
	if (rc == 0)
		LOG_INFO("event published again", LOG_INT("coupon", coupon->id),
			LOG_INT("version", coupon->version));
	return rc;
}

static int
tend_page(struct upkeep *upkeep, const struct coupon_page *page,
	struct event_errors *errors, struct error *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < page->count; i++) {
		const struct coupon *coupon = &page->items[i];

		rc = role_keep(&upkeep->role, err);
		if (rc == 0)
			rc = tend_event(upkeep, coupon, err);
		if (rc != 0 && rc != -ERROR_CANCELLED)
			LOG_WARN("event not tended",
				LOG_INT("coupon", coupon->id), LOG_ERR(err));
		rc = event_errors_note(errors, coupon->id, rc, err);
	}
	return rc;
}

static int
tend_events(struct upkeep *upkeep, struct error *err)
{
	struct coupon_page page = { .limit = PAGE_MAX, .count = PAGE_MAX };
	struct event_errors errors = { 0 };
	int64_t after = 0;
	int rc = 0;

	upkeep->looks_at_past = clock_now_ns() >= upkeep->next_past_ns;
	if (upkeep->looks_at_past)
		upkeep->next_past_ns = clock_now_ns() + PAST_EVERY_NS;
	while (rc == 0 && page.count == page.limit) {
		const struct store_call call = { upkeep->config.loader->pg,
			clock_now_ns() + STEP_TIMEOUT_NS };
		rc = event_store_list(&call, after, &page, err);
		if (rc == 0 && page.count > 0)
			after = page.items[page.count - 1].id;
		if (rc == 0)
			rc = tend_page(upkeep, &page, &errors, err);
	}
	return event_errors_end(&errors, rc, err);
}

/* Given back at once: were this api killed, a fence might wait for it. */
static int
publish(struct upkeep *upkeep, struct error *err)
{
	int rc = role_take(&upkeep->role, err);

	if (rc == 0 && upkeep->role.mine)
		rc = tend_events(upkeep, err);
	role_leave(&upkeep->role);
	return rc == -ERROR_CANCELLED ? 0 : rc;
}

/* ---- restarts of Redis ---- */

static int
go_on(void *arg, struct error *err)
{
	struct upkeep *upkeep = arg;

	mutex_lock(&upkeep->lock);
	bool stopping = locked(upkeep)->stopping;
	mutex_unlock(&upkeep->lock);
	return stopping ? error_set(err, ERROR_CLOSED, "upkeep: stopping") : 0;
}

static int
check_shard(struct upkeep *upkeep, struct pool *pool, struct error *err)
{
	const struct restart_check check = {
		.loader = upkeep->config.loader,
		.settings = upkeep->config.settings,
		.seen_highest = upkeep->config.seen_highest,
		.arg = upkeep->config.arg,
		.tick = go_on,
		.tick_arg = upkeep,
		.deadline_ns = clock_now_ns() + CHECK_TIMEOUT_NS,
	};
	int64_t *ids;
	size_t n;
	int rc = event_watch_index(pool, &ids, &n, err);

	if (rc != 0)
		return rc;
	rc = restart_check_run(&check, ids, n, err);
	free(ids);
	return rc;
}

/* Kafka may be away for long: once a second, and said once. */
static void
check_failed(struct upkeep *upkeep, const struct error *err)
{
	upkeep->next_check_ns = clock_now_ns() + LOOK_EVERY_NS;
	if (strcmp(upkeep->check_error, err->msg) == 0)
		return;
	note(upkeep->check_error, err);
	LOG_WARN("what Redis holds is not checked yet, trying again",
		LOG_ERR(err));
}

static void
check_done(struct upkeep *upkeep)
{
	if (upkeep->check_error[0] != '\0')
		LOG_INFO("what Redis holds is checked");
	upkeep->check_error[0] = '\0';
}

/* A shard whose server is another than last time; tried until it is done. */
static void
check_restarts(struct upkeep *upkeep)
{
	struct redis_shards *shards = upkeep->config.loader->shards;

	upkeep->checked = true;
	for (size_t i = 0; i < redis_shards_count(shards); i++) {
		struct redis_server_info info;
		struct error err;

		redis_server_info(shards, i, &info);
		if (info.generation == upkeep->generations[i])
			continue;
		if (!info.connected_once) {
			upkeep->checked = false;
			continue;
		}
		if (check_shard(upkeep, redis_shards_pool_at(shards, i),
			    &err) == 0) {
			check_done(upkeep);
			upkeep->generations[i] = info.generation;
			redis_shard_trust(shards, i, info.generation);
			continue;
		}
		check_failed(upkeep, &err);
	}
}

/* ---- the thread ---- */

static void
look_at_events(struct upkeep *upkeep)
{
	struct error err;

	if (clock_now_ns() < upkeep->next_look_ns)
		return;
	upkeep->next_look_ns = clock_now_ns() + LOOK_EVERY_NS;
	if (event_watch_look(upkeep->events, &err) == 0)
		return;
	LOG_DEBUG("events not looked at", LOG_ERR(&err));
	note(upkeep->error, &err);
}

static void
tick(struct upkeep *upkeep)
{
	struct error err;

	/* Instead of the next tick: when it is done, something is to be done. */
	upkeep->migrated = migration_await(
		upkeep->config.migration, clock_now_ns() + TICK_NS);
	if (upkeep->migrated && clock_now_ns() >= upkeep->next_check_ns)
		check_restarts(upkeep);
	look_at_events(upkeep);
	if (!upkeep->migrated || clock_now_ns() < upkeep->next_publish_ns)
		return;
	upkeep->next_publish_ns = clock_now_ns() + PUBLISH_EVERY_NS;
	upkeep->publish_error[0] = '\0';
	if (publish(upkeep, &err) != 0) {
		LOG_WARN("versions of events not compared", LOG_ERR(&err));
		note(upkeep->publish_error, &err);
	}
}

/* One tick, and what came of it. */
static void
pass(struct upkeep *upkeep)
{
	const int64_t begun_ns = clock_now_ns();

	upkeep->error[0] = '\0';
	tick(upkeep);
	const char *error = upkeep->error;

	if (error[0] == '\0')
		error = upkeep->check_error;
	if (error[0] == '\0')
		error = upkeep->publish_error;
	mutex_lock(&upkeep->lock);
	struct locked *s = locked(upkeep);
	s->passed_at_ns = clock_now_ns();
	s->status.last_pass_took_ns = s->passed_at_ns - begun_ns;
	s->status.migrated = upkeep->migrated;
	memcpy(s->status.error, error, sizeof(s->status.error));
	mutex_unlock(&upkeep->lock);
}

/* False once it is to stop. */
static bool
wait_for_tick(struct upkeep *upkeep)
{
	int64_t deadline_ns = clock_now_ns() +
			      (upkeep->checked ? TICK_NS : FIRST_TICK_NS);
	bool in_time = true;

	mutex_lock(&upkeep->lock);
	while (!locked(upkeep)->stopping && in_time)
		in_time = cond_wait_until(
			&upkeep->changed, &upkeep->lock, deadline_ns);
	bool stopping = locked(upkeep)->stopping;
	mutex_unlock(&upkeep->lock);
	return !stopping;
}

static void *
upkeep_thread(void *arg)
{
	thread_set_name("upkeep");
	do {
		pass(arg);
	} while (wait_for_tick(arg));
	return NULL;
}

struct upkeep *
upkeep_start(const struct upkeep_config *config)
{
	struct upkeep *upkeep = calloc(1, sizeof(*upkeep));

	if (upkeep == NULL)
		abort();
	upkeep->config = *config;
	upkeep->role = (struct role){ .pg = config->loader->pg,
		.name = "publisher",
		.holder = config->instance_id };
	upkeep->generations = calloc(
		redis_shards_count(config->loader->shards), sizeof(uint64_t));
	if (upkeep->generations == NULL)
		abort();
	/* None is: what an earlier api had given out, this one cannot know. */
	memset(upkeep->generations, 0xff,
		redis_shards_count(config->loader->shards) * sizeof(uint64_t));
	mutex_init(&upkeep->lock);
	cond_init(&upkeep->changed);
	upkeep->events = event_watch_new(config->loader, config->metrics);
	sync_must(pthread_create(&upkeep->thread, NULL, upkeep_thread, upkeep));
	return upkeep;
}

void
upkeep_stop(struct upkeep *upkeep)
{
	if (upkeep == NULL)
		return;
	mutex_lock(&upkeep->lock);
	locked(upkeep)->stopping = true;
	cond_signal(&upkeep->changed);
	mutex_unlock(&upkeep->lock);
	sync_must(pthread_join(upkeep->thread, NULL));
	event_watch_free(upkeep->events);
	cond_fini(&upkeep->changed);
	mutex_fini(&upkeep->lock);
	free(upkeep->generations);
	free(upkeep);
}

void
upkeep_status(struct upkeep *upkeep, struct upkeep_status *ret)
{
	mutex_lock(&upkeep->lock);
	const int64_t at_ns = locked(upkeep)->passed_at_ns;

	*ret = locked(upkeep)->status;
	mutex_unlock(&upkeep->lock);
	ret->interval_ns = TICK_NS;
	ret->last_pass_age_ns = at_ns == 0 ? -1 : clock_now_ns() - at_ns;
	event_watch_outboxes(upkeep->events, &ret->pending, &ret->oldest_ms);
}
