/* SPDX-License-Identifier: MIT */
/* The pool step by step: fake connections, a fake clock, no threads. */
#include "common/clock.h"
#include "common/tests/pool_fixture.h"
#include "common/tests/unit.h"

#include <poll.h>
#include <stddef.h>

static int
setup(void **state)
{
	static struct fixture f;

	fixture_init(&f);
	*state = &f;
	return 0;
}

static bool
is_readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

/* ---- filling and lending ---- */

static void
min_idle_is_filled_before_anyone_asks(void **state)
{
	struct fixture *f = *state;

	f->config.min_idle = 2;
	f->config.max_active = 5;
	fixture_start(f, 0);
	fixture_settle(f);
	assert_int_equal(fixture_snapshot(f).idle, 2);

	struct pool_entry *lent = fixture_lend(f);
	fixture_settle(f);
	const struct pool_snapshot cut = fixture_snapshot(f);
	assert_int_equal(cut.idle, 2);
	assert_int_equal(cut.active, 1);
	assert_int_equal(cut.min, 2);
	assert_int_equal(cut.max, 5);
	fixture_return(f, lent, POOL_REUSE);
	fixture_fini(f);
}

static void
nothing_is_opened_that_nobody_wants(void **state)
{
	struct fixture *f = *state;

	fixture_start(f, 0);
	assert_false(fixture_work(f));
	assert_false(pool_has_connected(f->pool));
	fixture_fini(f);
}

static void
warmest_connection_is_lent_first(void **state)
{
	struct fixture *f = *state;

	f->config.min_idle = 2;
	fixture_start(f, 0);
	fixture_settle(f);
	struct pool_entry *a = fixture_lend(f);
	struct pool_entry *b = fixture_lend(f);
	fixture_return(f, a, POOL_REUSE);
	fixture_return(f, b, POOL_REUSE);
	struct pool_entry *again = fixture_lend(f);
	assert_ptr_equal(again, b);
	fixture_return(f, again, POOL_REUSE);
	fixture_fini(f);
}

static void
blocking_acquire_takes_an_idle_connection(void **state)
{
	struct fixture *f = *state;
	struct pool_entry *entry = NULL;
	struct error err;

	f->config.min_idle = 1;
	fixture_start(f, 0);
	fixture_settle(f);
	assert_int_equal(pool_acquire(f->pool, "test", 0, &entry, &err), 0);
	fixture_advance_ms(f, 30);
	fixture_return(f, entry, POOL_REUSE);
	assert_int_equal(f->acquired, 1);
	assert_int_equal(f->released, 1);
	assert_int_equal(f->held_ns, 30 * NS_PER_MS);
	fixture_fini(f);
}

/* ---- the queue ---- */

static void
waiters_are_served_in_order(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter waiters[5];

	f->config.max_active = 1;
	fixture_start(f, 0);
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
		fixture_queue(f, &waiters[i]);
	assert_false(is_readable(pool_inbox_fd(f->inbox)));
	fixture_advance_ms(f, 20);
	fixture_settle(f);
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++) {
		assert_true(is_readable(pool_inbox_fd(f->inbox)));
		assert_ptr_equal(fixture_answer(f), &waiters[i]);
		assert_null(fixture_answer(f));
		assert_false(is_readable(pool_inbox_fd(f->inbox)));
		assert_int_equal(waiters[i].state, POOL_WAITER_GRANTED);
		assert_int_equal(f->waited_ns, 20 * NS_PER_MS);
		fixture_return(f, waiters[i].entry, POOL_REUSE);
	}
	assert_int_equal(f->opened, 1);
	fixture_fini(f);
}

static void
newcomer_does_not_overtake_the_queue(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter first, second;

	f->config.min_idle = f->config.max_active = 1;
	fixture_start(f, 0);
	fixture_settle(f);
	struct pool_entry *entry = fixture_lend(f);
	fixture_queue(f, &first);
	fixture_return(f, entry, POOL_REUSE);
	/* answered, though `first` has not looked into its inbox yet */
	fixture_queue(f, &second);
	assert_ptr_equal(fixture_answer(f), &first);
	fixture_return(f, first.entry, POOL_REUSE);
	assert_ptr_equal(fixture_answer(f), &second);
	fixture_return(f, second.entry, POOL_REUSE);
	fixture_fini(f);
}

static void
answers_of_one_turn_cost_one_wake_up(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter a, b;
	uint64_t count = 0;

	fixture_start(f, 0);
	fixture_queue(f, &a);
	fixture_queue(f, &b);
	fixture_settle(f);
	assert_int_equal(read(pool_inbox_fd(f->inbox), &count, sizeof(count)),
		sizeof(count));
	assert_int_equal(count, 1);
	assert_int_equal(write(pool_inbox_fd(f->inbox), &count, sizeof(count)),
		sizeof(count));
	assert_ptr_equal(fixture_answer(f), &a);
	assert_ptr_equal(fixture_answer(f), &b);
	fixture_return(f, a.entry, POOL_REUSE);
	fixture_return(f, b.entry, POOL_REUSE);
	fixture_fini(f);
}

static void
cancelled_waiter_leaves_its_place(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter gone, next;

	f->config.min_idle = f->config.max_active = 1;
	fixture_start(f, 0);
	fixture_settle(f);
	struct pool_entry *entry = fixture_lend(f);
	fixture_queue(f, &gone);
	fixture_queue(f, &next);
	assert_true(pool_cancel(f->pool, &gone, NULL));
	assert_int_equal(fixture_snapshot(f).timeouts, 0);
	assert_int_equal(f->refused, 0);
	fixture_return(f, entry, POOL_REUSE);
	assert_ptr_equal(fixture_answer(f), &next);
	fixture_return(f, next.entry, POOL_REUSE);
	fixture_fini(f);
}

static void
cancel_after_the_answer_says_so(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter waiter;
	struct error err = { 0 };

	fixture_start(f, 0);
	fixture_queue(f, &waiter);
	fixture_settle(f);
	assert_false(pool_cancel(f->pool, &waiter, &err));
	assert_int_equal(err.kind, ERROR_NONE);
	assert_ptr_equal(fixture_answer(f), &waiter);
	fixture_return(f, waiter.entry, POOL_REUSE);
	fixture_fini(f);
}

/* ---- refusals and what they say ---- */

static void
exhaustion_names_its_numbers(void **state)
{
	struct fixture *f = *state;
	struct pool_entry *lent[10];
	struct pool_waiter waiters[38];
	struct error err;

	f->config.min_idle = f->config.max_active = 10;
	fixture_start(f, 0);
	fixture_settle(f);
	for (size_t i = 0; i < ARRAY_SIZE(lent); i++)
		lent[i] = fixture_lend(f);
	fixture_queue(f, &waiters[0]);
	fixture_advance_ms(f, 2);
	for (size_t i = 1; i < ARRAY_SIZE(waiters); i++)
		fixture_queue(f, &waiters[i]);
	fixture_advance_ms(f, 498);
	assert_true(pool_cancel(f->pool, &waiters[0], &err));
	assert_int_equal(err.kind, ERROR_EXHAUSTED);
	assert_string_equal(err.msg,
		"Unable to acquire connection from pool: redis, timed out "
		"after 500ms (total=10, active=10, idle=0, waiting=37, "
		"oldestWait=498ms, reason=EXHAUSTED)");
	assert_int_equal(fixture_snapshot(f).timeouts, 1);
	assert_int_equal(f->refused, 1);
	assert_int_equal(f->waited_ns, 500 * NS_PER_MS);

	for (size_t i = 1; i < ARRAY_SIZE(waiters); i++)
		assert_true(pool_cancel(f->pool, &waiters[i], NULL));
	for (size_t i = 0; i < ARRAY_SIZE(lent); i++)
		fixture_return(f, lent[i], POOL_REUSE);
	fixture_fini(f);
}

static void
queue_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter a, b;
	struct error err;

	f->config.max_waiters = 1;
	fixture_start(f, 0);
	fixture_queue(f, &a);
	fixture_advance_ms(f, 7);
	assert_int_equal(pool_request(f->pool, &b, f->inbox, "test", &err),
		-ERROR_QUEUE_FULL);
	assert_string_equal(err.msg,
		"Unable to acquire connection from pool: redis, refused after "
		"0ms (total=0, active=0, idle=0, waiting=1, oldestWait=7ms, "
		"reason=QUEUE_FULL)");
	assert_true(pool_cancel(f->pool, &a, NULL));
	fixture_fini(f);
}

static void
known_dead_server_refuses_at_once(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter early, late;
	struct pool_snapshot cut;
	struct error err;

	fixture_start(f, 0);
	fixture_queue(f, &early);
	f->failing_opens = 1;
	assert_true(fixture_work(f));
	fixture_advance_ms(f, 5);
	assert_int_equal(pool_request(f->pool, &late, f->inbox, "test", &err),
		-ERROR_CONNECT_FAILING);
	assert_string_equal(err.msg,
		"Unable to acquire connection from pool: redis, refused after "
		"0ms (total=0, active=0, idle=0, waiting=1, oldestWait=5ms, "
		"reason=CONNECT_FAILING); connecting failed 5ms ago: refused");
	cut = fixture_snapshot(f);
	assert_true(cut.failing);
	assert_int_equal(cut.last_error_age_ns, 5 * NS_PER_MS);
	assert_int_equal(cut.timeouts, 0); /* it did not wait */

	/* who queued before keeps his place, and the next success is his */
	fixture_advance_ms(f, 5);
	assert_true(fixture_work(f));
	assert_ptr_equal(fixture_answer(f), &early);
	assert_false(fixture_snapshot(f).failing);
	fixture_return(f, early.entry, POOL_REUSE);
	fixture_return(f, fixture_lend(f), POOL_REUSE);
	fixture_fini(f);
}

static void
waiting_for_a_dead_server_is_not_exhaustion(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter waiter;
	struct error err;

	fixture_start(f, 0);
	fixture_queue(f, &waiter);
	f->failing_opens = 1;
	assert_true(fixture_work(f));
	fixture_advance_ms(f, 100);
	assert_true(pool_cancel(f->pool, &waiter, &err));
	assert_int_equal(err.kind, ERROR_CONNECT_FAILING);
	assert_non_null(strstr(err.msg, "timed out after 100ms"));
	assert_int_equal(fixture_snapshot(f).timeouts, 1);
	fixture_fini(f);
}

static void
suspended_pool_lends_nothing_and_opens_nothing(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter a, b;
	struct error err;

	f->config.min_idle = 1;
	fixture_start(f, 0);
	fixture_settle(f);
	pool_suspend(f->pool);
	fixture_queue(f, &a);
	fixture_queue(f, &b);
	fixture_settle(f);
	assert_null(fixture_answer(f));
	assert_int_equal(f->opened, 1);
	assert_true(fixture_snapshot(f).suspended);
	fixture_advance_ms(f, 40);
	assert_true(pool_cancel(f->pool, &a, &err));
	assert_string_equal(err.msg,
		"Unable to acquire connection from pool: redis, timed out "
		"after 40ms (total=1, active=0, idle=1, waiting=1, "
		"oldestWait=40ms, reason=SUSPENDED)");
	pool_resume(f->pool);
	assert_ptr_equal(fixture_answer(f), &b);
	fixture_return(f, b.entry, POOL_REUSE);
	fixture_fini(f);
}

/* A full queue is the lever's doing, not the size's. */
static void
who_finds_no_place_in_a_suspended_pool_is_told_of_the_lever(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter waiter, late;
	struct error err;

	f->config.max_waiters = 1;
	fixture_start(f, 0);
	pool_suspend(f->pool);
	fixture_queue(f, &waiter);
	assert_int_equal(pool_request(f->pool, &late, f->inbox, "test", &err),
		-ERROR_SUSPENDED);
	assert_non_null(strstr(err.msg, "refused after 0ms"));
	assert_true(pool_cancel(f->pool, &waiter, NULL));
	fixture_fini(f);
}

static void
connection_returned_to_a_suspended_pool_stays_idle(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter waiter;

	f->config.min_idle = f->config.max_active = 1;
	fixture_start(f, 0);
	fixture_settle(f);
	struct pool_entry *entry = fixture_lend(f);
	pool_suspend(f->pool);
	fixture_queue(f, &waiter);
	fixture_return(f, entry, POOL_REUSE);
	assert_null(fixture_answer(f));
	assert_int_equal(fixture_snapshot(f).idle, 1);
	pool_resume(f->pool);
	assert_ptr_equal(fixture_answer(f), &waiter);
	fixture_return(f, waiter.entry, POOL_REUSE);
	fixture_fini(f);
}

static void
drained_pool_fails_waiters_and_newcomers(void **state)
{
	struct fixture *f = *state;
	struct pool_waiter waiter, late;
	struct error err;

	f->config.min_idle = f->config.max_active = 1;
	fixture_start(f, 0);
	fixture_settle(f);
	struct pool_entry *entry = fixture_lend(f);
	fixture_queue(f, &waiter);
	assert_false(pool_drain(f->pool, 0));
	assert_ptr_equal(fixture_answer(f), &waiter);
	assert_int_equal(waiter.state, POOL_WAITER_FAILED);
	assert_int_equal(waiter.err.kind, ERROR_CLOSED);
	assert_non_null(strstr(waiter.err.msg, "reason=CLOSED"));
	assert_int_equal(pool_request(f->pool, &late, f->inbox, "test", &err),
		-ERROR_CLOSED);
	fixture_return(f, entry, POOL_REUSE);
	assert_true(pool_drain(f->pool, 0));
	fixture_settle(f);
	assert_int_equal(f->closed[POOL_CLOSE_SHUTDOWN], 1);
	assert_int_equal(f->opened, 1);
	fixture_fini(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup(test, setup)
		T(min_idle_is_filled_before_anyone_asks),
		T(nothing_is_opened_that_nobody_wants),
		T(warmest_connection_is_lent_first),
		T(blocking_acquire_takes_an_idle_connection),
		T(waiters_are_served_in_order),
		T(newcomer_does_not_overtake_the_queue),
		T(answers_of_one_turn_cost_one_wake_up),
		T(cancelled_waiter_leaves_its_place),
		T(cancel_after_the_answer_says_so),
		T(exhaustion_names_its_numbers),
		T(queue_is_bounded),
		T(known_dead_server_refuses_at_once),
		T(waiting_for_a_dead_server_is_not_exhaustion),
		T(suspended_pool_lends_nothing_and_opens_nothing),
		T(who_finds_no_place_in_a_suspended_pool_is_told_of_the_lever),
		T(connection_returned_to_a_suspended_pool_stays_idle),
		T(drained_pool_fails_waiters_and_newcomers),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
