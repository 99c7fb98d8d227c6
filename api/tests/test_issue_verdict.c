/* SPDX-License-Identifier: MIT */
#include "api/issue_verdict.h"
#include "api/scripts.h"
#include "common/compiler.h"
#include "common/tests/unit.h"

/* clang-format off */
static const struct {
	enum issue_status status;
	enum issue_outcome once;
	const char *once_reason;
	enum issue_outcome twice;
} words[] = {
	{ ISSUE_ACCEPTED, ISSUE_OUTCOME_ACCEPTED, NULL, ISSUE_OUTCOME_ACCEPTED },
	{ ISSUE_DUPLICATE, ISSUE_OUTCOME_ALREADY_ISSUED, NULL,
		ISSUE_OUTCOME_ALREADY_ISSUED },
	{ ISSUE_CLOSED, ISSUE_OUTCOME_CLOSED, NULL, ISSUE_OUTCOME_CLOSED },
	{ ISSUE_REJECTED, ISSUE_OUTCOME_REJECTED, NULL, ISSUE_OUTCOME_UNKNOWN },
	{ ISSUE_SOLD_OUT, ISSUE_OUTCOME_SOLD_OUT, NULL, ISSUE_OUTCOME_UNKNOWN },
	{ ISSUE_NOT_OPEN, ISSUE_OUTCOME_NOT_OPEN, NULL, ISSUE_OUTCOME_UNKNOWN },
	{ ISSUE_OUTBOX_FULL, ISSUE_OUTCOME_REFUSED, "OUTBOX_FULL",
		ISSUE_OUTCOME_UNKNOWN },
	{ ISSUE_FENCED, ISSUE_OUTCOME_REFUSED, "FENCED", ISSUE_OUTCOME_UNKNOWN },
	{ ISSUE_MISSING, ISSUE_OUTCOME_NOT_FOUND, NULL, ISSUE_OUTCOME_UNKNOWN },
};

static const struct {
	enum error_kind kind;
	const char *reason;
} reasons[] = {
	{ ERROR_EXHAUSTED, "EXHAUSTED" },
	{ ERROR_QUEUE_FULL, "EXHAUSTED" },
	{ ERROR_CONNECT_FAILING, "CONNECT_FAILING" },
	{ ERROR_SUSPENDED, "SUSPENDED" },
	{ ERROR_TIMEOUT, "TIMEOUT" },
	{ ERROR_CONNECTION_LOST, "CONNECTION_LOST" },
	{ ERROR_REDIS_ERROR, "REDIS_ERROR" },
	{ ERROR_DATABASE_DOWN, "DATABASE_DOWN" },
	{ ERROR_BUSY, "BUSY" },
	{ ERROR_CLOSED, "DRAINING" },
};
/* clang-format on */

static struct issue_verdict
said(enum issue_status status, bool twice)
{
	const struct issue_reply reply = { .status = status };
	const struct issue_end end = {
		.sent = true,
		.sent_twice = twice,
		.reply = &reply,
		.answered = true,
	};

	return issue_judge(&end);
}

static void
sent_once_the_scripts_word_counts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		struct issue_verdict verdict = said(words[i].status, false);

		assert_int_equal(verdict.outcome, words[i].once);
		assert_int_equal(
			verdict.reason == NULL, words[i].once_reason == NULL);
		if (verdict.reason != NULL)
			assert_string_equal(
				verdict.reason, words[i].once_reason);
		assert_false(verdict.redis_failed);
	}
}

static void
sent_twice_only_what_holds_for_both_copies_counts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		struct issue_verdict verdict = said(words[i].status, true);

		assert_int_equal(verdict.outcome, words[i].twice);
		if (verdict.outcome == ISSUE_OUTCOME_UNKNOWN)
			assert_non_null(verdict.reason);
	}
}

static void
never_sent_is_refused_with_its_cause(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		const struct issue_end end = { .error = reasons[i].kind };
		struct issue_verdict verdict = issue_judge(&end);

		assert_int_equal(verdict.outcome, ISSUE_OUTCOME_REFUSED);
		assert_string_equal(verdict.reason, reasons[i].reason);
	}
}

static void
sent_and_unanswered_is_unknown(void **state)
{
	(void)state;
	for (int twice = 0; twice < 2; twice++) {
		const struct issue_end end = {
			.sent = true,
			.sent_twice = twice,
			.error = ERROR_TIMEOUT,
		};
		struct issue_verdict verdict = issue_judge(&end);

		assert_int_equal(verdict.outcome, ISSUE_OUTCOME_UNKNOWN);
		assert_string_equal(verdict.reason, "TIMEOUT");
		assert_true(verdict.redis_failed);
	}
}

static void
an_error_of_redis_refuses_only_what_was_sent_once(void **state)
{
	(void)state;
	struct issue_end end = {
		.sent = true,
		.answered = true,
		.error = ERROR_REDIS_ERROR,
	};

	assert_int_equal(issue_judge(&end).outcome, ISSUE_OUTCOME_REFUSED);
	assert_true(issue_judge(&end).redis_failed);
	end.sent_twice = true;
	assert_int_equal(issue_judge(&end).outcome, ISSUE_OUTCOME_UNKNOWN);
}

static void
our_own_shutdown_is_no_failure_of_redis(void **state)
{
	(void)state;
	const struct issue_end end = { .error = ERROR_CLOSED };

	assert_false(issue_judge(&end).redis_failed);
}

/* Ten of them would open the breaker, and hide the lever behind it. */
static void
a_suspended_pool_is_no_failure_of_redis_nor_a_success(void **state)
{
	(void)state;
	const struct issue_end end = { .error = ERROR_SUSPENDED };

	assert_false(issue_judge(&end).redis_failed);
	assert_true(issue_judge(&end).redis_untried);
}

static void
only_what_was_decided_now_tells_of_the_stock(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		const struct issue_reply reply = { .status = words[i].status };
		enum issue_stock stock = issue_stock_of(&reply);

		if (reply.status == ISSUE_SOLD_OUT)
			assert_int_equal(stock, ISSUE_STOCK_SOLD_OUT);
		else if (reply.status == ISSUE_DUPLICATE ||
			 reply.status == ISSUE_REJECTED)
			assert_int_equal(stock, ISSUE_STOCK_UNTOLD);
		else
			assert_int_equal(stock, ISSUE_STOCK_OTHER);
	}
	const struct issue_reply again = {
		.status = ISSUE_ACCEPTED,
		.earlier = true,
	};
	assert_int_equal(issue_stock_of(&again), ISSUE_STOCK_UNTOLD);
}

static void
outcomes_have_stable_names(void **state)
{
	(void)state;
	assert_string_equal(
		issue_outcome_name(ISSUE_OUTCOME_ACCEPTED), "ACCEPTED");
	assert_string_equal(
		issue_outcome_name(ISSUE_OUTCOME_UNKNOWN), "UNKNOWN");
}

static void
a_database_out_of_reach_is_called_by_its_name(void **state)
{
	(void)state;
	assert_string_equal(
		database_reason(ERROR_CONNECT_FAILING), "DATABASE_DOWN");
	assert_string_equal(
		database_reason(ERROR_DATABASE_DOWN), "DATABASE_DOWN");
	assert_string_equal(database_reason(ERROR_EXHAUSTED), "EXHAUSTED");
	assert_string_equal(database_reason(ERROR_TIMEOUT), "TIMEOUT");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sent_once_the_scripts_word_counts),
		cmocka_unit_test(
			sent_twice_only_what_holds_for_both_copies_counts),
		cmocka_unit_test(never_sent_is_refused_with_its_cause),
		cmocka_unit_test(sent_and_unanswered_is_unknown),
		cmocka_unit_test(
			an_error_of_redis_refuses_only_what_was_sent_once),
		cmocka_unit_test(our_own_shutdown_is_no_failure_of_redis),
		cmocka_unit_test(
			a_suspended_pool_is_no_failure_of_redis_nor_a_success),
		cmocka_unit_test(only_what_was_decided_now_tells_of_the_stock),
		cmocka_unit_test(a_database_out_of_reach_is_called_by_its_name),
		cmocka_unit_test(outcomes_have_stable_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
