/* SPDX-License-Identifier: MIT */
#include "common/jitter.h"
#include "common/tests/unit.h"

#include <pthread.h>

static void
every_number_below_comes_about_as_often(void **state)
{
	(void)state;
	int seen[7] = { 0 };

	for (int i = 0; i < 70000; i++) {
		uint32_t drawn = jitter_below(7);

		assert_true(drawn < 7);
		seen[drawn]++;
	}
	for (int i = 0; i < 7; i++)
		assert_in_range(seen[i], 9000, 11000);
	assert_int_equal(jitter_below(1), 0);
}

static void
a_retry_is_told_one_to_three_seconds(void **state)
{
	(void)state;
	int seen[4] = { 0 };

	for (int i = 0; i < 3000; i++) {
		int seconds = jitter_retry_after_s();

		assert_in_range(seconds, 1, 3);
		seen[seconds]++;
	}
	for (int i = 1; i <= 3; i++)
		assert_in_range(seen[i], 800, 1200);
}

static void *
draw(void *ret)
{
	*(uint32_t *)ret = jitter_below(UINT32_MAX);
	return NULL;
}

static void
threads_do_not_draw_the_same(void **state)
{
	(void)state;
	pthread_t thread;
	uint32_t mine, its;

	draw(&mine);
	assert_int_equal(pthread_create(&thread, NULL, draw, &its), 0);
	pthread_join(thread, NULL);
	assert_int_not_equal(mine, its);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_number_below_comes_about_as_often),
		cmocka_unit_test(a_retry_is_told_one_to_three_seconds),
		cmocka_unit_test(threads_do_not_draw_the_same),
	};

	return cmocka_run_group_tests_name("jitter", tests, NULL, NULL);
}
