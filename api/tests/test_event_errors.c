/* SPDX-License-Identifier: MIT */
#include "api/event_errors.h"
#include "common/tests/unit.h"

static int
fails(struct error *err, const char *code)
{
	return error_set_code(err, ERROR_REDIS_ERROR, code, "redis: %s", code);
}

static void
an_events_own_error_is_said_in_the_end(void **state)
{
	struct event_errors errors = { 0 };
	struct error err = { 0 };

	(void)state;
	int rc = fails(&err, "WRONGTYPE");

	assert_int_equal(event_errors_note(&errors, 7, rc, &err), 0);
	rc = fails(&err, "ERR");
	assert_int_equal(event_errors_note(&errors, 8, rc, &err), 0);
	assert_int_equal(event_errors_note(&errors, 9, 0, &err), 0);
	assert_int_equal(
		event_errors_end(&errors, 0, &err), -ERROR_REDIS_ERROR);
	assert_string_equal(err.msg, "event 7: redis: WRONGTYPE");
	assert_string_equal(err.code, "WRONGTYPE");
}

static void
what_ends_the_pass_is_said_before_it(void **state)
{
	struct event_errors errors = { 0 };
	struct error err = { 0 };

	(void)state;
	int rc = fails(&err, "WRONGTYPE");

	assert_int_equal(event_errors_note(&errors, 7, rc, &err), 0);
	rc = fails(&err, "LOADING");
	assert_int_equal(event_errors_note(&errors, 8, rc, &err), rc);
	assert_int_equal(event_errors_end(&errors, rc, &err), rc);
	assert_string_equal(err.msg, "redis: LOADING");
	rc = error_set(&err, ERROR_TIMEOUT, "too late");
	assert_int_equal(event_errors_note(&errors, 9, rc, &err), rc);
}

static void
a_pass_without_errors_is_one(void **state)
{
	struct event_errors errors = { 0 };
	struct error err = { .kind = ERROR_BUSY };

	(void)state;
	assert_int_equal(event_errors_note(&errors, 7, 0, &err), 0);
	assert_int_equal(event_errors_end(&errors, 0, &err), 0);
	assert_int_equal(err.kind, ERROR_BUSY);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_events_own_error_is_said_in_the_end),
		cmocka_unit_test(what_ends_the_pass_is_said_before_it),
		cmocka_unit_test(a_pass_without_errors_is_one),
	};

	return cmocka_run_group_tests_name("event_errors", tests, NULL, NULL);
}
