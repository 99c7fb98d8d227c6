/* SPDX-License-Identifier: MIT */
#include "api/status.h"
#include "common/compiler.h"
#include "common/tests/unit.h"

#include <jansson.h>
#include <string.h>

static const struct user_coupon asked = { .coupon_id = 1, .user_id = 42 };

static const struct user_coupon issued = {
	.coupon_id = 1,
	.user_id = 42,
	.seq = 17,
	.request_id = "first",
	.accepted_at_ms = 1000,
	.decided_at_ms = 2000,
};

static const struct user_coupon rejected = {
	.coupon_id = 1,
	.user_id = 42,
	.seq = 18,
	.request_id = "first",
	.reason = "NUMBER_TAKEN",
	.accepted_at_ms = 1000,
	.decided_at_ms = 2000,
};

static const struct status_reply nothing = { .event = EVENT_LIVE };
static const struct status_reply fenced = { .event = EVENT_FENCED };
static const struct status_reply holds_first = {
	.event = EVENT_LIVE,
	.held = true,
	.entry = { .request_id = "first", .seq = 17, .accepted_at_ms = 1000 },
};
static const struct status_reply holds_second = {
	.event = EVENT_LIVE,
	.held = true,
	.entry = { .request_id = "second", .seq = 19, .accepted_at_ms = 1500 },
};
static const struct status_reply knows_rejection = {
	.event = EVENT_LIVE,
	.rejected = true,
	.rejection = { .reason = "NUMBER_TAKEN", .seq = 18 },
};

/* clang-format off */
static const struct {
	const struct status_reply *redis;
	const struct user_coupon *row;
	bool database_down;
	enum status_kind kind;
	bool stale;
} table[] = {
	/* A row is final. */
	{ &holds_first, &issued, false, STATUS_ISSUED, false },
	{ &nothing, &issued, false, STATUS_ISSUED, false },
	{ &fenced, &issued, false, STATUS_ISSUED, false },
	{ NULL, &issued, false, STATUS_ISSUED, false },
	{ &knows_rejection, &issued, false, STATUS_ISSUED, false },
	/* A rejection is final for its request. */
	{ &nothing, &rejected, false, STATUS_REJECTED, false },
	{ &holds_first, &rejected, false, STATUS_REJECTED, false },
	{ NULL, &rejected, false, STATUS_REJECTED, false },
	{ &knows_rejection, NULL, false, STATUS_REJECTED, false },
	{ &holds_second, &rejected, false, STATUS_PENDING, false },
	/* Redis alone. */
	{ &holds_first, NULL, false, STATUS_PENDING, false },
	{ &holds_first, NULL, true, STATUS_PENDING, true },
	/* Nothing found. */
	{ &nothing, NULL, false, STATUS_NONE, false },
	{ &fenced, NULL, false, STATUS_FENCED, false },
	{ &nothing, NULL, true, STATUS_UNKNOWN, true },
	{ NULL, NULL, false, STATUS_UNKNOWN, false },
	{ NULL, NULL, true, STATUS_UNKNOWN, true },
};
/* clang-format on */

static void
what_both_know_makes_one_status(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct status_facts facts = {
			.redis = table[i].redis,
			.row = table[i].row,
			.database_down = table[i].database_down,
		};
		struct status status;

		status_resolve(&facts, &asked, &status);
		assert_int_equal(status.kind, table[i].kind);
		assert_int_equal(status.stale, table[i].stale);
		assert_int_equal(status.coupon.coupon_id, 1);
		assert_int_equal(status.coupon.user_id, 42);
	}
}

static void
check_json(const struct status_facts *facts, const struct user_coupon *key,
	const char *expected)
{
	struct status status;

	status_resolve(facts, key, &status);
	json_t *json = status_to_json(&status);
	char *text = json_dumps(json, JSON_COMPACT);
	assert_string_equal(text, expected);
	free(text);
	json_decref(json);
}

static void
json_is_the_documented_one(void **state)
{
	(void)state;
	check_json(&(struct status_facts){ .redis = &nothing, .row = &issued },
		&asked,
		"{\"couponId\":1,\"userId\":42,\"requestId\":\"first\","
		"\"seq\":17,\"status\":\"ISSUED\",\"reason\":null,"
		"\"acceptedAt\":\"1970-01-01T00:00:01.000Z\","
		"\"issuedAt\":\"1970-01-01T00:00:02.000Z\"}");
	check_json(&(struct status_facts){ .redis = &holds_first,
			   .database_down = true },
		&asked,
		"{\"couponId\":1,\"userId\":42,\"requestId\":\"first\","
		"\"seq\":17,\"status\":\"PENDING\",\"reason\":null,"
		"\"acceptedAt\":\"1970-01-01T00:00:01.000Z\","
		"\"issuedAt\":null,\"stale\":true}");
}

static void
a_rejection_that_only_redis_knows_names_the_request(void **state)
{
	(void)state;
	const struct user_coupon key = {
		.coupon_id = 1,
		.user_id = 42,
		.request_id = "first",
	};

	check_json(&(struct status_facts){ .redis = &knows_rejection }, &key,
		"{\"couponId\":1,\"userId\":42,\"requestId\":\"first\","
		"\"seq\":18,\"status\":\"REJECTED\","
		"\"reason\":\"NUMBER_TAKEN\",\"acceptedAt\":null,"
		"\"issuedAt\":null}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_both_know_makes_one_status),
		cmocka_unit_test(json_is_the_documented_one),
		cmocka_unit_test(
			a_rejection_that_only_redis_knows_names_the_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
