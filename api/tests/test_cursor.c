/* SPDX-License-Identifier: MIT */
#include "api/cursor.h"
#include "common/tests/unit.h"

#include <string.h>

static void
a_cursor_comes_back_as_it_went(void **state)
{
	(void)state;
	static const int64_t keys[] = { 0, 1, 255, 256, INT64_MAX };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		char text[CURSOR_SIZE];
		int64_t key = -1;

		cursor_encode(CURSOR_COUPONS, keys[i], text);
		assert_int_equal(strlen(text), CURSOR_SIZE - 1);
		assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					      "abcdefghijklmnopqrstuvwxyz"
					      "0123456789-_"),
			CURSOR_SIZE - 1);
		assert_true(cursor_decode(CURSOR_COUPONS, text, &key));
		assert_int_equal(key, keys[i]);
	}
}

static void
another_lists_cursor_is_refused(void **state)
{
	(void)state;
	char text[CURSOR_SIZE];
	int64_t key = -1;

	cursor_encode(CURSOR_USER_COUPONS, 7, text);
	assert_false(cursor_decode(CURSOR_COUPONS, text, &key));
	assert_int_equal(key, -1);
}

static void
garbage_is_refused(void **state)
{
	(void)state;
	static const char *const texts[] = { "", "!!!", "AAAA", "YwAAAAAAAAAB",
		"YwAAAAAAAAAA=", "YwAAAAAAAAA!", "YwAAAAAAAA A", "Y__________-",
		"YwAAAAAAAAABAAAA" };
	int64_t key = -1;

	/* The fourth is a good one: the list shows what the others lack. */
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(
			cursor_decode(CURSOR_COUPONS, texts[i], &key), i == 3);
	assert_int_equal(key, 1);
}

static void
a_negative_key_is_refused(void **state)
{
	(void)state;
	char text[CURSOR_SIZE];
	int64_t key;

	cursor_encode(CURSOR_COUPONS, -1, text);
	assert_false(cursor_decode(CURSOR_COUPONS, text, &key));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cursor_comes_back_as_it_went),
		cmocka_unit_test(another_lists_cursor_is_refused),
		cmocka_unit_test(garbage_is_refused),
		cmocka_unit_test(a_negative_key_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
