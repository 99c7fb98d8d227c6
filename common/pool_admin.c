/* SPDX-License-Identifier: MIT */
/* What operators do to a running pool. */
#include "common/pool_internal.h"

#include <assert.h>

/* Close the coldest idle ones until no more than the bounds allow are left. */
static void
trim(struct pool *pool) REQUIRES(pool->lock)
{
	struct pool_locked *s = pool_locked(pool);

	while (s->n[CONN_IDLE] > 0 && pool_total(pool) > s->config.max_active)
		pool_condemn(pool, TAILQ_FIRST(&s->list[CONN_IDLE]),
			POOL_CLOSE_SHRUNK);
	while (s->n[CONN_IDLE] > s->config.max_idle)
		pool_condemn(pool, TAILQ_FIRST(&s->list[CONN_IDLE]),
			POOL_CLOSE_MAX_IDLE);
}

static void
condemn_idle(struct pool *pool, enum pool_close why) REQUIRES(pool->lock)
{
	struct pool_locked *s = pool_locked(pool);

	while (s->n[CONN_IDLE] > 0)
		pool_condemn(pool, TAILQ_FIRST(&s->list[CONN_IDLE]), why);
}

void
pool_configure(struct pool *pool, const struct pool_config *config)
{
	const int64_t now = pool_now(pool);

	pool_config_check(config);
	mutex_lock(&pool->lock);
	struct pool_locked *s = pool_locked(pool);
	const size_t max_opening = s->config.max_opening;
	s->config = *config;
	s->config.max_opening = max_opening;
	s->sweep_ns = now; /* the times may be shorter now */
	trim(pool);
	pool_kick(pool, now);
	cond_signal(&pool->keep);
	mutex_unlock(&pool->lock);
}

void
pool_suspend(struct pool *pool)
{
	mutex_lock(&pool->lock);
	pool_locked(pool)->suspended = true;
	mutex_unlock(&pool->lock);
}

void
pool_resume(struct pool *pool)
{
	const int64_t now = pool_now(pool);
	struct pool_waiters answered = TAILQ_HEAD_INITIALIZER(answered);

	mutex_lock(&pool->lock);
	pool_locked(pool)->suspended = false;
	pool_serve(pool, now, &answered);
	pool_kick(pool, now);
	mutex_unlock(&pool->lock);
	pool_deliver(pool, &answered, now);
}

void
pool_evict_all(struct pool *pool, const char *reason)
{
	const struct pool_observer *observer = pool->observer;
	const int64_t now = pool_now(pool);
	size_t total;

	mutex_lock(&pool->lock);
	struct pool_locked *s = pool_locked(pool);
	total = pool_total(pool);
	s->generation++;
	condemn_idle(pool, POOL_CLOSE_EVICTED);
	pool_kick(pool, now);
	mutex_unlock(&pool->lock);
	if (observer->evicted != NULL)
		observer->evicted(observer->ctx, reason, total);
}

bool
pool_drain(struct pool *pool, int64_t deadline_ns)
{
	const int64_t now = pool_now(pool);
	struct pool_waiters answered = TAILQ_HEAD_INITIALIZER(answered);
	struct pool_waiter *waiter;
	struct pool_snapshot cut;
	bool in_time = true;

	mutex_lock(&pool->lock);
	struct pool_locked *s = pool_locked(pool);
	s->drained = true;
	while (s->waiting > 0)
		pool_answer_head(pool, NULL, &answered);
	condemn_idle(pool, POOL_CLOSE_SHUTDOWN);
	pool_cut(pool, &cut, now);
	mutex_unlock(&pool->lock);
	TAILQ_FOREACH(waiter, &answered, link)
	(void)pool_refuse(
		pool, &cut, ERROR_CLOSED, now - waiter->since_ns, &waiter->err);
	pool_deliver(pool, &answered, now);

	mutex_lock(&pool->lock);
	while (s->n[CONN_LENT] + s->n[CONN_CHECKING] > 0 && in_time)
		in_time = cond_wait_until(
			&pool->returned, &pool->lock, deadline_ns);
	const bool all = s->n[CONN_LENT] + s->n[CONN_CHECKING] == 0;
	mutex_unlock(&pool->lock);
	return all;
}
