/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * Everything that talks to the server happens here, in max_opening + 1
 * threads: at most max_opening connects and one check at a time, so that a
 * check never delays a connect, and a check that hangs takes one connection
 * out of circulation and no more.
 *
 * How many connects to start is worked out anew each time from what is
 * wanted at that moment, never queued up: a connection that comes back to a
 * waiter takes back the demand that this waiter had made.
 *
 * After a failed connect all wait 10 ms, then twice that and so on up to
 * 5 s, each pause shortened at random by up to half so that the clients of a
 * restarted server do not return in step.  While the server is known to be
 * down one connect at a time is enough, and one is made even if nobody
 * waits: it is the probe that ends the failing-fast.
 */
#include "common/clock.h"
#include "common/lifecycle.h"
#include "common/pool_internal.h"

#include <assert.h>

#define BACKOFF_MIN_NS (10 * NS_PER_MS)
#define BACKOFF_MAX_NS (5 * NS_PER_S)

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* a - b, but never below 0 */
static size_t
less(size_t a, size_t b)
{
	return a > b ? a - b : 0;
}

size_t
pool_opens_wanted(struct pool *pool, int64_t now)
{
	const struct pool_locked *s = pool_locked(pool);
	const size_t opening = s->n[CONN_OPENING];
	const size_t total = pool_total(pool);
	const size_t exist = total + opening + s->n[CONN_CLOSING];
	const size_t parallel = s->failing ? 1 : s->config.max_opening;
	size_t need;

	if (s->drained || s->suspended || (s->failing && now < s->retry_ns))
		return 0;
	need = s->waiting + less(pool_min_idle(pool), s->n[CONN_IDLE]);
	if (s->failing && total == 0 && need == 0)
		need = 1;
	return smaller(smaller(less(need, opening), less(parallel, opening)),
		less(s->config.max_active, exist));
}

void
pool_kick(struct pool *pool, int64_t now)
{
	const struct pool_locked *s = pool_locked(pool);

	if (s->checks_due || pool_opens_wanted(pool, now) > 0)
		cond_signal(&pool->work);
}

static struct pool_conn *
take_open(struct pool *pool, int64_t now) REQUIRES(pool->lock)
{
	struct pool_locked *s = pool_locked(pool);
	struct pool_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		abort();
	conn->state = CONN_OPENING;
	conn->since_ns = now;
	conn->deadline_ns = now + s->config.connect_timeout_ns;
	conn->generation = s->generation;
	conn->jitter = pool_random(pool);
	TAILQ_INSERT_TAIL(&s->list[CONN_OPENING], conn, link);
	s->n[CONN_OPENING]++;
	return conn;
}

static struct pool_conn *
take_check(struct pool *pool, int64_t now) REQUIRES(pool->lock)
{
	struct pool_locked *s = pool_locked(pool);
	struct pool_conn *conn = NULL;

	if (!s->checks_due || s->n[CONN_CHECKING] > 0)
		return NULL;
	TAILQ_FOREACH(conn, &s->list[CONN_IDLE], link)
	{
		if (!pool_wants_check(pool, conn, now))
			continue;
		pool_move(pool, conn, CONN_CHECKING);
		conn->deadline_ns = now + s->config.validation_timeout_ns;
		return conn;
	}
	s->checks_due = false;
	return NULL;
}

struct pool_conn *
pool_work_take(struct pool *pool, int64_t now)
{
	struct pool_conn *conn = pool_opens_wanted(pool, now) > 0
					 ? take_open(pool, now)
					 : take_check(pool, now);

	if (conn != NULL)
		pool_kick(pool, now); /* there may be more for the next */
	return conn;
}

int
pool_work_do(struct pool *pool, struct pool_conn *conn, struct error *err)
{
	/* in these two states a connection is its worker's: no lock needed */
	if (conn->state == CONN_OPENING)
		return pool->methods->open(pool->ctx, conn->deadline_ns,
			&conn->entry.resource, err);
	assert(conn->state == CONN_CHECKING);
	return pool->methods->check(
		pool->ctx, conn->entry.resource, conn->deadline_ns, err);
}

static void
open_succeeded(struct pool *pool, struct pool_conn *conn, int64_t now)
	REQUIRES(pool->lock)
{
	struct pool_locked *s = pool_locked(pool);

	conn->opened_ns = now;
	s->opened++;
	s->failing = false;
	s->backoff_ns = 0;
}

static void
open_failed(struct pool *pool, struct pool_conn *conn, int64_t now,
	const struct error *err) REQUIRES(pool->lock)
{
	struct pool_locked *s = pool_locked(pool);

	pool_forget(pool, conn);
	s->open_failed++;
	s->last_error = *err;
	s->failed_ns = now;
	if (s->failing && now < s->retry_ns)
		return; /* one of several that failed together */
	s->failing = true;
	s->backoff_ns = s->backoff_ns == 0 ? BACKOFF_MIN_NS : 2 * s->backoff_ns;
	if (s->backoff_ns > BACKOFF_MAX_NS)
		s->backoff_ns = BACKOFF_MAX_NS;
	s->retry_ns = now + s->backoff_ns -
		      s->backoff_ns / 2 / POOL_JITTER_MAX * pool_random(pool);
	cond_signal(&pool->keep);
}

/* Where a connection goes after its open or check. */
static void
sort_out(struct pool *pool, struct pool_conn *conn, int rc,
	const struct error *err, struct pool_waiters *answered)
	REQUIRES(pool->lock)
{
	const int64_t now = pool_now(pool);

	if (rc == 0) {
		conn->checked_ns = now;
		if (conn->state == CONN_OPENING)
			open_succeeded(pool, conn, now);
		pool_place(pool, conn, now, answered);
	} else if (conn->state == CONN_OPENING) {
		open_failed(pool, conn, now, err);
	} else {
		pool_condemn(pool, conn, POOL_CLOSE_CHECK_FAILED);
	}
	pool_kick(pool, now);
}

void
pool_work_done(struct pool *pool, struct pool_conn *conn, int rc,
	const struct error *err)
{
	const struct pool_observer *observer = pool->observer;
	struct pool_waiters answered = TAILQ_HEAD_INITIALIZER(answered);

	mutex_lock(&pool->lock);
	/* once placed, it may be lent, returned and closed at any moment */
	const bool opened = conn->state == CONN_OPENING;
	const int64_t since = conn->since_ns;
	sort_out(pool, conn, rc, err, &answered);
	mutex_unlock(&pool->lock);

	const int64_t now = pool_now(pool);

	pool_deliver(pool, &answered, now);
	if (!opened)
		return;
	if (observer->opened != NULL)
		observer->opened(
			observer->ctx, now - since, rc == 0 ? NULL : err);
	if (rc != 0)
		free(conn);
}

void *
pool_worker_main(void *arg)
{
	struct pool *pool = arg;

	thread_set_name("%.10s-work", pool->name);
	mutex_lock(&pool->lock);
	while (!pool_locked(pool)->stopping) {
		struct pool_conn *conn = pool_work_take(pool, pool_now(pool));

		if (conn == NULL) {
			cond_wait(&pool->work, &pool->lock);
			continue;
		}
		mutex_unlock(&pool->lock);
		struct error err = { 0 };
		const int rc = pool_work_do(pool, conn, &err);

		pool_work_done(pool, conn, rc, &err);
		mutex_lock(&pool->lock);
	}
	mutex_unlock(&pool->lock);
	return NULL;
}
