/* SPDX-License-Identifier: MIT */
#include "api/breaker.h"
#include "common/clock.h"
#include "common/tests/unit.h"

#include <pthread.h>
#include <stdatomic.h>

#define S NS_PER_S

static const struct breaker_config by_count = {
	.enabled = true,
	.window_size = 10,
	.minimum_calls = 10,
	.half_open_calls = 3,
	.failure_rate = 50,
	.slow_rate = 100,
	.slow_call_ns = 1 * S,
	.open_ns = 10 * S,
	.first_open_ns = 10 * S,
};

static const struct breaker_config by_time = {
	.enabled = true,
	.time_based = true,
	.window_size = 10,
	.minimum_calls = 20,
	.half_open_calls = 3,
	.failure_rate = 50,
	.slow_rate = 100,
	.slow_call_ns = 1 * S,
	.open_ns = 8 * S,
	.first_open_ns = 1 * S,
};

static enum breaker_state
state_at(struct breaker *breaker, int64_t now)
{
	struct breaker_snapshot snapshot;

	breaker_snapshot(breaker, now, &snapshot);
	return snapshot.state;
}

/* `n` calls at `now` that end `took` later. */
static void
calls(struct breaker *breaker, int n, int64_t now, int64_t took,
	enum breaker_outcome outcome)
{
	struct breaker_permit permit;

	for (int i = 0; i < n; i++) {
		assert_true(breaker_acquire(breaker, now, now + S, &permit));
		breaker_record(breaker, &permit, now + took, outcome);
	}
}

static void
trip(struct breaker *breaker, int64_t now)
{
	calls(breaker, 10, now, 0, BREAKER_FAILURE);
	assert_int_equal(state_at(breaker, now), BREAKER_OPEN);
}

static void
the_first_state_counts_from_the_start(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 5 * NS_PER_S);
	struct breaker_snapshot snapshot;

	breaker_snapshot(breaker, 7 * NS_PER_S, &snapshot);
	assert_int_equal(snapshot.in_state_ns, 2 * NS_PER_S);
	breaker_free(breaker);
}

static void
stays_closed_below_the_minimum_of_calls(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);
	struct breaker_snapshot snapshot;

	calls(breaker, 9, 0, 0, BREAKER_FAILURE);
	breaker_snapshot(breaker, 0, &snapshot);
	assert_int_equal(snapshot.state, BREAKER_CLOSED);
	assert_int_equal(snapshot.buffered, 9);
	assert_true(snapshot.failure_rate < 0);
	calls(breaker, 1, 0, 0, BREAKER_SUCCESS);
	assert_int_equal(state_at(breaker, 0), BREAKER_OPEN);
	breaker_free(breaker);
}

static void
opens_at_the_threshold_not_below(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);

	calls(breaker, 6, 0, 0, BREAKER_SUCCESS);
	calls(breaker, 4, 0, 0, BREAKER_FAILURE);
	assert_int_equal(state_at(breaker, 0), BREAKER_CLOSED);
	/* The oldest success falls out of the window of ten. */
	calls(breaker, 1, 0, 0, BREAKER_FAILURE);
	assert_int_equal(state_at(breaker, 0), BREAKER_OPEN);
	breaker_free(breaker);
}

static void
a_slow_call_is_longer_than_the_threshold(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);
	struct breaker_snapshot snapshot;

	calls(breaker, 10, 0, 1 * S, BREAKER_SUCCESS);
	breaker_snapshot(breaker, 0, &snapshot);
	assert_int_equal(snapshot.slow, 0);
	calls(breaker, 9, 0, 1 * S + 1, BREAKER_SUCCESS);
	assert_int_equal(state_at(breaker, 0), BREAKER_CLOSED);
	calls(breaker, 1, 0, 1 * S + 1, BREAKER_SUCCESS);
	assert_int_equal(state_at(breaker, 0), BREAKER_OPEN);
	breaker_free(breaker);
}

static void
open_refuses_until_strictly_after_its_time(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);
	struct breaker_permit permit;
	struct breaker_snapshot snapshot;

	trip(breaker, 0);
	assert_false(breaker_acquire(breaker, 1, S, &permit));
	assert_false(breaker_acquire(breaker, 10 * S, 11 * S, &permit));
	assert_true(breaker_acquire(breaker, 10 * S + 1, 11 * S, &permit));
	breaker_snapshot(breaker, 10 * S + 1, &snapshot);
	assert_int_equal(snapshot.state, BREAKER_HALF_OPEN);
	assert_int_equal(snapshot.not_permitted, 2);
	breaker_free(breaker);
}

/* A probe may end it at any moment: nobody is sent away for the whole time. */
static void
who_is_refused_while_open_is_told_to_come_soon(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);

	assert_int_equal(breaker_retry_after_ns(breaker, 0), 0);
	trip(breaker, 0);
	assert_int_equal(breaker_retry_after_ns(breaker, 4 * S), S);
	assert_int_equal(breaker_retry_after_ns(breaker, 10 * S - 5), 5);
	assert_int_equal(breaker_retry_after_ns(breaker, 11 * S), 0);
	breaker_force(breaker, BREAKER_FORCED_OPEN, 4 * S);
	assert_int_equal(breaker_retry_after_ns(breaker, 5 * S), 10 * S);
	breaker_free(breaker);
}

static void
half_open_lets_only_the_trials_through(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);
	struct breaker_permit permit[4];
	int64_t now = 11 * S;

	trip(breaker, 0);
	for (int i = 0; i < 3; i++)
		assert_true(breaker_acquire(breaker, now, now + S, &permit[i]));
	assert_false(breaker_acquire(breaker, now, now + S, &permit[3]));
	for (int i = 0; i < 3; i++)
		breaker_record(breaker, &permit[i], now, BREAKER_SUCCESS);
	assert_int_equal(state_at(breaker, now), BREAKER_CLOSED);
	breaker_free(breaker);
}

static void
failed_trials_open_again(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);

	trip(breaker, 0);
	calls(breaker, 1, 11 * S, 0, BREAKER_SUCCESS);
	calls(breaker, 2, 11 * S, 0, BREAKER_FAILURE);
	assert_int_equal(state_at(breaker, 11 * S), BREAKER_OPEN);
	breaker_free(breaker);
}

static void
a_late_result_of_an_older_state_decides_nothing(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);
	struct breaker_permit old[8];
	struct breaker_snapshot snapshot;
	int64_t now = 11 * S;

	for (int i = 0; i < 8; i++)
		assert_true(breaker_acquire(breaker, 0, S, &old[i]));
	trip(breaker, 0);
	calls(breaker, 1, now, 0, BREAKER_SUCCESS);
	for (int i = 0; i < 8; i++)
		breaker_record(breaker, &old[i], now, BREAKER_FAILURE);
	breaker_snapshot(breaker, now, &snapshot);
	assert_int_equal(snapshot.state, BREAKER_HALF_OPEN);
	assert_int_equal(snapshot.late_results, 8);
	calls(breaker, 2, now, 0, BREAKER_SUCCESS);
	assert_int_equal(state_at(breaker, now), BREAKER_CLOSED);
	breaker_free(breaker);
}

static void
lost_trials_cannot_keep_it_half_open(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);
	struct breaker_permit permit;
	int64_t now = 11 * S;

	trip(breaker, 0);
	for (int i = 0; i < 3; i++)
		assert_true(breaker_acquire(breaker, now, now + S, &permit));
	assert_false(breaker_acquire(breaker, now + S, now + 2 * S, &permit));
	/* Their deadline has passed: the places are free again. */
	calls(breaker, 3, now + S + 1, 0, BREAKER_SUCCESS);
	assert_int_equal(state_at(breaker, now + S + 1), BREAKER_CLOSED);
	breaker_free(breaker);
}

static void
a_released_trial_may_be_taken_again(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);
	struct breaker_permit permit;
	int64_t now = 11 * S;

	trip(breaker, 0);
	for (int i = 0; i < 50; i++) {
		assert_true(breaker_acquire(breaker, now, now + S, &permit));
		breaker_release(breaker, &permit);
	}
	assert_int_equal(state_at(breaker, now), BREAKER_HALF_OPEN);
	calls(breaker, 3, now, 0, BREAKER_SUCCESS);
	assert_int_equal(state_at(breaker, now), BREAKER_CLOSED);
	breaker_free(breaker);
}

static void
a_successful_probe_starts_the_trials_early(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);
	struct breaker_permit permit;

	breaker_probe_succeeded(breaker, 0);
	assert_int_equal(state_at(breaker, 0), BREAKER_CLOSED);
	trip(breaker, 0);
	breaker_probe_succeeded(breaker, 1);
	assert_true(breaker_acquire(breaker, 1, S, &permit));
	assert_int_equal(state_at(breaker, 1), BREAKER_HALF_OPEN);
	breaker_free(breaker);
}

static void
the_first_open_time_is_short_and_doubles(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_time, 0);
	const int64_t expected[] = { 1 * S, 2 * S, 4 * S, 8 * S, 8 * S };
	struct breaker_permit permit;
	int64_t now = 0;

	calls(breaker, 20, now, 0, BREAKER_FAILURE);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		now += expected[i];
		assert_int_equal(state_at(breaker, now), BREAKER_OPEN);
		assert_false(breaker_acquire(breaker, now, now + S, &permit));
		now++;
		/* Two of three trials fail: open again at the third. */
		calls(breaker, 3, now, 0, BREAKER_FAILURE);
	}
	now += 8 * S + 1;
	calls(breaker, 3, now, 0, BREAKER_SUCCESS);
	assert_int_equal(state_at(breaker, now), BREAKER_CLOSED);
	calls(breaker, 20, now, 0, BREAKER_FAILURE);
	assert_false(breaker_acquire(breaker, now + S, now + S, &permit));
	assert_true(breaker_acquire(breaker, now + S + 1, now + S, &permit));
	breaker_free(breaker);
}

/* The measured trap: ten calls decided over sixty thousand. */
static void
a_time_window_is_not_tripped_by_a_burst_of_eight(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_time, 0);

	calls(breaker, 500, 0, 0, BREAKER_SUCCESS);
	calls(breaker, 8, 1, 0, BREAKER_FAILURE);
	assert_int_equal(state_at(breaker, 1), BREAKER_CLOSED);
	breaker_free(breaker);
}

static void
seconds_fall_out_of_a_time_window(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_time, 0);
	struct breaker_snapshot snapshot;

	calls(breaker, 19, 0, 0, BREAKER_FAILURE);
	breaker_snapshot(breaker, 9 * S, &snapshot);
	assert_int_equal(snapshot.buffered, 19);
	breaker_snapshot(breaker, 10 * S, &snapshot);
	assert_int_equal(snapshot.buffered, 0);
	calls(breaker, 19, 10 * S, 0, BREAKER_FAILURE);
	assert_int_equal(state_at(breaker, 10 * S), BREAKER_CLOSED);
	breaker_free(breaker);
}

static void
forced_states_are_left_by_force_only(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);
	struct breaker_permit permit;

	breaker_force(breaker, BREAKER_FORCED_OPEN, 0);
	assert_false(breaker_acquire(breaker, 1000 * S, 1001 * S, &permit));
	breaker_probe_succeeded(breaker, 1000 * S);
	assert_int_equal(state_at(breaker, 1000 * S), BREAKER_FORCED_OPEN);
	breaker_force(breaker, BREAKER_DISABLED, 0);
	calls(breaker, 100, 0, 0, BREAKER_FAILURE);
	assert_int_equal(state_at(breaker, 0), BREAKER_DISABLED);
	breaker_force(breaker, BREAKER_CLOSED, 0);
	calls(breaker, 9, 0, 0, BREAKER_FAILURE);
	assert_int_equal(state_at(breaker, 0), BREAKER_CLOSED);
	breaker_free(breaker);
}

static void
a_changed_window_starts_empty_and_the_state_stays(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);
	struct breaker_config larger = by_count;
	struct breaker_snapshot snapshot;

	calls(breaker, 9, 0, 0, BREAKER_FAILURE);
	larger.window_size = 20;
	larger.minimum_calls = 20;
	breaker_configure(breaker, &larger, 0);
	breaker_snapshot(breaker, 0, &snapshot);
	assert_int_equal(snapshot.buffered, 0);
	assert_int_equal(snapshot.state, BREAKER_CLOSED);
	calls(breaker, 20, 0, 0, BREAKER_FAILURE);
	assert_int_equal(state_at(breaker, 0), BREAKER_OPEN);
	breaker_configure(breaker, &by_count, 0);
	assert_int_equal(state_at(breaker, 0), BREAKER_OPEN);
	breaker_free(breaker);
}

static void
it_can_be_switched_off_and_on_live(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);
	struct breaker_config off = by_count;

	off.enabled = false;
	trip(breaker, 0);
	breaker_configure(breaker, &off, 0);
	calls(breaker, 20, 0, 0, BREAKER_FAILURE);
	breaker_configure(breaker, &by_count, 0);
	assert_int_equal(state_at(breaker, 0), BREAKER_CLOSED);
	breaker_free(breaker);
}

struct hammer {
	struct breaker *breaker;
	unsigned seed;
	uint64_t permitted, refused;
};

static _Atomic int64_t hammer_clock;

static void *
hammer_run(void *arg)
{
	struct hammer *hammer = arg;
	struct breaker_permit permit;

	for (int i = 0; i < 20000; i++) {
		int64_t now = atomic_fetch_add(&hammer_clock, NS_PER_MS);
		int what = rand_r(&hammer->seed) % 100;

		if (what == 0)
			breaker_force(hammer->breaker, BREAKER_CLOSED, now);
		if (what == 1)
			breaker_probe_succeeded(hammer->breaker, now);
		if (what == 2)
			breaker_configure(hammer->breaker,
				i % 2 == 0 ? &by_count : &by_time, now);
		if (!breaker_acquire(hammer->breaker, now, now + S, &permit)) {
			hammer->refused++;
			continue;
		}
		hammer->permitted++;
		if (what < 10)
			breaker_release(hammer->breaker, &permit);
		else
			breaker_record(hammer->breaker, &permit, now,
				what < 60 ? BREAKER_FAILURE : BREAKER_SUCCESS);
	}
	return NULL;
}

static void
eight_threads_and_nothing_is_lost_or_stuck(void **state)
{
	(void)state;
	struct breaker *breaker = breaker_new(&by_count, 0);
	struct hammer hammers[8];
	pthread_t threads[8];
	uint64_t permitted = 0, refused = 0;
	struct breaker_snapshot snapshot;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		hammers[i] = (struct hammer){ breaker, (unsigned)i, 0, 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, hammer_run,
					 &hammers[i]),
			0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], NULL);
		permitted += hammers[i].permitted;
		refused += hammers[i].refused;
	}
	assert_int_equal(permitted + refused, 8 * 20000);
	breaker_snapshot(breaker, hammer_clock, &snapshot);
	assert_int_equal(snapshot.not_permitted, refused);
	assert_true(
		snapshot.successful_calls + snapshot.failed_calls <= permitted);
	/* Whatever state it ended in, good calls close it again. */
	int64_t now = hammer_clock;

	for (int i = 0; i < 100; i++) {
		struct breaker_permit permit;

		now += 11 * S;
		if (breaker_acquire(breaker, now, now + S, &permit))
			breaker_record(breaker, &permit, now, BREAKER_SUCCESS);
	}
	assert_int_equal(state_at(breaker, now), BREAKER_CLOSED);
	breaker_free(breaker);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_state_counts_from_the_start),
		cmocka_unit_test(stays_closed_below_the_minimum_of_calls),
		cmocka_unit_test(opens_at_the_threshold_not_below),
		cmocka_unit_test(a_slow_call_is_longer_than_the_threshold),
		cmocka_unit_test(open_refuses_until_strictly_after_its_time),
		cmocka_unit_test(
			who_is_refused_while_open_is_told_to_come_soon),
		cmocka_unit_test(half_open_lets_only_the_trials_through),
		cmocka_unit_test(failed_trials_open_again),
		cmocka_unit_test(
			a_late_result_of_an_older_state_decides_nothing),
		cmocka_unit_test(lost_trials_cannot_keep_it_half_open),
		cmocka_unit_test(a_released_trial_may_be_taken_again),
		cmocka_unit_test(a_successful_probe_starts_the_trials_early),
		cmocka_unit_test(the_first_open_time_is_short_and_doubles),
		cmocka_unit_test(
			a_time_window_is_not_tripped_by_a_burst_of_eight),
		cmocka_unit_test(seconds_fall_out_of_a_time_window),
		cmocka_unit_test(forced_states_are_left_by_force_only),
		cmocka_unit_test(
			a_changed_window_starts_empty_and_the_state_stays),
		cmocka_unit_test(it_can_be_switched_off_and_on_live),
		cmocka_unit_test(eight_threads_and_nothing_is_lost_or_stuck),
	};

	return cmocka_run_group_tests_name("breaker", tests, NULL, NULL);
}
