/* SPDX-License-Identifier: MIT */
/* What operators see of the pool and do to it; no threads. */
#include "common/clock.h"
#include "common/tests/pool_fixture.h"
#include "common/tests/unit.h"

static int
setup(void **state)
{
	static struct fixture f;

	fixture_init(&f);
	*state = &f;
	return 0;
}

/* A pool of `n` idle connections. */
static void
start_idle(struct fixture *f, size_t n, uint64_t seed)
{
	f->config.min_idle = f->config.max_active = n;
	fixture_start(f, seed);
	fixture_settle(f);
	assert_int_equal(fixture_snapshot(f).idle, n);
}

static void
configure(struct fixture *f)
{
	pool_configure(f->pool, &f->config);
	fixture_settle(f);
}

/* ---- looking ---- */

static void
leak_is_reported_once_and_when_it_comes_back(void **state)
{
	struct fixture *f = *state;

	f->config.leak_threshold_ns = 2 * NS_PER_S;
	start_idle(f, 1, 0);
	struct pool_entry *entry = fixture_lend(f);
	fixture_advance_ms(f, 1999);
	fixture_settle(f);
	assert_int_equal(f->leaks, 0);
	fixture_advance_ms(f, 500);
	fixture_settle(f);
	fixture_advance_ms(f, 5000);
	fixture_settle(f);
	assert_int_equal(f->leaks, 1);
	assert_int_equal(f->unleaked, 0);
	fixture_return(f, entry, POOL_REUSE);
	assert_int_equal(f->unleaked, 1);
	assert_int_equal(f->held_ns, 7499 * NS_PER_MS);
	fixture_return(f, fixture_lend(f), POOL_REUSE);
	assert_int_equal(f->unleaked, 1);
	fixture_fini(f);
}

static void
holders_are_named_longest_first(void **state)
{
	struct fixture *f = *state;
	struct pool_holder holders[3];

	start_idle(f, 3, 0);
	struct pool_entry *a = fixture_lend(f);
	fixture_advance_ms(f, 10);
	struct pool_entry *b = fixture_lend(f);
	fixture_advance_ms(f, 5);
	assert_int_equal(pool_holders(f->pool, holders, 3), 2);
	assert_string_equal(holders[0].holder, "test");
	assert_int_equal(holders[0].held_ns, 15 * NS_PER_MS);
	assert_int_equal(holders[1].held_ns, 5 * NS_PER_MS);
	assert_int_equal(pool_holders(f->pool, holders, 1), 1);
	fixture_return(f, a, POOL_REUSE);
	fixture_return(f, b, POOL_REUSE);
	fixture_fini(f);
}

/* ---- changing ---- */

static void
growing_serves_those_who_wait(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter waiters[3];

	start_idle(f, 1, 0);
	struct pool_entry *entry = fixture_lend(f);
	for (size_t i = 0; i < 3; i++)
		fixture_queue(f, &waiters[i]);
	f->config.max_active = 4;
	f->config.min_idle = 0;
	configure(f);
	for (size_t i = 0; i < 3; i++) {
		assert_ptr_equal(fixture_answer(f), &waiters[i]);
		fixture_return(f, waiters[i].entry, POOL_REUSE);
	}
	fixture_return(f, entry, POOL_REUSE);
	assert_int_equal(fixture_snapshot(f).total, 4);
	fixture_fini(f);
}

static void
shrinking_closes_idle_ones_now_and_lent_ones_on_return(void **state)
{
	struct fixture *f = *state;
	struct pool_entry *lent[3];
	struct pool_waiter waiter;

	start_idle(f, 5, 0);
	for (size_t i = 0; i < 3; i++)
		lent[i] = fixture_lend(f);
	f->config.max_active = 1;
	f->config.min_idle = 0;
	configure(f);
	assert_int_equal(f->closed[POOL_CLOSE_SHRUNK], 2);
	fixture_queue(f, &waiter);
	/* the bound comes before the waiter */
	fixture_return(f, lent[0], POOL_REUSE);
	fixture_return(f, lent[1], POOL_REUSE);
	assert_null(fixture_answer(f));
	fixture_return(f, lent[2], POOL_REUSE);
	assert_ptr_equal(fixture_answer(f), &waiter);
	fixture_settle(f);
	assert_int_equal(f->closed[POOL_CLOSE_SHRUNK], 4);
	assert_int_equal(fixture_snapshot(f).total, 1);
	fixture_return(f, waiter.entry, POOL_REUSE);
	fixture_fini(f);
}

static void
shrinking_during_a_connect_drops_it(void **state)
{
	struct fixture *f = *state;

	f->config.max_active = f->config.min_idle = 2;
	fixture_start(f, 0);
	struct pool_conn *a = fixture_take_work(f);
	struct pool_conn *b = fixture_take_work(f);
	f->config.max_active = 1;
	pool_configure(f->pool, &f->config);
	fixture_finish_work(f, a);
	fixture_finish_work(f, b);
	fixture_settle(f);
	assert_int_equal(fixture_snapshot(f).total, 1);
	assert_int_equal(f->closed[POOL_CLOSE_SHRUNK], 1);
	fixture_fini(f);
}

static void
shorter_lifetime_applies_to_old_connections(void **state)
{
	struct fixture *f = *state;

	start_idle(f, 2, 0);
	fixture_advance_ms(f, 20000);
	fixture_settle(f);
	f->config.max_lifetime_ns = 10 * NS_PER_S;
	configure(f);
	assert_int_equal(f->closed[POOL_CLOSE_MAX_LIFETIME], 2);
	fixture_fini(f);
}

static void
eviction_replaces_every_connection(void **state)
{
	struct fixture *f = *state;

	f->config.max_active = f->config.min_idle = 3;
	fixture_start(f, 0);
	assert_true(fixture_work(f));
	assert_true(fixture_work(f));
	struct pool_entry *lent = fixture_lend(f);
	struct pool_conn *opening = fixture_take_work(f);
	pool_evict_all(f->pool, "test");
	assert_int_equal(f->evicted, 2);
	const struct pool_snapshot cut = fixture_snapshot(f);
	assert_int_equal(cut.idle, 0);
	assert_int_equal(cut.active, 1);
	/* this one may have reached the old primary */
	fixture_finish_work(f, opening);
	fixture_return(f, lent, POOL_REUSE);
	fixture_settle(f);
	assert_int_equal(f->closed[POOL_CLOSE_EVICTED], 3);
	assert_int_equal(f->opened, 6);
	assert_int_equal(fixture_snapshot(f).idle, 3);
	fixture_fini(f);
}

/* For who keeps a connection busy without end; see pipeline.c. */
static void
lent_connection_is_wanted_back_for_each_reason(void **state)
{
	struct fixture *f = *state;

	start_idle(f, 2, 0);
	struct pool_entry *lent = fixture_lend(f);
	struct pool_entry *other = fixture_lend(f);
	assert_false(pool_wants_back(f->pool, lent));

	pool_suspend(f->pool);
	assert_true(pool_wants_back(f->pool, lent));
	pool_resume(f->pool);
	assert_false(pool_wants_back(f->pool, lent));

	f->config.max_idle = 0; /* no reason to disturb the borrower */
	configure(f);
	assert_false(pool_wants_back(f->pool, lent));
	f->config.max_active = 1;
	configure(f);
	assert_true(pool_wants_back(f->pool, lent));
	f->config.max_active = f->config.max_idle = 2;
	f->config.max_lifetime_ns = 10 * NS_PER_S;
	configure(f);
	assert_false(pool_wants_back(f->pool, lent));
	fixture_advance_ms(f, 20000);
	assert_true(pool_wants_back(f->pool, lent));
	f->config.max_lifetime_ns = 0;
	configure(f);
	assert_false(pool_wants_back(f->pool, lent));
	pool_evict_all(f->pool, "test");
	assert_true(pool_wants_back(f->pool, lent));

	fixture_return(f, lent, POOL_REUSE);
	fixture_return(f, other, POOL_REUSE);
	fixture_fini(f);
}

static void
who_waits_is_named_longest_first(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter first = { .holder = NULL }, second = first;
	struct pool_holder people[2];

	start_idle(f, 1, 0);
	f->config.max_active = 1;
	configure(f);
	struct pool_entry *lent = fixture_lend(f);
	fixture_queue(f, &first);
	fixture_advance_ms(f, 30);
	fixture_queue(f, &second);
	fixture_advance_ms(f, 10);
	assert_int_equal(pool_waiters(f->pool, people, 1), 1);
	assert_int_equal(pool_waiters(f->pool, people, 2), 2);
	assert_int_equal(people[0].held_ns, 40 * NS_PER_MS);
	assert_int_equal(people[1].held_ns, 10 * NS_PER_MS);
	assert_string_equal(people[0].holder, first.holder);
	assert_true(pool_cancel(f->pool, &first, NULL));
	assert_true(pool_cancel(f->pool, &second, NULL));
	fixture_return(f, lent, POOL_REUSE);
	fixture_fini(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup(test, setup)
		T(leak_is_reported_once_and_when_it_comes_back),
		T(holders_are_named_longest_first),
		T(growing_serves_those_who_wait),
		T(shrinking_closes_idle_ones_now_and_lent_ones_on_return),
		T(shrinking_during_a_connect_drops_it),
		T(shorter_lifetime_applies_to_old_connections),
		T(eviction_replaces_every_connection),
		T(lent_connection_is_wanted_back_for_each_reason),
		T(who_waits_is_named_longest_first),
	};

	return cmocka_run_group_tests_name("pool_admin", tests, NULL, NULL);
}
