/* SPDX-License-Identifier: MIT */
/*
 * The pool with its own threads and real time: blocking borrowers, event
 * loops and an operator at once.  Meant to run under ThreadSanitizer too.
 */
#include "common/clock.h"
#include "common/pool.h"
#include "common/pool_admin.h"
#include "common/sync.h"
#include "common/tests/unit.h"

#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#define MAX_ACTIVE 4

/* A connection that notices when two threads use it at once. */
struct wire {
	atomic_bool in_use;
	long uses; /* not atomic: TSan sees a missing hand-over */
};

struct server {
	atomic_int live, most_live, opened;
	atomic_int refusals; /* so many connects fail first */
	atomic_bool down;
};

static int
wire_open(void *ctx, int64_t deadline_ns, void **ret, struct error *err)
{
	struct server *server = ctx;
	struct wire *wire;

	(void)deadline_ns;
	if (atomic_load(&server->down) ||
		atomic_fetch_sub(&server->refusals, 1) > 0)
		return error_set(err, ERROR_CONNECTION_LOST, "down");
	wire = calloc(1, sizeof(*wire));
	if (wire == NULL)
		abort();
	const int live = atomic_fetch_add(&server->live, 1) + 1;
	int most = atomic_load(&server->most_live);
	while (live > most &&
		!atomic_compare_exchange_weak(&server->most_live, &most, live))
		;
	atomic_fetch_add(&server->opened, 1);
	*ret = wire;
	return 0;
}

static void
wire_close(void *ctx, void *resource)
{
	struct server *server = ctx;

	free(resource);
	atomic_fetch_sub(&server->live, 1);
}

static void
wire_use(struct wire *wire)
{
	if (atomic_exchange(&wire->in_use, true))
		abort();
	wire->uses++;
	atomic_store(&wire->in_use, false);
}

static int
wire_check(void *ctx, void *resource, int64_t deadline_ns, struct error *err)
{
	struct wire *wire = resource;

	(void)ctx;
	(void)deadline_ns;
	wire_use(wire);
	if (wire->uses % 64 == 0)
		return error_set(err, ERROR_CONNECTION_LOST, "worn");
	return 0;
}

static const struct pool_methods methods = {
	.open = wire_open,
	.close = wire_close,
	.check = wire_check,
};

static const struct pool_config config = {
	.name = "test",
	.max_active = MAX_ACTIVE,
	.max_idle = MAX_ACTIVE,
	.min_idle = 1,
	.max_waiters = 1000,
	.max_opening = 2,
	.max_wait_ns = 10 * NS_PER_S,
	.connect_timeout_ns = NS_PER_S,
	.validation_timeout_ns = NS_PER_S,
	.max_lifetime_ns = 50 * NS_PER_MS,
	.idle_timeout_ns = 30 * NS_PER_MS,
	.keepalive_ns = 10 * NS_PER_MS,
	.leak_threshold_ns = NS_PER_S,
};

struct run {
	struct pool *pool;
	atomic_bool stop;
	atomic_long lent;
};

static void
give_back(struct run *run, struct pool_entry *entry, unsigned *seed)
{
	wire_use(entry->resource);
	atomic_fetch_add(&run->lent, 1);
	pool_release(run->pool, &entry,
		rand_r(seed) % 16 == 0 ? POOL_DESTROY : POOL_REUSE);
}

static void *
blocking_borrower(void *arg)
{
	struct run *run = arg;
	unsigned seed = (unsigned)(uintptr_t)&seed;

	while (!atomic_load(&run->stop)) {
		struct pool_entry *entry;
		struct error err;
		/* now and then a deadline that cannot be kept */
		const int64_t wait = rand_r(&seed) % 8 == 0 ? 0 : 5 * NS_PER_S;

		if (pool_acquire(run->pool, "thread", clock_now_ns() + wait,
			    &entry, &err) == 0)
			give_back(run, entry, &seed);
		else if (wait != 0)
			abort(); /* five seconds are plenty */
	}
	return NULL;
}

#define LOOP_WAITERS 8

/* A new place in the queue, or perhaps leave the old one. */
static void
ask_or_cancel(struct run *run, struct pool_inbox *inbox,
	struct pool_waiter *waiter, bool *queued, unsigned *seed)
{
	struct error err;

	if (*queued) {
		if (rand_r(seed) % 4 == 0)
			*queued = !pool_cancel(run->pool, waiter, NULL);
		return;
	}
	const int rc = pool_request(run->pool, waiter, inbox, "loop", &err);
	if (rc == 0)
		give_back(run, waiter->entry, seed);
	else if (rc != -ERROR_BUSY)
		abort();
	*queued = rc == -ERROR_BUSY;
}

static void *
event_loop(void *arg)
{
	struct run *run = arg;
	struct pool_inbox *inbox = pool_inbox_new();
	struct pool_waiter waiters[LOOP_WAITERS] = { 0 };
	bool queued[LOOP_WAITERS] = { false };
	unsigned seed = (unsigned)(uintptr_t)&seed;
	size_t n_queued = 1;

	while (!atomic_load(&run->stop) || n_queued > 0) {
		struct pollfd pfd = { .fd = pool_inbox_fd(inbox),
			.events = POLLIN };

		for (size_t i = 0; i < LOOP_WAITERS; i++)
			if (queued[i] || !atomic_load(&run->stop))
				ask_or_cancel(run, inbox, &waiters[i],
					&queued[i], &seed);
		(void)poll(&pfd, 1, 1);
		struct pool_waiter *waiter;
		while ((waiter = pool_inbox_take(inbox)) != NULL) {
			if (waiter->state != POOL_WAITER_GRANTED)
				abort();
			queued[waiter - waiters] = false;
			give_back(run, waiter->entry, &seed);
		}
		n_queued = 0;
		for (size_t i = 0; i < LOOP_WAITERS; i++)
			n_queued += queued[i];
	}
	pool_inbox_free(inbox);
	return NULL;
}

/* Every counter must agree with every other at any moment. */
static void
operate(struct run *run, int64_t until_ns)
{
	struct pool_config changed = config;
	unsigned seed = 7;

	while (clock_now_ns() < until_ns) {
		struct pool_snapshot cut;
		struct pool_holder holders[MAX_ACTIVE];

		changed.max_active = 1 + (size_t)rand_r(&seed) % MAX_ACTIVE;
		pool_configure(run->pool, &changed);
		if (rand_r(&seed) % 4 == 0)
			pool_evict_all(run->pool, "test");
		pool_suspend(run->pool);
		pool_snapshot(run->pool, &cut);
		pool_resume(run->pool);
		assert_int_equal(cut.active + cut.idle, cut.total);
		assert_true(cut.total <= MAX_ACTIVE);
		assert_true(pool_holders(run->pool, holders, MAX_ACTIVE) <=
			    MAX_ACTIVE);
		(void)poll(NULL, 0, 2);
	}
}

static void
mixed_borrowers_share_without_harm(void **state)
{
	struct server server = { 0 };
	struct run run = { .pool = pool_new(&config, &methods, &server, NULL) };
	pthread_t threads[6];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL,
				i % 2 == 0 ? blocking_borrower : event_loop,
				&run),
			0);
	operate(&run, clock_now_ns() + 800 * NS_PER_MS);
	atomic_store(&run.stop, true);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_true(pool_drain(run.pool, clock_now_ns() + NS_PER_S));
	pool_free(run.pool);
	assert_true(atomic_load(&run.lent) > 100);
	assert_int_equal(atomic_load(&server.live), 0);
	assert_true(atomic_load(&server.most_live) <= MAX_ACTIVE);
}

static void
blocking_acquire_ends_at_the_nearer_limit(void **state)
{
	struct server server = { 0 };
	struct pool_config one = config;
	struct pool_entry *entry, *none = NULL;
	struct error err;

	(void)state;
	one.max_active = 1;
	one.max_wait_ns = 20 * NS_PER_MS;
	struct pool *pool = pool_new(&one, &methods, &server, NULL);
	const int64_t start = clock_now_ns();
	while (pool_acquire(pool, "a", start + NS_PER_S, &entry, &err) != 0)
		assert_true(clock_now_ns() < start + NS_PER_S);

	/* bounds are wide: the machine may be busy */
	const int64_t t0 = clock_now_ns();
	assert_int_equal(
		pool_acquire(pool, "b", t0 + 9 * NS_PER_S, &none, &err),
		-ERROR_EXHAUSTED);
	const int64_t t1 = clock_now_ns();
	assert_in_range(t1 - t0, 20 * NS_PER_MS, 5 * NS_PER_S);
	assert_non_null(strstr(err.msg, "test, timed out after "));
	one.max_wait_ns = 9 * NS_PER_S;
	pool_configure(pool, &one);
	assert_int_equal(
		pool_acquire(pool, "b", t1 + 20 * NS_PER_MS, &none, &err),
		-ERROR_EXHAUSTED);
	assert_in_range(clock_now_ns() - t1, 20 * NS_PER_MS, 5 * NS_PER_S);
	assert_null(none); /* untouched on failure */
	pool_release(pool, &entry, POOL_REUSE);
	assert_true(pool_drain(pool, clock_now_ns() + NS_PER_S));
	pool_free(pool);
}

static void
recovery_needs_no_caller(void **state)
{
	struct server server = { .down = true };
	struct pool_config none = config;
	struct pool_entry *entry;
	struct error err;

	(void)state;
	none.min_idle = 0;
	struct pool *pool = pool_new(&none, &methods, &server, NULL);
	const int64_t limit = clock_now_ns() + 5 * NS_PER_S;
	/* until its worker came to the first attempt, it is just empty */
	while (pool_acquire(pool, "a", clock_now_ns() + 30 * NS_PER_MS, &entry,
		       &err) == -ERROR_EXHAUSTED)
		assert_true(clock_now_ns() < limit);
	assert_int_equal(err.kind, ERROR_CONNECT_FAILING);
	atomic_store(&server.down, false);
	while (!pool_has_connected(pool)) {
		assert_true(clock_now_ns() < limit);
		(void)poll(NULL, 0, 1);
	}
	assert_int_equal(pool_acquire(pool, "a", limit, &entry, &err), 0);
	pool_release(pool, &entry, POOL_REUSE);
	assert_true(pool_drain(pool, limit));
	pool_free(pool);
}

/*
 * Without times to watch, the keeper sweeps once a second.  Whoever forgot to
 * wake somebody would be rescued by that sweep, a second late each time; so
 * twenty rounds that take less than three seconds were not rescued.
 */
static struct pool *
new_still_pool(struct server *server, size_t max_active)
{
	struct pool_config still = config;

	still.max_active = still.max_idle = max_active;
	still.min_idle = 0;
	still.max_lifetime_ns = still.idle_timeout_ns = 0;
	still.keepalive_ns = still.leak_threshold_ns = 0;
	return pool_new(&still, &methods, server, NULL);
}

#define ROUNDS 20

static void
queueing_wakes_a_worker(void **state)
{
	struct server server = { 0 };
	struct pool *pool = new_still_pool(&server, ROUNDS);
	const int64_t start = clock_now_ns();
	struct pool_entry *entries[ROUNDS];
	struct error err;

	(void)state;
	for (int i = 0; i < ROUNDS; i++)
		assert_int_equal(pool_acquire(pool, "a", start + 9 * NS_PER_S,
					 &entries[i], &err),
			0);
	assert_in_range(clock_now_ns() - start, 0, 3 * NS_PER_S);
	for (int i = 0; i < ROUNDS; i++)
		pool_release(pool, &entries[i], POOL_REUSE);
	pool_free(pool);
}

static void
closing_and_failing_wake_a_worker(void **state)
{
	/* five pauses of 10 to 160 ms */
	struct server server = { .refusals = 5 };
	struct pool *pool = new_still_pool(&server, 1);
	const int64_t start = clock_now_ns();
	struct pool_entry *entry;
	struct error err;

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(pool_acquire(pool, "a", start + 9 * NS_PER_S,
					 &entry, &err),
			0);
		pool_release(pool, &entry, POOL_DESTROY);
	}
	assert_in_range(clock_now_ns() - start, 0, 3 * NS_PER_S);
	pool_free(pool);
}

struct sleeper_thread {
	struct pool *pool;
	int rc;
};

static void *
wait_for_ever(void *arg)
{
	struct sleeper_thread *self = arg;
	struct pool_entry *entry;
	struct error err;

	self->rc = pool_acquire(self->pool, "sleeper",
		clock_now_ns() + 100 * NS_PER_S, &entry, &err);
	return NULL;
}

static void
drain_wakes_sleepers_and_waits_for_the_lent(void **state)
{
	struct server server = { 0 };
	struct pool_config one = config;
	struct pool_entry *entry;
	struct pool_snapshot cut = { 0 };
	struct error err;
	pthread_t thread;

	(void)state;
	one.max_active = 1;
	one.max_wait_ns = 0;
	struct pool *pool = pool_new(&one, &methods, &server, NULL);
	const int64_t limit = clock_now_ns() + 5 * NS_PER_S;
	assert_int_equal(pool_acquire(pool, "a", limit, &entry, &err), 0);
	struct sleeper_thread sleeper = { .pool = pool };
	assert_int_equal(
		pthread_create(&thread, NULL, wait_for_ever, &sleeper), 0);
	while (cut.waiting == 0)
		pool_snapshot(pool, &cut);
	assert_false(pool_drain(pool, clock_now_ns() + 5 * NS_PER_MS));
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(sleeper.rc, -ERROR_CLOSED);
	pool_release(pool, &entry, POOL_REUSE);
	assert_true(pool_drain(pool, limit));
	pool_free(pool);
	assert_int_equal(atomic_load(&server.live), 0);
}

struct late_return {
	struct pool *pool;
	struct pool_entry *entry;
};

static void *
return_later(void *arg)
{
	struct late_return *self = arg;

	(void)poll(NULL, 0, 50);
	pool_release(self->pool, &self->entry, POOL_REUSE);
	return NULL;
}

static void
drain_ends_when_the_last_one_is_back(void **state)
{
	struct server server = { 0 };
	const int64_t start = clock_now_ns();
	struct late_return late;
	struct error err;
	pthread_t thread;

	(void)state;
	late.pool = pool_new(&config, &methods, &server, NULL);
	assert_int_equal(pool_acquire(late.pool, "a", start + 5 * NS_PER_S,
				 &late.entry, &err),
		0);
	assert_int_equal(pthread_create(&thread, NULL, return_later, &late), 0);
	assert_true(pool_drain(late.pool, start + 20 * NS_PER_S));
	assert_in_range(clock_now_ns() - start, 50 * NS_PER_MS, 9 * NS_PER_S);
	assert_int_equal(pthread_join(thread, NULL), 0);
	pool_free(late.pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mixed_borrowers_share_without_harm),
		cmocka_unit_test(blocking_acquire_ends_at_the_nearer_limit),
		cmocka_unit_test(recovery_needs_no_caller),
		cmocka_unit_test(queueing_wakes_a_worker),
		cmocka_unit_test(closing_and_failing_wake_a_worker),
		cmocka_unit_test(drain_ends_when_the_last_one_is_back),
		cmocka_unit_test(drain_wakes_sleepers_and_waits_for_the_lent),
	};

	return cmocka_run_group_tests_name("pool_threads", tests, NULL, NULL);
}
