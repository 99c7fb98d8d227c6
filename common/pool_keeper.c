/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * The keeper is the one thread of the pool that watches the clock, and the
 * one that closes.  It never talks to the server, so it is never late.  It
 * wakes when there is something to close, when the pause after a failed
 * connect is over, and for its sweep: a tenth of the shortest time that is
 * configured, between 10 ms and 1 s.  Whatever expires may do so that late.
 */
#include "common/clock.h"
#include "common/lifecycle.h"
#include "common/pool_internal.h"

#include <assert.h>

static int64_t
sweep_period(const struct pool_config *config)
{
	const int64_t times[] = { config->max_lifetime_ns,
		config->idle_timeout_ns, config->keepalive_ns,
		config->leak_threshold_ns };
	int64_t period = NS_PER_S;

	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		if (times[i] > 0 && times[i] / 10 < period)
			period = times[i] / 10;
	return period > 10 * NS_PER_MS ? period : 10 * NS_PER_MS;
}

/* Close it if it is too old or too long idle; note that it wants a check. */
static void
sweep_one(struct pool *pool, struct pool_conn *conn, int64_t now)
	REQUIRES(pool->lock)
{
	struct pool_locked *s = pool_locked(pool);
	const int64_t idle_timeout = s->config.idle_timeout_ns;

	if (pool_is_expired(pool, conn, now))
		pool_condemn(pool, conn, POOL_CLOSE_MAX_LIFETIME);
	else if (idle_timeout > 0 && now - conn->since_ns >= idle_timeout &&
		 s->n[CONN_IDLE] > pool_min_idle(pool))
		pool_condemn(pool, conn, POOL_CLOSE_IDLE_TIMEOUT);
	else if (pool_wants_check(pool, conn, now))
		s->checks_due = true;
}

static void
sweep(struct pool *pool, int64_t now) REQUIRES(pool->lock)
{
	struct pool_locked *s = pool_locked(pool);
	struct pool_conn *conn = TAILQ_FIRST(&s->list[CONN_IDLE]);

	while (conn != NULL) {
		struct pool_conn *next = TAILQ_NEXT(conn, link);

		sweep_one(pool, conn, now);
		conn = next;
	}
	s->sweep_ns = now + sweep_period(&s->config);
}

/* The next lent connection that is overdue and not reported yet. */
static bool
find_leak(struct pool *pool, int64_t now, const char **holder, int64_t *held)
	REQUIRES(pool->lock)
{
	const int64_t threshold = pool_locked(pool)->config.leak_threshold_ns;
	struct pool_conn *conn = NULL;

	TAILQ_FOREACH(conn, &pool_locked(pool)->list[CONN_LENT], link)
	{
		if (threshold == 0 || now - conn->since_ns < threshold)
			break; /* oldest first: the others are younger */
		if (conn->leak_reported)
			continue;
		conn->leak_reported = true;
		*holder = conn->holder;
		*held = now - conn->since_ns;
		return true;
	}
	return false;
}

static void
report_leaks(struct pool *pool, int64_t now)
{
	const struct pool_observer *observer = pool->observer;
	const char *holder = NULL;
	int64_t held = 0;
	bool found = true;

	while (found) {
		mutex_lock(&pool->lock);
		found = find_leak(pool, now, &holder, &held);
		mutex_unlock(&pool->lock);
		if (found && observer->leak != NULL)
			observer->leak(observer->ctx, holder, held, false);
	}
}

void
pool_close_condemned(struct pool *pool)
{
	const struct pool_observer *observer = pool->observer;

	for (;;) {
		mutex_lock(&pool->lock);
		struct pool_conn *conn =
			TAILQ_FIRST(&pool_locked(pool)->list[CONN_CLOSING]);
		mutex_unlock(&pool->lock);
		if (conn == NULL)
			return;
		/* the list is ours: others only append to it */
		pool->methods->close(pool->ctx, conn->entry.resource);
		if (observer->closed != NULL)
			observer->closed(observer->ctx, conn->why);

		mutex_lock(&pool->lock);
		pool_forget(pool, conn);
		pool_locked(pool)->closed++;
		mutex_unlock(&pool->lock);
		free(conn);
	}
}

void
pool_keep(struct pool *pool)
{
	const int64_t now = pool_now(pool);

	mutex_lock(&pool->lock);
	const bool sweeping = now >= pool_locked(pool)->sweep_ns;
	if (sweeping)
		sweep(pool, now);
	mutex_unlock(&pool->lock);

	if (sweeping)
		report_leaks(pool, now);
	pool_close_condemned(pool);
}

/* Wake a worker for what is possible by now; when will more be? */
static int64_t
next_due(struct pool *pool) REQUIRES(pool->lock)
{
	const struct pool_locked *s = pool_locked(pool);
	const int64_t now = pool_now(pool);

	pool_kick(pool, now);
	if (s->failing && s->retry_ns > now && s->retry_ns < s->sweep_ns)
		return s->retry_ns;
	return s->sweep_ns;
}

void *
pool_keeper_main(void *arg)
{
	struct pool *pool = arg;
	bool stopping = false;

	thread_set_name("%.10s-keep", pool->name);
	while (!stopping) {
		pool_keep(pool);
		mutex_lock(&pool->lock);
		const struct pool_locked *s = pool_locked(pool);
		if (!s->stopping && s->n[CONN_CLOSING] == 0)
			(void)cond_wait_until(
				&pool->keep, &pool->lock, next_due(pool));
		stopping = s->stopping;
		mutex_unlock(&pool->lock);
	}
	return NULL;
}
