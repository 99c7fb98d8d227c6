/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * One lock, one queue, five lists.  A connection is in the list of its state
 * (pool_internal.h), and every counter is the length of a list:
 *
 *                 open                   release, nobody waits
 *     OPENING ----------> IDLE <-------------------------------.
 *        |  \              |  ^ `-------> CHECKING             |
 *        |   \     acquire |  |  keepalive  |  |               |
 *        |    \            v  `-------------'  |               |
 *        |     `--------> LENT <---------------'-----------> (LENT)
 *        |  someone waits  |    release or check, someone waits
 *        |                 |
 *        v                 v   destroyed, expired, evicted, surplus
 *      (gone)           CLOSING ----> (gone)
 *
 * The whole of it, all lists together, never exceeds max_active; so neither
 * does the number of sockets the server sees.
 *
 * acquire:  lends the warmest idle connection if nobody queues; else takes
 * the last place in the queue.  There is no other way to a connection, hence
 * no barging; and whoever makes a connection free (a release, a finished
 * open or check) gives it to the head of the queue before the lock is
 * released, hence the invariant that while somebody waits nothing is idle
 * (a suspended pool excepted).
 *
 * release:  condemned if dirty or unwanted, handed on if somebody waits, else
 * idle.  Closing is the keeper's, opening and checking the workers': a caller
 * waits for nothing but its turn.  Opening in the caller's own thread, as
 * commons-pool2 does, was rejected: the caller could not use a connection
 * that comes back meanwhile, and every deadline would have to be divided.
 *
 * wake-ups:  every waiting thread has a condition variable of its own, so
 * that a grant wakes the one it is for.  An event loop is told through its
 * inbox, after the lock has been released.  Between the grant and the inbox
 * the waiter is already GRANTED and in no list: pool_cancel() then says that
 * the answer is on its way, and that is the truth.
 *
 * failing fast:  the last connect failed and there is no connection: a
 * newcomer is refused at once.  Who queued before that keeps his place until
 * his deadline; the first successful connect serves him.
 *
 * Lock order: pool, then nothing (an inbox's lock is taken without it).
 */
#include "common/clock.h"
#include "common/pool_internal.h"

#include <assert.h>
#include <sys/random.h>

int64_t
pool_now(const struct pool *pool)
{
	return pool->env.now_ns(pool->env.arg);
}

struct pool_locked *
pool_locked(struct pool *pool)
{
	return &pool->locked_;
}

static void
observe_acquired(
	const struct pool *pool, int64_t waited_ns, const struct error *err)
{
	if (pool->observer->acquired != NULL)
		pool->observer->acquired(pool->observer->ctx, waited_ns, err);
}

/* The warmest idle connection, lent; NULL when there is none to be had. */
static struct pool_entry *
lend_idle(struct pool *pool, const char *holder, int64_t now)
	REQUIRES(pool->lock)
{
	const struct pool_locked *s = pool_locked(pool);

	if (s->n[CONN_IDLE] == 0 || s->suspended)
		return NULL;
	assert(s->waiting == 0); /* the invariant: nobody is overtaken */
	struct pool_conn *warmest = TAILQ_LAST(&s->list[CONN_IDLE], pool_conns);
	pool_lend(pool, warmest, holder, now);
	return &warmest->entry;
}

/*
 * Lend (ERROR_NONE, waiter->entry set), take a place in the queue
 * (ERROR_BUSY), or say why not.
 */
static enum error_kind
enter(struct pool *pool, struct pool_waiter *waiter, int64_t now)
	REQUIRES(pool->lock)
{
	struct pool_locked *s = pool_locked(pool);

	if (s->drained)
		return ERROR_CLOSED;
	waiter->entry = lend_idle(pool, waiter->holder, now);
	if (waiter->entry != NULL)
		return ERROR_NONE;
	if (s->failing && pool_total(pool) == 0 && !s->suspended)
		return ERROR_CONNECT_FAILING;
	if (s->waiting >= s->config.max_waiters)
		return s->suspended ? ERROR_SUSPENDED : ERROR_QUEUE_FULL;
	waiter->since_ns = now;
	waiter->state = POOL_WAITER_QUEUED;
	TAILQ_INSERT_TAIL(&s->queue, waiter, link);
	s->waiting++;
	pool_kick(pool, now);
	return ERROR_BUSY;
}

/* Give up the place after the deadline; what was the matter? */
static enum error_kind
give_up(struct pool *pool, struct pool_waiter *waiter) REQUIRES(pool->lock)
{
	struct pool_locked *s = pool_locked(pool);

	assert(waiter->state == POOL_WAITER_QUEUED);
	TAILQ_REMOVE(&s->queue, waiter, link);
	s->waiting--;
	waiter->state = POOL_WAITER_OUT;
	if (s->suspended)
		return ERROR_SUSPENDED;
	if (s->failing && pool_total(pool) == 0)
		return ERROR_CONNECT_FAILING;
	return ERROR_EXHAUSTED;
}

/* Sleep until the waiter is answered or its time is up. */
static enum error_kind
sleep_in_queue(struct pool *pool, struct sleeper *self, int64_t deadline_ns)
	REQUIRES(pool->lock)
{
	struct pool_locked *s = pool_locked(pool);
	const int64_t max_wait = s->config.max_wait_ns;
	const int64_t since = self->waiter.since_ns;
	bool in_time = true;

	if (max_wait > 0 && deadline_ns - since > max_wait)
		deadline_ns = since + max_wait;
	while (self->waiter.state == POOL_WAITER_QUEUED && in_time)
		in_time =
			cond_wait_until(&self->woken, &pool->lock, deadline_ns);
	if (self->waiter.state == POOL_WAITER_GRANTED)
		return ERROR_NONE;
	if (self->waiter.state == POOL_WAITER_FAILED)
		return ERROR_CLOSED;
	s->timeouts++;
	return give_up(pool, &self->waiter);
}

static int
acquire_slowly(struct pool *pool, struct sleeper *self, int64_t deadline_ns,
	struct pool_entry **ret, struct error *err)
{
	const int64_t start = pool_now(pool);
	struct pool_snapshot cut;

	cond_init(&self->woken);
	mutex_lock(&pool->lock);
	enum error_kind kind = enter(pool, &self->waiter, start);
	if (kind == ERROR_BUSY)
		kind = sleep_in_queue(pool, self, deadline_ns);
	const int64_t now = pool_now(pool);
	if (kind != ERROR_NONE)
		pool_cut(pool, &cut, now);
	mutex_unlock(&pool->lock);
	cond_fini(&self->woken);

	if (kind != ERROR_NONE) {
		const int rc = pool_refuse(pool, &cut, kind, now - start, err);

		observe_acquired(pool, now - start, err);
		return rc;
	}
	*ret = self->waiter.entry;
	observe_acquired(pool, now - start, NULL);
	return 0;
}

int
pool_acquire(struct pool *pool, const char *holder, int64_t deadline_ns,
	struct pool_entry **ret, struct error *err)
{
	const int64_t now = pool_now(pool);

	mutex_lock(&pool->lock);
	struct pool_entry *entry = lend_idle(pool, holder, now);
	mutex_unlock(&pool->lock);
	if (entry == NULL) {
		struct sleeper self = { .waiter.holder = holder };

		return acquire_slowly(pool, &self, deadline_ns, ret, err);
	}
	observe_acquired(pool, 0, NULL);
	*ret = entry;
	return 0;
}

int
pool_request(struct pool *pool, struct pool_waiter *waiter,
	struct pool_inbox *inbox, const char *holder, struct error *err)
{
	const int64_t now = pool_now(pool);
	struct pool_snapshot cut;

	waiter->inbox = inbox;
	waiter->holder = holder;
	waiter->state = POOL_WAITER_OUT;
	mutex_lock(&pool->lock);
	const enum error_kind kind = enter(pool, waiter, now);
	if (kind != ERROR_NONE && kind != ERROR_BUSY)
		pool_cut(pool, &cut, now);
	mutex_unlock(&pool->lock);

	if (kind == ERROR_BUSY) /* the waiter may be answered already */
		return -ERROR_BUSY;
	if (kind != ERROR_NONE) {
		const int rc = pool_refuse(pool, &cut, kind, 0, err);

		observe_acquired(pool, 0, err);
		return rc;
	}
	observe_acquired(pool, 0, NULL);
	return 0;
}

bool
pool_cancel(struct pool *pool, struct pool_waiter *waiter, struct error *err)
{
	const int64_t now = pool_now(pool);
	enum error_kind kind = ERROR_NONE;
	struct pool_snapshot cut;

	mutex_lock(&pool->lock);
	const bool queued = waiter->state == POOL_WAITER_QUEUED;
	if (queued)
		kind = give_up(pool, waiter);
	if (queued && err != NULL) {
		pool_locked(pool)->timeouts++;
		pool_cut(pool, &cut, now);
	}
	mutex_unlock(&pool->lock);

	if (queued && err != NULL) {
		(void)pool_refuse(
			pool, &cut, kind, now - waiter->since_ns, err);
		observe_acquired(pool, now - waiter->since_ns, err);
	}
	return queued;
}

void
pool_release(struct pool *pool, struct pool_entry **entry, enum pool_return how)
{
	struct pool_conn *conn = container_of(*entry, struct pool_conn, entry);
	const struct pool_observer *observer = pool->observer;
	const int64_t now = pool_now(pool);
	struct pool_waiters answered = TAILQ_HEAD_INITIALIZER(answered);

	*entry = NULL;
	mutex_lock(&pool->lock);
	assert(conn->state == CONN_LENT); /* else: given back twice */
	const int64_t held = now - conn->since_ns;
	const char *leaker = conn->leak_reported ? conn->holder : NULL;
	conn->checked_ns = now;
	if (how == POOL_DESTROY)
		pool_condemn(pool, conn, POOL_CLOSE_DESTROYED);
	else
		pool_place(pool, conn, now, &answered);
	mutex_unlock(&pool->lock);

	pool_deliver(pool, &answered, now);
	if (observer->released != NULL)
		observer->released(observer->ctx, held);
	if (leaker != NULL && observer->leak != NULL)
		observer->leak(observer->ctx, leaker, held, true);
}

void
pool_config_check(const struct pool_config *config)
{
	assert(config->name != NULL && config->max_active >= 1);
	assert(config->max_opening >= 1 &&
		config->max_opening <= POOL_OPENING_MAX);
	assert(config->connect_timeout_ns > 0 &&
		config->validation_timeout_ns > 0);
}

static void
start_thread(struct pool *pool, void *(*main)(void *))
{
	sync_must(pthread_create(
		&pool->threads[pool->n_threads], NULL, main, pool));
	pool->n_threads++;
}

struct pool *
pool_new_in(const struct pool_env *env, const struct pool_config *config,
	const struct pool_methods *methods, void *ctx,
	const struct pool_observer *observer)
{
	static const struct pool_observer nobody;
	struct pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL)
		abort();
	pool_config_check(config);
	pool->name = config->name;
	pool->methods = methods;
	pool->ctx = ctx;
	pool->observer = observer != NULL ? observer : &nobody;
	pool->env = *env;
	mutex_init(&pool->lock);
	cond_init(&pool->work);
	cond_init(&pool->keep);
	cond_init(&pool->returned);
	pool->locked_.config = *config;
	pool->locked_.random = env->seed;
	TAILQ_INIT(&pool->locked_.queue);
	for (int state = 0; state < CONN_STATES; state++)
		TAILQ_INIT(&pool->locked_.list[state]);
	if (!env->threads)
		return pool;
	start_thread(pool, pool_keeper_main);
	for (size_t i = 0; i < config->max_opening + 1; i++)
		start_thread(pool, pool_worker_main);
	return pool;
}

static int64_t
real_now(void *arg)
{
	(void)arg;
	return clock_now_ns();
}

struct pool *
pool_new(const struct pool_config *config, const struct pool_methods *methods,
	void *ctx, const struct pool_observer *observer)
{
	struct pool_env env = { .now_ns = real_now, .threads = true };

	if (getrandom(&env.seed, sizeof(env.seed), 0) != sizeof(env.seed))
		env.seed = (uint64_t)clock_now_ns();
	return pool_new_in(&env, config, methods, ctx, observer);
}

static void
stop_threads(struct pool *pool)
{
	mutex_lock(&pool->lock);
	pool_locked(pool)->stopping = true;
	cond_broadcast(&pool->work);
	cond_broadcast(&pool->keep);
	mutex_unlock(&pool->lock);
	while (pool->n_threads > 0)
		sync_must(pthread_join(pool->threads[--pool->n_threads], NULL));
}

void
pool_free(struct pool *pool)
{
	if (pool == NULL)
		return;
	(void)pool_drain(pool, 0); /* a check may still be under way */
	stop_threads(pool);
	pool_close_condemned(pool);
	for (int state = 0; state < CONN_STATES; state++)
		assert(pool->locked_.n[state] == 0);
	cond_fini(&pool->work);
	cond_fini(&pool->keep);
	cond_fini(&pool->returned);
	mutex_fini(&pool->lock);
	free(pool);
}
