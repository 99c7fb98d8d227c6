/* SPDX-License-Identifier: MIT */
#include "api/latch.h"
#include "common/tests/unit.h"

static void
a_new_latch_is_open(void **state)
{
	(void)state;
	struct latch latch = { 0 };

	assert_false(latch_is_armed(&latch, 1, 0));
	assert_false(latch_is_armed(&latch, 64, 0));
}

static void
armed_until_its_time_has_passed(void **state)
{
	(void)state;
	struct latch latch = { 0 };

	latch_arm(&latch, 7, 1000, 200);
	assert_true(latch_is_armed(&latch, 7, 1000));
	assert_true(latch_is_armed(&latch, 7, 1199));
	assert_false(latch_is_armed(&latch, 7, 1200));
}

static void
other_events_are_not_touched(void **state)
{
	(void)state;
	struct latch latch = { 0 };

	latch_arm(&latch, 7, 0, 200);
	assert_false(latch_is_armed(&latch, 8, 1));
	assert_false(latch_is_armed(&latch, 7 + LATCH_SLOTS, 1));
}

static void
a_collision_forgets_the_older_event(void **state)
{
	(void)state;
	struct latch latch = { 0 };

	latch_arm(&latch, 7, 0, 200);
	latch_arm(&latch, 7 + LATCH_SLOTS, 0, 200);
	assert_false(latch_is_armed(&latch, 7, 1));
	assert_true(latch_is_armed(&latch, 7 + LATCH_SLOTS, 1));
}

static void
clearing_opens_every_latch_but_not_later_ones(void **state)
{
	(void)state;
	struct latch one = { 0 }, two = { 0 };

	latch_arm(&one, 7, 0, 200);
	latch_arm(&two, 9, 0, 200);
	latches_clear();
	assert_false(latch_is_armed(&one, 7, 1));
	assert_false(latch_is_armed(&two, 9, 1));
	latch_arm(&one, 7, 1, 200);
	assert_true(latch_is_armed(&one, 7, 2));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_latch_is_open),
		cmocka_unit_test(armed_until_its_time_has_passed),
		cmocka_unit_test(other_events_are_not_touched),
		cmocka_unit_test(a_collision_forgets_the_older_event),
		cmocka_unit_test(clearing_opens_every_latch_but_not_later_ones),
	};

	return cmocka_run_group_tests_name("latch", tests, NULL, NULL);
}
