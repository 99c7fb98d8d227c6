/* SPDX-License-Identifier: MIT */
#include "common/auth.h"
#include "common/compiler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
the_header_decides(void **state UNUSED)
{
	static const struct {
		const char *token;
		const char *header;
		enum auth_result result;
	} rows[] = { { "s3cret", "Bearer s3cret", AUTH_OK },
		{ "s3cret", "bearer s3cret", AUTH_OK },
		{ "s3cret", "Bearer   s3cret", AUTH_OK },
		{ "s3cret", "Bearer s3cre", AUTH_WRONG },
		{ "s3cret", "Bearer s3cret ", AUTH_WRONG },
		{ "s3cret", "Bearer S3cret", AUTH_WRONG },
		{ "s3cret", "Bearer ", AUTH_WRONG },
		{ "s3cret", NULL, AUTH_MISSING },
		{ "s3cret", "", AUTH_MISSING },
		{ "s3cret", "s3cret", AUTH_MISSING },
		{ "s3cret", "Basic s3cret", AUTH_MISSING },
		{ NULL, "Bearer ", AUTH_OFF }, { "", "Bearer ", AUTH_OFF },
		{ NULL, NULL, AUTH_OFF } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(auth_check(rows[i].token, rows[i].header),
			rows[i].result);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_header_decides),
	};

	return cmocka_run_group_tests_name("auth", tests, NULL, NULL);
}
