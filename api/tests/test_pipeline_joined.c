/* SPDX-License-Identifier: MIT */
/*
 * Commands of one turn, event and script, joined in one call.
 */
#include "api/tests/pipeline_fixture.h"

/* The first call meets *ctx, the rest is echoed. */
static struct fake_answer
first_meets(void *ctx, size_t n, size_t conn UNUSED, const char *last UNUSED)
{
	const struct fake_answer *first = ctx;

	return n == 0 ? *first : (struct fake_answer){ FAKE_ECHO, 0 };
}

static void
start(struct fixture *f, struct fake_answer *first)
{
	fixture_init(f);
	f->settings.redis_pool_max_active = 1;
	f->join = true;
	fixture_start(f, first_meets, first);
}

static void
start_calls(struct fixture *f, struct call *calls, size_t n)
{
	for (size_t i = 0; i < n; i++)
		call_start(f, &calls[i], 1000);
}

static void
assert_all_answered(const struct call *calls, size_t n, bool sent_twice)
{
	for (size_t i = 0; i < n; i++) {
		assert_answered(&calls[i]);
		assert_int_equal(calls[i].command.sent_twice, sent_twice);
	}
}

static void
a_turn_is_one_call_and_each_gets_its_own_answer(void **state UNUSED)
{
	struct fake_answer echo = { FAKE_ECHO, 0 };
	struct fixture f;
	struct call calls[64];

	start(&f, &echo);
	start_calls(&f, calls, ARRAY_SIZE(calls));
	run(&f);
	assert_all_answered(calls, ARRAY_SIZE(calls), false);
	assert_int_equal(fake_redis_evals(f.fake), 1);
	assert_true(counted(&f, "redis_command_seconds_count") == 64);
	fixture_fini(&f);
}

static void
max_pipeline_counts_commands_not_calls(void **state UNUSED)
{
	struct fake_answer late = { FAKE_ECHO, 40 };
	struct fixture f;
	struct call calls[8];

	start(&f, &late);
	f.settings.redis_pool_max_pipeline = 5;
	pipelines_configure(&f.settings);
	start_calls(&f, calls, ARRAY_SIZE(calls));
	run_for(&f, 20);
	assert_int_equal(fake_redis_evals(f.fake), 1);
	assert_int_equal(snapshot(&f).waiting, 3);
	run(&f);
	assert_all_answered(calls, ARRAY_SIZE(calls), false);
	fixture_fini(&f);
}

/* Another event, or a command that stands alone, comes in between. */
static void
only_neighbours_of_one_event_are_joined(void **state UNUSED)
{
	struct fake_answer echo = { FAKE_ECHO, 0 };
	struct fixture f;
	struct call calls[7];

	start(&f, &echo);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		f.event = i == 2 || i == 3 ? 2 : 1;
		f.join = i != 5;
		call_start(&f, &calls[i], 1000);
	}
	run(&f);
	assert_all_answered(calls, ARRAY_SIZE(calls), false);
	assert_int_equal(fake_redis_evals(f.fake), 5); /* 01 23 4 5 6 */
	fixture_fini(&f);
}

static void
one_that_is_too_late_does_not_shift_the_others(void **state UNUSED)
{
	struct fake_answer late = { FAKE_ECHO, 50 };
	struct fixture f;
	struct call calls[5];

	start(&f, &late);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		call_start(&f, &calls[i], i == 0 || i == 3 ? 20 : 1000);
	run(&f);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		if (i == 0 || i == 3)
			assert_failed(&calls[i], ERROR_TIMEOUT);
		else
			assert_answered(&calls[i]);
	}
	assert_true(counted(&f, "redis_pipeline_late_total") == 2);
	assert_int_equal(fake_redis_evals(f.fake), 1);
	fixture_fini(&f);
}

static void
an_error_is_the_answer_to_all(void **state UNUSED)
{
	struct fake_answer error = { FAKE_ERROR, 0 };
	struct fixture f;
	struct call calls[3], after;

	start(&f, &error);
	start_calls(&f, calls, ARRAY_SIZE(calls));
	run(&f);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		assert_failed(&calls[i], ERROR_REDIS_ERROR);
	call_start(&f, &after, 1000);
	run(&f);
	assert_answered(&after);
	assert_int_equal(fake_redis_connections(f.fake), 1);
	fixture_fini(&f);
}

static void
a_forgotten_script_is_sent_as_text_once_for_all(void **state UNUSED)
{
	struct fake_answer noscript = { FAKE_NOSCRIPT, 0 };
	struct fixture f;
	struct call calls[3];

	start(&f, &noscript);
	start_calls(&f, calls, ARRAY_SIZE(calls));
	run(&f);
	assert_all_answered(calls, ARRAY_SIZE(calls), false);
	assert_int_equal(fake_redis_evals(f.fake), 2);
	fixture_fini(&f);
}

/* Whose answer is missing cannot be known: all are asked again. */
static void
a_wrong_number_of_answers_ends_the_connection(void **state UNUSED)
{
	static const enum fake_act acts[] = { FAKE_FEWER, FAKE_HALF_CLOSE,
		FAKE_CLOSE, FAKE_GARBAGE };

	for (size_t i = 0; i < ARRAY_SIZE(acts); i++) {
		struct fake_answer first = { acts[i], 0 };
		struct fixture f;
		struct call calls[3];

		start(&f, &first);
		start_calls(&f, calls, ARRAY_SIZE(calls));
		run(&f);
		assert_all_answered(calls, ARRAY_SIZE(calls), true);
		assert_int_equal(fake_redis_connections(f.fake), 2);
		assert_true(counted(&f, "redis_pipeline_lost_total") == 1);
		assert_true(counted(&f, "redis_pipeline_retries_total") == 3);
		fixture_fini(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_turn_is_one_call_and_each_gets_its_own_answer),
		cmocka_unit_test(max_pipeline_counts_commands_not_calls),
		cmocka_unit_test(only_neighbours_of_one_event_are_joined),
		cmocka_unit_test(
			one_that_is_too_late_does_not_shift_the_others),
		cmocka_unit_test(an_error_is_the_answer_to_all),
		cmocka_unit_test(
			a_forgotten_script_is_sent_as_text_once_for_all),
		cmocka_unit_test(a_wrong_number_of_answers_ends_the_connection),
	};

	return cmocka_run_group_tests_name(
		"pipeline_joined", tests, NULL, NULL);
}
