/* SPDX-License-Identifier: MIT */
/* What the pool says of itself: counters, messages, answers. */
#include "common/clock.h"
#include "common/pool_internal.h"

#include <inttypes.h>

static const struct {
	const char *tag, *text;
} closes[] = {
#define X(name, tag, text) [POOL_CLOSE_##name] = { tag, text },
	POOL_CLOSES(X)
#undef X
};

const char *
pool_close_tag(enum pool_close why)
{
	return closes[why].tag;
}

const char *
pool_close_text(enum pool_close why)
{
	return closes[why].text;
}

void
pool_cut(struct pool *pool, struct pool_snapshot *ret, int64_t now)
{
	const struct pool_locked *s = pool_locked(pool);

	*ret = (struct pool_snapshot){
		.total = pool_total(pool),
		.active = s->n[CONN_LENT] + s->n[CONN_CHECKING],
		.idle = s->n[CONN_IDLE],
		.opening = s->n[CONN_OPENING],
		.waiting = s->waiting,
		.max = s->config.max_active,
		.min = s->config.min_idle,
		.oldest_wait_ns =
			s->waiting > 0 ? now - TAILQ_FIRST(&s->queue)->since_ns
				       : 0,
		.timeouts = s->timeouts,
		.opened = s->opened,
		.open_failed = s->open_failed,
		.closed = s->closed,
		.suspended = s->suspended,
		.failing = s->failing,
		.last_error_age_ns = -1,
	};
	if (s->open_failed > 0) {
		ret->last_error_age_ns = now - s->failed_ns;
		ret->last_error = s->last_error;
	}
}

void
pool_snapshot(struct pool *pool, struct pool_snapshot *ret)
{
	const int64_t now = pool_now(pool);

	mutex_lock(&pool->lock);
	pool_cut(pool, ret, now);
	mutex_unlock(&pool->lock);
}

size_t
pool_holders(struct pool *pool, struct pool_holder *ret, size_t max)
{
	const int64_t now = pool_now(pool);
	const struct pool_conn *conn = NULL;
	size_t n = 0;

	mutex_lock(&pool->lock);
	TAILQ_FOREACH(conn, &pool_locked(pool)->list[CONN_LENT], link)
	{
		if (n == max)
			break;
		ret[n].holder = conn->holder;
		ret[n++].held_ns = now - conn->since_ns;
	}
	mutex_unlock(&pool->lock);
	return n;
}

size_t
pool_waiters(struct pool *pool, struct pool_holder *ret, size_t max)
{
	const int64_t now = pool_now(pool);
	const struct pool_waiter *waiter = NULL;
	size_t n = 0;

	mutex_lock(&pool->lock);
	TAILQ_FOREACH(waiter, &pool_locked(pool)->queue, link)
	{
		if (n == max)
			break;
		ret[n].holder = waiter->holder;
		ret[n++].held_ns = now - waiter->since_ns;
	}
	mutex_unlock(&pool->lock);
	return n;
}

void
pool_config_get(struct pool *pool, struct pool_config *ret)
{
	mutex_lock(&pool->lock);
	*ret = pool_locked(pool)->config;
	mutex_unlock(&pool->lock);
}

bool
pool_has_connected(struct pool *pool)
{
	mutex_lock(&pool->lock);
	const bool connected = pool_locked(pool)->opened > 0;
	mutex_unlock(&pool->lock);
	return connected;
}

/*
 * Who waited until the deadline "timed out after", who was turned away "was
 * refused after".  Only a server that is down adds why it is believed to be.
 */
int
pool_refuse(const struct pool *pool, const struct pool_snapshot *cut,
	enum error_kind kind, int64_t waited_ns, struct error *err)
{
	const bool refused =
		kind == ERROR_CLOSED || kind == ERROR_QUEUE_FULL ||
		(waited_ns == 0 && (kind == ERROR_CONNECT_FAILING ||
					   kind == ERROR_SUSPENDED));
	char cause[160] = "";

	if (kind == ERROR_CONNECT_FAILING)
		(void)snprintf(cause, sizeof(cause),
			"; connecting failed %" PRId64 "ms ago: %.100s",
			cut->last_error_age_ns / NS_PER_MS,
			cut->last_error.msg);
	return error_set(err, kind,
		"Unable to acquire connection from pool: %s, %s after "
		"%" PRId64 "ms (total=%zu, active=%zu, idle=%zu, waiting=%zu, "
		"oldestWait=%" PRId64 "ms, reason=%s)%s",
		pool->name, refused ? "refused" : "timed out",
		waited_ns / NS_PER_MS, cut->total, cut->active, cut->idle,
		cut->waiting, cut->oldest_wait_ns / NS_PER_MS, error_name(kind),
		cause);
}

void
pool_deliver(struct pool *pool, struct pool_waiters *answered, int64_t now)
{
	const struct pool_observer *observer = pool->observer;
	struct pool_waiter *waiter;

	while ((waiter = TAILQ_FIRST(answered)) != NULL) {
		const bool failed = waiter->state == POOL_WAITER_FAILED;

		TAILQ_REMOVE(answered, waiter, link);
		if (observer->acquired != NULL)
			observer->acquired(observer->ctx,
				now - waiter->since_ns,
				failed ? &waiter->err : NULL);
		/* from here on it is its owner's */
		pool_inbox_put(waiter->inbox, waiter);
	}
}
