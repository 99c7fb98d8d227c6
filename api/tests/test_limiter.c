/* SPDX-License-Identifier: MIT */
#include "api/limiter.h"
#include "common/clock.h"
#include "common/compiler.h"
#include "common/tests/unit.h"

#include <pthread.h>

#define P (250 * NS_PER_MS)

static struct limiter *
cycles(int32_t limit)
{
	struct limiter *limiter =
		limiter_new(&(struct limiter_config){ .mode = LIMITER_CYCLES,
				    .limit = limit,
				    .period_ns = P },
			0);

	assert_non_null(limiter);
	return limiter;
}

/* Resilience4j's AtomicRateLimiterTest with limit 1, timeout 0. */
static void
one_permit_per_cycle_as_resilience4j(void **state)
{
	(void)state;
	struct limiter *limiter = cycles(1);

	assert_int_equal(limiter_available(limiter, P - 10), 1);
	for (int64_t t = P; t <= 2 * P; t += P) {
		assert_int_equal(limiter_acquire(limiter, t, 0), 0);
		assert_int_equal(limiter_available(limiter, t), 0);
		assert_int_equal(limiter_acquire(limiter, t, 0), -1);
		assert_int_equal(limiter_available(limiter, t), 0);
	}
	limiter_free(limiter);
}

static void
unused_permits_do_not_accumulate(void **state)
{
	(void)state;
	struct limiter *limiter = cycles(3);

	assert_int_equal(limiter_available(limiter, 100 * P), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(limiter_acquire(limiter, 100 * P, 0), 0);
	assert_int_equal(limiter_acquire(limiter, 100 * P, 0), -1);
	limiter_free(limiter);
}

static void
who_may_wait_reserves_later_cycles_in_order(void **state)
{
	(void)state;
	struct limiter *limiter = cycles(2);
	const int64_t expected[] = { 0, 0, P, P, 2 * P, 2 * P };

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_int_equal(
			limiter_acquire(limiter, 0, 2 * P), expected[i]);
	/* The next would wait three periods: certain refusal, at once. */
	assert_int_equal(limiter_acquire(limiter, 0, 2 * P), -1);
	assert_int_equal(limiter_available(limiter, 0), -4);
	/* The debt is paid back, two a cycle. */
	assert_int_equal(limiter_available(limiter, P), -2);
	assert_int_equal(limiter_available(limiter, 3 * P), 2);
	limiter_free(limiter);
}

static void
waiting_time_counts_from_within_the_cycle(void **state)
{
	(void)state;
	struct limiter *limiter = cycles(1);

	assert_int_equal(limiter_acquire(limiter, P / 2, P), 0);
	assert_int_equal(limiter_acquire(limiter, P / 2, P), P / 2);
	limiter_free(limiter);
}

static void
a_cancelled_waiter_gives_its_permit_back(void **state)
{
	(void)state;
	struct limiter *limiter = cycles(1);

	assert_int_equal(limiter_acquire(limiter, 0, P), 0);
	assert_int_equal(limiter_acquire(limiter, 0, P), P);
	limiter_give_back(limiter);
	assert_int_equal(limiter_acquire(limiter, 0, P), P);
	limiter_free(limiter);
}

static void
giving_back_never_exceeds_the_limit(void **state)
{
	(void)state;
	struct limiter *limiter = cycles(2);

	limiter_give_back(limiter);
	assert_int_equal(limiter_available(limiter, 0), 2);
	limiter_free(limiter);
}

static void
an_older_clock_reading_does_not_turn_the_cycle_back(void **state)
{
	(void)state;
	struct limiter *limiter = cycles(1);

	assert_int_equal(limiter_acquire(limiter, 2 * P, 0), 0);
	assert_int_equal(limiter_acquire(limiter, 2 * P - 1, 0), -1);
	assert_int_equal(limiter_acquire(limiter, 2 * P + 1, 0), -1);
	limiter_free(limiter);
}

/* Half the range of the cycle's number: it was taken for an older clock. */
static void
an_idle_spell_however_long_pays_back(void **state)
{
	(void)state;
	const struct limiter_config config = {
		.mode = LIMITER_CYCLES, .limit = 1, .period_ns = NS_PER_MS
	};
	const int64_t cycles_idle[] = { 1, INT32_MAX, (int64_t)INT32_MAX + 2,
		UINT32_MAX - 1000, (int64_t)UINT32_MAX + 2 };

	for (size_t i = 0; i < ARRAY_SIZE(cycles_idle); i++) {
		struct limiter *limiter = limiter_new(&config, 0);
		int64_t later = cycles_idle[i] * NS_PER_MS;

		assert_int_equal(limiter_acquire(limiter, 0, 0), 0);
		assert_int_equal(limiter_acquire(limiter, later, 0), 0);
		assert_int_equal(limiter_acquire(limiter, later, 0), -1);
		assert_int_equal(limiter_available(limiter, later), 0);
		limiter_free(limiter);
	}
}

static void
an_older_clock_of_a_whole_turn_is_still_older(void **state)
{
	(void)state;
	struct limiter *limiter = cycles(1);

	assert_int_equal(limiter_acquire(limiter, 2000 * P, 0), 0);
	assert_int_equal(limiter_acquire(limiter, 1000 * P, 0), -1);
	limiter_free(limiter);
}

static void
a_new_limit_counts_from_the_next_cycle(void **state)
{
	(void)state;
	struct limiter *limiter = cycles(1);
	struct limiter_config more = {
		.mode = LIMITER_CYCLES, .limit = 5, .period_ns = P
	};

	assert_int_equal(limiter_acquire(limiter, 0, 0), 0);
	limiter_configure(limiter, &more, 1);
	assert_int_equal(limiter_acquire(limiter, 1, 0), -1);
	for (int i = 0; i < 5; i++)
		assert_int_equal(limiter_acquire(limiter, P, 0), 0);
	assert_int_equal(limiter_acquire(limiter, P, 0), -1);
	limiter_free(limiter);
}

static void
a_new_period_starts_over(void **state)
{
	(void)state;
	struct limiter *limiter = cycles(1);
	struct limiter_config slower = {
		.mode = LIMITER_CYCLES, .limit = 1, .period_ns = 4 * P
	};

	assert_int_equal(limiter_acquire(limiter, 0, 0), 0);
	limiter_configure(limiter, &slower, 10);
	assert_int_equal(limiter_acquire(limiter, 10, 0), 0);
	assert_int_equal(limiter_acquire(limiter, 10 + 4 * P - 1, 0), -1);
	assert_int_equal(limiter_acquire(limiter, 10 + 4 * P, 0), 0);
	limiter_free(limiter);
}

static void
smooth_mode_spreads_the_permits(void **state)
{
	(void)state;
	struct limiter *limiter =
		limiter_new(&(struct limiter_config){ .mode = LIMITER_SMOOTH,
				    .limit = 100,
				    .period_ns = NS_PER_S },
			0);
	int passed = 0, late = 0;

	/* 1000 a second offered for a second: the burst, then 100 a second. */
	for (int64_t t = 0; t < NS_PER_S; t += NS_PER_MS)
		passed += limiter_acquire(limiter, t, 0) == 0;
	assert_in_range(passed, 100, 112);
	for (int64_t t = NS_PER_S; t < NS_PER_S + 100 * NS_PER_MS;
		t += NS_PER_MS)
		late += limiter_acquire(limiter, t, 0) == 0;
	assert_in_range(late, 9, 11);
	limiter_free(limiter);
}

static void
refusals_of_this_period_and_the_last_are_the_backlog(void **state)
{
	(void)state;
	struct limiter *limiter = cycles(10); /* 40 a second */

	assert_int_equal(limiter_backlog_ns(limiter, 0), 0);
	for (int i = 0; i < 10 + 80; i++)
		(void)limiter_acquire(limiter, 0, 0);
	assert_int_equal(limiter_backlog_ns(limiter, 0), 2 * NS_PER_S);
	/* A window is a second where the period is shorter. */
	assert_int_equal(
		limiter_backlog_ns(limiter, 2 * NS_PER_S - 1), 2 * NS_PER_S);
	for (int i = 0; i < 10 + 40; i++)
		(void)limiter_acquire(limiter, NS_PER_S, 0);
	assert_int_equal(
		limiter_backlog_ns(limiter, 2 * NS_PER_S - 1), 3 * NS_PER_S);
	assert_int_equal(
		limiter_backlog_ns(limiter, 2 * NS_PER_S), 1 * NS_PER_S);
	assert_int_equal(limiter_backlog_ns(limiter, 3 * NS_PER_S), 0);
	limiter_free(limiter);
}

static void
a_backlog_beyond_all_bounds_is_a_number_still(void **state)
{
	(void)state;
	const struct limiter_config config = {
		.mode = LIMITER_CYCLES,
		.limit = 1,
		.period_ns = INT64_MAX / 2,
	};
	struct limiter *limiter = limiter_new(&config, 0);

	for (int i = 0; i < 10; i++)
		(void)limiter_acquire(limiter, 0, 0);
	assert_true(limiter_backlog_ns(limiter, 0) > 3600 * NS_PER_S);
	limiter_free(limiter);
}

struct hammer {
	struct limiter *limiter;
	int admitted;
};

static void *
hammer_one_cycle(void *arg)
{
	struct hammer *hammer = arg;

	for (int i = 0; i < 100000; i++)
		hammer->admitted += limiter_acquire(hammer->limiter, 1, 0) == 0;
	return NULL;
}

static void
threads_together_get_exactly_the_limit(void **state)
{
	(void)state;
	struct limiter *limiter = cycles(12345);
	struct hammer hammers[4];
	pthread_t threads[4];
	int admitted = 0;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		hammers[i] = (struct hammer){ .limiter = limiter };
		assert_int_equal(pthread_create(&threads[i], NULL,
					 hammer_one_cycle, &hammers[i]),
			0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], NULL);
		admitted += hammers[i].admitted;
	}
	assert_int_equal(admitted, 12345);
	limiter_free(limiter);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_permit_per_cycle_as_resilience4j),
		cmocka_unit_test(unused_permits_do_not_accumulate),
		cmocka_unit_test(who_may_wait_reserves_later_cycles_in_order),
		cmocka_unit_test(waiting_time_counts_from_within_the_cycle),
		cmocka_unit_test(a_cancelled_waiter_gives_its_permit_back),
		cmocka_unit_test(giving_back_never_exceeds_the_limit),
		cmocka_unit_test(
			an_older_clock_reading_does_not_turn_the_cycle_back),
		cmocka_unit_test(an_idle_spell_however_long_pays_back),
		cmocka_unit_test(an_older_clock_of_a_whole_turn_is_still_older),
		cmocka_unit_test(a_new_limit_counts_from_the_next_cycle),
		cmocka_unit_test(a_new_period_starts_over),
		cmocka_unit_test(smooth_mode_spreads_the_permits),
		cmocka_unit_test(
			refusals_of_this_period_and_the_last_are_the_backlog),
		cmocka_unit_test(a_backlog_beyond_all_bounds_is_a_number_still),
		cmocka_unit_test(threads_together_get_exactly_the_limit),
	};

	return cmocka_run_group_tests_name("limiter", tests, NULL, NULL);
}
