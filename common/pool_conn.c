/* SPDX-License-Identifier: MIT */
/* The states of a connection, and who gets one that is free. */
#include "common/pool_internal.h"

#include <assert.h>

/* clang-format off */
static const bool allowed[CONN_STATES][CONN_STATES] = {
	/* to:               OPENING IDLE LENT CHECKING CLOSING */
	[CONN_OPENING]  = {  0,      1,   1,   0,       1 },
	[CONN_IDLE]     = {  0,      0,   1,   1,       1 },
	[CONN_LENT]     = {  0,      1,   1,   0,       1 }, /* handed on */
	[CONN_CHECKING] = {  0,      1,   1,   0,       1 },
	[CONN_CLOSING]  = {  0,      0,   0,   0,       0 },
};
/* clang-format on */

size_t
pool_total(struct pool *pool)
{
	const struct pool_locked *s = pool_locked(pool);

	return s->n[CONN_IDLE] + s->n[CONN_LENT] + s->n[CONN_CHECKING];
}

size_t
pool_min_idle(struct pool *pool)
{
	const struct pool_config *config = &pool_locked(pool)->config;
	const size_t most = config->max_idle < config->max_active
				    ? config->max_idle
				    : config->max_active;

	return config->min_idle < most ? config->min_idle : most;
}

void
pool_forget(struct pool *pool, struct pool_conn *conn)
{
	struct pool_locked *s = pool_locked(pool);

	assert(s->n[conn->state] > 0);
	TAILQ_REMOVE(&s->list[conn->state], conn, link);
	s->n[conn->state]--;
}

void
pool_move(struct pool *pool, struct pool_conn *conn, enum conn_state to)
{
	struct pool_locked *s = pool_locked(pool);

	const bool unused = conn->state == CONN_CHECKING && to == CONN_IDLE;

	assert(allowed[conn->state][to]);
	pool_forget(pool, conn);
	conn->state = to;
	if (unused)
		TAILQ_INSERT_HEAD(&s->list[to], conn, link);
	else
		TAILQ_INSERT_TAIL(&s->list[to], conn, link);
	s->n[to]++;
}

void
pool_lend(struct pool *pool, struct pool_conn *conn, const char *holder,
	int64_t now)
{
	pool_move(pool, conn, CONN_LENT);
	conn->holder = holder;
	conn->since_ns = now;
	conn->leak_reported = false;
}

/* The last one that a drain waits for may just have left. */
static void
tell_drain(struct pool *pool) REQUIRES(pool->lock)
{
	const struct pool_locked *s = pool_locked(pool);

	if (s->drained && s->n[CONN_LENT] + s->n[CONN_CHECKING] == 0)
		cond_broadcast(&pool->returned);
}

void
pool_condemn(struct pool *pool, struct pool_conn *conn, enum pool_close why)
{
	pool_move(pool, conn, CONN_CLOSING);
	conn->why = why;
	cond_signal(&pool->keep);
	tell_drain(pool);
}

int64_t
pool_random(struct pool *pool)
{
	uint64_t *x = &pool_locked(pool)->random;

	*x ^= *x << 13; /* xorshift64; 0 stays 0 */
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return (int64_t)(*x % POOL_JITTER_MAX);
}

/* `base` less up to `percent` of it: this connection's own share. */
static int64_t
jittered(const struct pool_conn *conn, int64_t base, int percent)
{
	return base - base / 100 * percent / POOL_JITTER_MAX * conn->jitter;
}

bool
pool_is_expired(struct pool *pool, const struct pool_conn *conn, int64_t now)
{
	const int64_t lifetime = pool_locked(pool)->config.max_lifetime_ns;

	return lifetime > 0 &&
	       now - conn->opened_ns >= jittered(conn, lifetime, 25);
}

bool
pool_wants_check(struct pool *pool, const struct pool_conn *conn, int64_t now)
{
	const int64_t every = pool_locked(pool)->config.keepalive_ns;

	return every > 0 && now - conn->checked_ns >= jittered(conn, every, 20);
}

/* Is there a reason not to keep this good connection?  Sets *why. */
static bool
is_unwanted(struct pool *pool, const struct pool_conn *conn, int64_t now,
	enum pool_close *why) REQUIRES(pool->lock)
{
	const struct pool_locked *s = pool_locked(pool);
	/* itself is in one of the three lists, or was being opened */
	const size_t total = pool_total(pool) + (conn->state == CONN_OPENING);
	const bool surplus = (s->waiting == 0 || s->suspended) &&
			     s->n[CONN_IDLE] >= s->config.max_idle;

	if (s->drained)
		*why = POOL_CLOSE_SHUTDOWN;
	else if (conn->generation != s->generation)
		*why = POOL_CLOSE_EVICTED;
	else if (pool_is_expired(pool, conn, now))
		*why = POOL_CLOSE_MAX_LIFETIME;
	else if (total > s->config.max_active)
		*why = POOL_CLOSE_SHRUNK;
	else if (surplus)
		*why = POOL_CLOSE_MAX_IDLE;
	else
		return false;
	return true;
}

bool
pool_wants_back(struct pool *pool, const struct pool_entry *entry)
{
	const struct pool_conn *conn =
		container_of(entry, const struct pool_conn, entry);
	const int64_t now = pool_now(pool);
	enum pool_close why = POOL_CLOSE_MAX_IDLE;

	mutex_lock(&pool->lock);
	assert(conn->state == CONN_LENT);
	const bool wanted = pool_locked(pool)->suspended ||
			    (is_unwanted(pool, conn, now, &why) &&
				    why != POOL_CLOSE_MAX_IDLE);
	mutex_unlock(&pool->lock);
	return wanted;
}

void
pool_answer_head(struct pool *pool, struct pool_entry *entry,
	struct pool_waiters *answered)
{
	struct pool_locked *s = pool_locked(pool);
	struct pool_waiter *head = TAILQ_FIRST(&s->queue);

	TAILQ_REMOVE(&s->queue, head, link);
	s->waiting--;
	head->entry = entry;
	head->state = entry != NULL ? POOL_WAITER_GRANTED : POOL_WAITER_FAILED;
	if (head->inbox != NULL)
		TAILQ_INSERT_TAIL(answered, head, link);
	else
		cond_signal(&container_of(head, struct sleeper, waiter)->woken);
}

static void
grant(struct pool *pool, struct pool_conn *conn, int64_t now,
	struct pool_waiters *answered) REQUIRES(pool->lock)
{
	pool_lend(pool, conn, TAILQ_FIRST(&pool_locked(pool)->queue)->holder,
		now);
	pool_answer_head(pool, &conn->entry, answered);
}

void
pool_place(struct pool *pool, struct pool_conn *conn, int64_t now,
	struct pool_waiters *answered)
{
	struct pool_locked *s = pool_locked(pool);
	enum pool_close why;

	if (is_unwanted(pool, conn, now, &why)) {
		pool_condemn(pool, conn, why);
		return;
	}
	if (s->waiting > 0 && !s->suspended) {
		grant(pool, conn, now, answered);
		return;
	}
	if (conn->state != CONN_CHECKING)
		conn->since_ns = now;
	pool_move(pool, conn, CONN_IDLE);
}

void
pool_serve(struct pool *pool, int64_t now, struct pool_waiters *answered)
{
	struct pool_locked *s = pool_locked(pool);

	while (s->waiting > 0 && s->n[CONN_IDLE] > 0)
		grant(pool, TAILQ_LAST(&s->list[CONN_IDLE], pool_conns), now,
			answered);
}
