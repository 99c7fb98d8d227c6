/* SPDX-License-Identifier: MIT */
/* What the pool does on its own; no threads. */
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

/* ---- opening ---- */

static void
connects_run_in_parallel_up_to_the_bound(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter waiters[5];

	f->config.max_active = 10;
	f->config.max_opening = 3;
	fixture_start(f, 0);
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
		fixture_queue(f, &waiters[i]);
	struct pool_conn *a = fixture_take_work(f);
	struct pool_conn *b = fixture_take_work(f);
	struct pool_conn *c = fixture_take_work(f);
	assert_non_null(c);
	assert_null(fixture_take_work(f));
	const struct pool_snapshot cut = fixture_snapshot(f);
	assert_int_equal(cut.opening, 3);
	assert_int_equal(cut.total, 0);
	fixture_finish_work(f, b);
	fixture_finish_work(f, a);
	fixture_finish_work(f, c);
	fixture_settle(f);
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++) {
		assert_ptr_equal(fixture_answer(f), &waiters[i]);
		fixture_return(f, waiters[i].entry, POOL_REUSE);
	}
	fixture_fini(f);
}

static void
connection_that_comes_back_saves_a_connect(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter a, b;

	f->config.min_idle = 1;
	f->config.max_active = 3;
	f->config.max_opening = 1;
	fixture_start(f, 0);
	fixture_settle(f);
	struct pool_entry *lent = fixture_lend(f);
	f->config.min_idle = 0;
	pool_configure(f->pool, &f->config);
	fixture_queue(f, &a);
	fixture_queue(f, &b);
	struct pool_conn *opening = fixture_take_work(f);
	fixture_return(f, lent, POOL_REUSE); /* serves a */
	fixture_finish_work(f, opening);     /* serves b */
	assert_null(fixture_take_work(f));
	assert_ptr_equal(fixture_answer(f), &a);
	assert_ptr_equal(fixture_answer(f), &b);
	assert_int_equal(f->opened, 2);
	fixture_return(f, a.entry, POOL_REUSE);
	fixture_return(f, b.entry, POOL_REUSE);
	fixture_fini(f);
}

static void
closing_connection_keeps_its_place_until_it_is_gone(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter waiter;

	start_idle(f, 1, 0);
	struct pool_entry *entry = fixture_lend(f);
	fixture_queue(f, &waiter);
	fixture_return(f, entry, POOL_DESTROY);
	assert_int_equal(fixture_snapshot(f).total, 0);
	assert_int_equal(f->live, 1); /* not the caller closes it */
	assert_null(fixture_take_work(f));
	pool_keep(f->pool);
	assert_int_equal(f->live, 0);
	assert_int_equal(f->closed[POOL_CLOSE_DESTROYED], 1);
	assert_true(fixture_work(f));
	assert_ptr_equal(fixture_answer(f), &waiter);
	fixture_return(f, waiter.entry, POOL_REUSE);
	fixture_fini(f);
}

static void
pauses_between_connects_double_up_to_five_seconds(void **state)
{
	struct fixture *f = *state;
	int64_t pause_ms = 10;

	f->config.min_idle = 1;
	f->failing_opens = 12;
	fixture_start(f, 0);
	for (int i = 0; i < 12; i++) {
		assert_true(fixture_work(f));
		fixture_advance_ms(f, pause_ms - 1);
		assert_null(fixture_take_work(f));
		fixture_advance_ms(f, 1);
		pause_ms = pause_ms >= 2500 ? 5000 : 2 * pause_ms;
	}
	assert_true(fixture_work(f));
	const struct pool_snapshot cut = fixture_snapshot(f);
	assert_int_equal(cut.idle, 1);
	assert_int_equal(cut.open_failed, 12);
	assert_int_equal(f->open_failed, 12);
	assert_false(cut.failing);

	/* the next trouble begins with a short pause again */
	fixture_return(f, fixture_lend(f), POOL_DESTROY);
	pool_keep(f->pool);
	f->failing_opens = 1;
	assert_true(fixture_work(f));
	fixture_advance_ms(f, 10);
	assert_true(fixture_work(f));
	fixture_fini(f);
}

static void
pauses_are_shortened_at_random_by_half_at_most(void **state)
{
	struct fixture *f = *state;
	bool differs = false;

	f->config.min_idle = 1;
	f->failing_opens = 60;
	fixture_start(f, 4711);
	while (f->failing_opens > 48) /* until a pause is 5 s */
		if (!fixture_work(f))
			fixture_advance_ms(f, 5000);
	while (f->failing_opens > 0) {
		fixture_advance_ms(f, 5000);
		if (!fixture_work(f))
			continue;
		fixture_advance_ms(f, 2499);
		assert_null(fixture_take_work(f));
		fixture_advance_ms(f, 1000);
		struct pool_conn *early = fixture_take_work(f);
		differs |= early != NULL;
		if (early != NULL)
			fixture_finish_work(f, early);
	}
	assert_true(differs);
	fixture_advance_ms(f, 5000);
	fixture_settle(f);
	fixture_fini(f);
}

static void
connects_that_fail_together_pause_once(void **state)
{
	struct fixture *f = *state;

	f->config.min_idle = 2;
	f->failing_opens = 2;
	fixture_start(f, 0);
	struct pool_conn *a = fixture_take_work(f);
	struct pool_conn *b = fixture_take_work(f);
	fixture_finish_work(f, a);
	fixture_finish_work(f, b);
	fixture_advance_ms(f, 10);
	/* and until one succeeds there is one probe, not two */
	a = fixture_take_work(f);
	assert_non_null(a);
	assert_null(fixture_take_work(f));
	fixture_finish_work(f, a);
	assert_true(fixture_work(f));
	assert_int_equal(fixture_snapshot(f).idle, 2);
	fixture_fini(f);
}

static void
probe_goes_on_though_nobody_waits(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter waiter;

	fixture_start(f, 0);
	fixture_queue(f, &waiter);
	f->failing_opens = 1;
	assert_true(fixture_work(f));
	assert_true(pool_cancel(f->pool, &waiter, NULL));
	fixture_advance_ms(f, 10);
	assert_true(fixture_work(f));
	assert_false(fixture_snapshot(f).failing);
	assert_false(fixture_work(f)); /* and that was all */
	fixture_fini(f);
}

/* ---- time ---- */

static void
idle_connection_ends_with_its_lifetime(void **state)
{
	struct fixture *f = *state;

	f->config.max_lifetime_ns = 60 * NS_PER_S;
	start_idle(f, 1, 0);
	fixture_advance_ms(f, 59999);
	fixture_settle(f);
	assert_int_equal(f->closed[POOL_CLOSE_MAX_LIFETIME], 0);
	fixture_advance_ms(f, 1000); /* the keeper's sweep may be that late */
	fixture_settle(f);
	assert_int_equal(f->closed[POOL_CLOSE_MAX_LIFETIME], 1);
	assert_int_equal(fixture_snapshot(f).idle, 1); /* replaced */
	fixture_fini(f);
}

static void
lent_connection_ends_with_its_lifetime_on_return(void **state)
{
	struct fixture *f = *state;

	f->config.max_lifetime_ns = 60 * NS_PER_S;
	start_idle(f, 1, 0);
	struct pool_entry *entry = fixture_lend(f);
	fixture_advance_ms(f, 120000);
	fixture_settle(f);
	assert_int_equal(f->live, 1);
	fixture_return(f, entry, POOL_REUSE);
	fixture_settle(f);
	assert_int_equal(f->closed[POOL_CLOSE_MAX_LIFETIME], 1);
	fixture_fini(f);
}

static void
lifetimes_are_spread_over_a_quarter(void **state)
{
	struct fixture *f = *state;

	f->config.max_lifetime_ns = 100 * NS_PER_S;
	start_idle(f, 50, 99);
	f->config.min_idle = 0;
	configure(f);
	fixture_advance_ms(f, 74999);
	fixture_settle(f);
	assert_int_equal(f->closed[POOL_CLOSE_MAX_LIFETIME], 0);
	fixture_advance_ms(f, 13000);
	fixture_settle(f);
	assert_in_range(f->closed[POOL_CLOSE_MAX_LIFETIME], 15, 35);
	fixture_advance_ms(f, 13000);
	fixture_settle(f);
	assert_int_equal(f->closed[POOL_CLOSE_MAX_LIFETIME], 50);
	fixture_fini(f);
}

static void
long_idle_connections_go_down_to_min_idle(void **state)
{
	struct fixture *f = *state;

	f->config.idle_timeout_ns = 10 * NS_PER_S;
	start_idle(f, 4, 0);
	f->config.min_idle = 1;
	configure(f);
	fixture_advance_ms(f, 5000);
	fixture_return(f, fixture_lend(f), POOL_REUSE); /* keeps one warm */
	fixture_advance_ms(f, 5000);
	fixture_settle(f);
	assert_int_equal(f->closed[POOL_CLOSE_IDLE_TIMEOUT], 3);
	fixture_advance_ms(f, 50000);
	fixture_settle(f);
	assert_int_equal(fixture_snapshot(f).idle, 1);
	fixture_fini(f);
}

static void
what_comes_back_beyond_max_idle_is_closed(void **state)
{
	struct fixture *f = *state;

	start_idle(f, 2, 0);
	struct pool_entry *a = fixture_lend(f);
	struct pool_entry *b = fixture_lend(f);
	f->config.max_idle = 1;
	configure(f);
	fixture_return(f, a, POOL_REUSE);
	fixture_return(f, b, POOL_REUSE);
	fixture_settle(f);
	assert_int_equal(f->closed[POOL_CLOSE_MAX_IDLE], 1);
	assert_int_equal(fixture_snapshot(f).total, 1);
	fixture_fini(f);
}

/* ---- checks ---- */

static void
idle_connection_is_checked_and_counts_as_active_meanwhile(void **state)
{
	struct fixture *f = *state;

	f->config.keepalive_ns = 30 * NS_PER_S;
	start_idle(f, 2, 0);
	fixture_advance_ms(f, 29000);
	pool_keep(f->pool);
	assert_null(fixture_take_work(f));
	fixture_advance_ms(f, 1000);
	pool_keep(f->pool);
	struct pool_conn *checked = fixture_take_work(f);
	assert_non_null(checked);
	assert_null(fixture_take_work(f)); /* one at a time */
	const struct pool_snapshot cut = fixture_snapshot(f);
	assert_int_equal(cut.active, 1);
	assert_int_equal(cut.idle, 1);
	struct pool_holder holder;
	assert_int_equal(pool_holders(f->pool, &holder, 1), 0);
	fixture_finish_work(f, checked);
	assert_true(fixture_work(f));
	assert_false(fixture_work(f));
	assert_int_equal(fixture_snapshot(f).idle, 2);
	fixture_fini(f);
}

static void
connection_that_fails_its_check_is_replaced(void **state)
{
	struct fixture *f = *state;

	f->config.keepalive_ns = 30 * NS_PER_S;
	start_idle(f, 1, 0);
	fixture_advance_ms(f, 30000);
	f->failing_checks = 1;
	fixture_settle(f);
	assert_int_equal(f->closed[POOL_CLOSE_CHECK_FAILED], 1);
	assert_int_equal(f->opened, 2);
	assert_int_equal(fixture_snapshot(f).idle, 1);
	fixture_fini(f);
}

static void
check_does_not_make_a_connection_look_used(void **state)
{
	struct fixture *f = *state;

	f->config.keepalive_ns = 30 * NS_PER_S;
	f->config.idle_timeout_ns = 100 * NS_PER_S;
	start_idle(f, 2, 0);
	f->config.min_idle = 0;
	configure(f);
	for (int i = 0; i < 3; i++) {
		fixture_advance_ms(f, 31000);
		fixture_settle(f);
	}
	assert_int_equal(fixture_snapshot(f).idle, 2);
	fixture_advance_ms(f, 8000);
	fixture_settle(f);
	assert_int_equal(f->closed[POOL_CLOSE_IDLE_TIMEOUT], 2);
	fixture_fini(f);
}

static void
check_that_ends_serves_whoever_queued_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter waiter;

	f->config.keepalive_ns = 30 * NS_PER_S;
	start_idle(f, 1, 0);
	fixture_advance_ms(f, 30000);
	pool_keep(f->pool);
	struct pool_conn *checked = fixture_take_work(f);
	fixture_queue(f, &waiter);
	fixture_finish_work(f, checked);
	assert_ptr_equal(fixture_answer(f), &waiter);
	fixture_return(f, waiter.entry, POOL_REUSE);
	fixture_fini(f);
}

static void
connection_in_use_needs_no_check(void **state)
{
	struct fixture *f = *state;

	f->config.keepalive_ns = 30 * NS_PER_S;
	start_idle(f, 1, 0);
	fixture_advance_ms(f, 29000);
	fixture_return(f, fixture_lend(f), POOL_REUSE);
	fixture_advance_ms(f, 29000);
	pool_keep(f->pool);
	assert_null(fixture_take_work(f));
	fixture_fini(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup(test, setup)
		T(connects_run_in_parallel_up_to_the_bound),
		T(connection_that_comes_back_saves_a_connect),
		T(closing_connection_keeps_its_place_until_it_is_gone),
		T(pauses_between_connects_double_up_to_five_seconds),
		T(pauses_are_shortened_at_random_by_half_at_most),
		T(connects_that_fail_together_pause_once),
		T(probe_goes_on_though_nobody_waits),
		T(idle_connection_ends_with_its_lifetime),
		T(lent_connection_ends_with_its_lifetime_on_return),
		T(lifetimes_are_spread_over_a_quarter),
		T(long_idle_connections_go_down_to_min_idle),
		T(what_comes_back_beyond_max_idle_is_closed),
		T(idle_connection_is_checked_and_counts_as_active_meanwhile),
		T(connection_that_fails_its_check_is_replaced),
		T(check_does_not_make_a_connection_look_used),
		T(check_that_ends_serves_whoever_queued_meanwhile),
		T(connection_in_use_needs_no_check),
	};

	return cmocka_run_group_tests_name("pool_upkeep", tests, NULL, NULL);
}
