/* SPDX-License-Identifier: MIT */
#include "api/rebuild.h"

#include "api/event_loader.h"
#include "api/rebuild_plan.h"
#include "api/rebuild_run.h"
#include "api/scripts.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/sync.h"

#include <stdatomic.h>

#define RUN_TIMEOUT_NS (60 * NS_PER_S)
#define RETRY_AFTER_NS (1 * NS_PER_S)
#define RENEW_EVERY_NS (1 * NS_PER_S)
#define LOOK_EVERY_NS (50 * NS_PER_MS)
#define LOOK_TIMEOUT_NS (1 * NS_PER_S)

enum { QUEUE_MAX = 1024 };

/* clang-format off */
static const struct metric_family runs_family METRIC_FAMILY = {
	.name = "coupon.rebuild",
	.kind = METRIC_TIMER,
	.description = "Rebuilds of events in Redis, by cause and outcome.",
	.tags = "cause outcome",
};
/* clang-format on */

static const char *const cause_names[] = {
#define X(id, tag) [REBUILD_##id] = (tag),
	REBUILD_CAUSES(X)
#undef X
};

struct wish {
	int64_t coupon_id;
	enum rebuild_cause cause;
	int64_t not_before_ns;
};

struct rebuild {
	struct rebuild_config config;
	struct timer *timers[REBUILD_N_CAUSES][2]; /* failed, done */
	_Atomic bool stopping;
	pthread_t thread;
	struct mutex lock;
	struct cond changed; /* queue, running or stopping changed */
	struct locked {      /* only through locked() */
		struct wish queue[QUEUE_MAX];
		size_t n;
		int64_t running; /* coupon id, 0: none */
		uint64_t done, failed;
		struct error last_error;
		int64_t failed_at_ns, ended_at_ns; /* 0: never */
	} locked_;
};

static struct locked *locked(struct rebuild *rebuild) REQUIRES(rebuild->lock);

static struct locked *
locked(struct rebuild *rebuild)
{
	return &rebuild->locked_;
}

static bool
is_stopping(void *arg)
{
	struct rebuild *rebuild = arg;

	return atomic_load(&rebuild->stopping);
}

static void
pause_for(void *arg, int64_t ns)
{
	struct rebuild *rebuild = arg;
	int64_t until_ns = clock_now_ns() + ns;
	bool in_time = true;

	mutex_lock(&rebuild->lock);
	while (in_time && !atomic_load(&rebuild->stopping))
		in_time = cond_wait_until(
			&rebuild->changed, &rebuild->lock, until_ns);
	mutex_unlock(&rebuild->lock);
}

static void
report(struct rebuild *rebuild, const struct wish *wish,
	const struct rebuild_run *run, int64_t took_ns, const struct error *err)
{
	struct rebuild_plan_counts counts = { 0 };

	timer_record(rebuild->timers[wish->cause][err == NULL], took_ns);
	if (err != NULL) {
		LOG_WARN("rebuild failed, the event stays fenced",
			LOG_INT("coupon", wish->coupon_id),
			LOG_STR("cause", cause_names[wish->cause]),
			LOG_ERR(err));
		return;
	}
	rebuild_plan_counts(run->plan, &counts);
	LOG_INFO("event rebuilt", LOG_INT("coupon", wish->coupon_id),
		LOG_STR("cause", cause_names[wish->cause]),
		LOG_INT("epoch", run->event.epoch),
		LOG_INT("rows", counts.rows),
		LOG_INT("unconsumed", counts.messages),
		LOG_INT("rejections", counts.rejections),
		LOG_INT("free_numbers", counts.free_numbers),
		LOG_INT("next", rebuild_plan_next(run->plan)),
		LOG_INT("took_ms", took_ns / NS_PER_MS));
}

/* An event that is gone, or that another api rebuilds, is not ours to retry. */
static bool
is_worth_retrying(const struct error *err)
{
	return err->kind != ERROR_NOT_FOUND && err->kind != ERROR_BUSY &&
	       err->kind != ERROR_CANCELLED && err->kind != ERROR_CLOSED;
}

/* Another api, or an earlier wish, may have seen to it already. */
static bool
is_needed(struct rebuild *rebuild, const struct wish *wish)
{
	const struct event_loader loader = { .shards = rebuild->config.shards };
	struct event_figures figures;
	struct error err;

	if (wish->cause != REBUILD_NEW && wish->cause != REBUILD_MISSING &&
		wish->cause != REBUILD_FENCED)
		return true;
	int rc = event_figures_read(&loader, wish->coupon_id,
		clock_now_ns() + LOOK_TIMEOUT_NS, &figures, &err);

	return rc != 0 || figures.event != EVENT_LIVE;
}

static void
run_wish(struct rebuild *rebuild, const struct wish *wish)
{
	struct rebuild_run run = {
		.config = &rebuild->config,
		.deadline_ns = clock_now_ns() + RUN_TIMEOUT_NS,
		.is_stopping = is_stopping,
		.pause = pause_for,
		.arg = rebuild,
		.event.coupon_id = wish->coupon_id,
	};
	int64_t started_ns = clock_now_ns();
	struct error err;
	int rc = rebuild_run(&run, &err);

	if (rc == 0 || is_worth_retrying(&err))
		report(rebuild, wish, &run, clock_now_ns() - started_ns,
			rc == 0 ? NULL : &err);
	rebuild_run_fini(&run);

	mutex_lock(&rebuild->lock);
	struct locked *s = locked(rebuild);

	if (rc == 0) {
		s->done++;
	} else if (is_worth_retrying(&err)) {
		s->failed++;
		s->last_error = err;
		s->failed_at_ns = clock_now_ns();
		if (s->n < QUEUE_MAX)
			s->queue[s->n++] = (struct wish){ wish->coupon_id,
				wish->cause, clock_now_ns() + RETRY_AFTER_NS };
	}
	s->ended_at_ns = clock_now_ns();
	mutex_unlock(&rebuild->lock);
}

/* The first wish whose time has come, or how long until there is one. */
static bool
take_wish(struct locked *s, struct wish *ret, int64_t *ret_wake_ns)
{
	int64_t now_ns = clock_now_ns();

	*ret_wake_ns = INT64_MAX;
	for (size_t i = 0; i < s->n; i++) {
		if (s->queue[i].not_before_ns <= now_ns) {
			*ret = s->queue[i];
			memmove(&s->queue[i], &s->queue[i + 1],
				(--s->n - i) * sizeof(s->queue[0]));
			return true;
		}
		if (s->queue[i].not_before_ns < *ret_wake_ns)
			*ret_wake_ns = s->queue[i].not_before_ns;
	}
	return false;
}

/* False: the rebuild is to stop. */
static bool
await_wish(struct rebuild *rebuild, struct wish *ret)
{
	bool found = false;
	int64_t wake_ns;

	mutex_lock(&rebuild->lock);
	while (!atomic_load(&rebuild->stopping)) {
		found = take_wish(locked(rebuild), ret, &wake_ns);
		if (found)
			break;
		if (wake_ns == INT64_MAX)
			cond_wait(&rebuild->changed, &rebuild->lock);
		else
			(void)cond_wait_until(
				&rebuild->changed, &rebuild->lock, wake_ns);
	}
	if (found)
		locked(rebuild)->running = ret->coupon_id;
	mutex_unlock(&rebuild->lock);
	return found;
}

static void
end_wish(struct rebuild *rebuild)
{
	mutex_lock(&rebuild->lock);
	locked(rebuild)->running = 0;
	cond_broadcast(&rebuild->changed);
	mutex_unlock(&rebuild->lock);
}

static void *
rebuild_main(void *arg)
{
	struct rebuild *rebuild = arg;
	struct wish wish;

	thread_set_name("rebuild");
	while (await_wish(rebuild, &wish)) {
		if (is_needed(rebuild, &wish))
			run_wish(rebuild, &wish);
		end_wish(rebuild);
	}
	return NULL;
}

struct rebuild *
rebuild_start(const struct rebuild_config *config)
{
	struct rebuild *rebuild = calloc(1, sizeof(*rebuild));

	if (rebuild == NULL)
		abort();
	rebuild->config = *config;
	for (size_t i = 0; i < REBUILD_N_CAUSES; i++)
		for (size_t done = 0; done < 2; done++)
			rebuild->timers[i][done] = metrics_timer(
				config->metrics, &runs_family,
				METRIC_TAGS({ "cause", cause_names[i] },
					{ "outcome",
						done ? "done" : "failed" }));
	mutex_init(&rebuild->lock);
	cond_init(&rebuild->changed);
	sync_must(
		pthread_create(&rebuild->thread, NULL, rebuild_main, rebuild));
	return rebuild;
}

void
rebuild_stop(struct rebuild *rebuild)
{
	if (rebuild == NULL)
		return;
	mutex_lock(&rebuild->lock);
	atomic_store(&rebuild->stopping, true);
	cond_broadcast(&rebuild->changed);
	mutex_unlock(&rebuild->lock);
	sync_must(pthread_join(rebuild->thread, NULL));
	cond_fini(&rebuild->changed);
	mutex_fini(&rebuild->lock);
	free(rebuild);
}

static bool
is_queued(const struct locked *s, int64_t coupon_id)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->queue[i].coupon_id == coupon_id)
			return true;
	return false;
}

bool
rebuild_request(
	struct rebuild *rebuild, int64_t coupon_id, enum rebuild_cause cause)
{
	bool noted = true;

	mutex_lock(&rebuild->lock);
	struct locked *s = locked(rebuild);

	/* One under way may have read what this wish is about already. */
	if (!is_queued(s, coupon_id)) {
		noted = s->n < QUEUE_MAX;
		if (noted)
			s->queue[s->n++] = (struct wish){ coupon_id, cause, 0 };
		cond_broadcast(&rebuild->changed);
	}
	mutex_unlock(&rebuild->lock);
	return noted;
}

/* Somebody waits for it: before those that nobody waits for. */
static void
hasten(struct locked *s, int64_t coupon_id)
{
	for (size_t i = 1; i < s->n; i++) {
		const struct wish wish = s->queue[i];

		if (wish.coupon_id != coupon_id)
			continue;
		memmove(&s->queue[1], &s->queue[0], i * sizeof(s->queue[0]));
		s->queue[0] = wish;
		return;
	}
}

bool
rebuild_await(struct rebuild *rebuild, int64_t coupon_id, int64_t deadline_ns)
{
	bool in_time = true;

	mutex_lock(&rebuild->lock);
	hasten(locked(rebuild), coupon_id);
	while (in_time && (is_queued(locked(rebuild), coupon_id) ||
				  locked(rebuild)->running == coupon_id))
		in_time = cond_wait_until(
			&rebuild->changed, &rebuild->lock, deadline_ns);
	mutex_unlock(&rebuild->lock);
	return in_time;
}

void
rebuild_status(struct rebuild *rebuild, struct rebuild_status *ret)
{
	mutex_lock(&rebuild->lock);
	const struct locked *s = locked(rebuild);
	const int64_t now_ns = clock_now_ns();

	*ret = (struct rebuild_status){
		.waiting = s->n,
		.running = s->running,
		.done = s->done,
		.failed = s->failed,
		.error_age_ns =
			s->failed_at_ns == 0 ? -1 : now_ns - s->failed_at_ns,
		.last_age_ns =
			s->ended_at_ns == 0 ? -1 : now_ns - s->ended_at_ns,
	};
	memcpy(ret->error, s->last_error.msg, sizeof(ret->error));
	mutex_unlock(&rebuild->lock);
}
