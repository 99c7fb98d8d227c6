/* SPDX-License-Identifier: MIT */
#include "common/error.h"
#include "common/message.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct message sample = {
	.coupon_id = 1,
	.user_id = INT64_MAX,
	.seq = 17,
	.accepted_at_ms = 1795356120123,
	.request_id = "01JDB8VQ5R_k-9",
};

static enum message_verdict
decode(const char *text, struct message *ret, bool *identified,
	struct error *err)
{
	return message_decode(text, strlen(text), ret, identified, err);
}

static void
a_message_has_the_documented_form(void **state UNUSED)
{
	char buf[MESSAGE_SIZE_MAX];
	size_t len = message_encode(&sample, buf);

	assert_string_equal(buf,
		"{\"v\":1,\"requestId\":\"01JDB8VQ5R_k-9\",\"couponId\":1,"
		"\"userId\":9223372036854775807,\"seq\":17,"
		"\"acceptedAt\":\"2026-11-22T14:02:00.123Z\"}");
	assert_int_equal(len, strlen(buf));
}

static void
decoding_gives_back_what_was_encoded(void **state UNUSED)
{
	char buf[MESSAGE_SIZE_MAX];
	struct message back;
	struct error err;
	bool identified;
	size_t len = message_encode(&sample, buf);

	assert_int_equal(
		message_decode(buf, len, &back, &identified, &err), MESSAGE_OK);
	assert_true(identified);
	assert_int_equal(back.coupon_id, sample.coupon_id);
	assert_int_equal(back.user_id, sample.user_id);
	assert_int_equal(back.seq, sample.seq);
	assert_int_equal(back.accepted_at_ms, sample.accepted_at_ms);
	assert_string_equal(back.request_id, sample.request_id);
}

static void
the_longest_message_fits(void **state UNUSED)
{
	struct message longest = { INT64_MAX, INT64_MAX, INT64_MAX,
		253402300799999, "" };
	char buf[MESSAGE_SIZE_MAX];

	memset(longest.request_id, 'x', REQUEST_ID_MAX);
	assert_true(message_encode(&longest, buf) < MESSAGE_SIZE_MAX);
}

static void
unknown_members_are_ignored(void **state UNUSED)
{
	struct message ret;
	struct error err;
	bool identified;

	assert_int_equal(
		decode("{\"v\":1,\"requestId\":\"r\",\"couponId\":1,\"userId\":"
		       "2,"
		       "\"seq\":3,\"acceptedAt\":\"2026-11-22T14:02:00Z\","
		       "\"more\":{\"a\":[1.5]}}",
			&ret, &identified, &err),
		MESSAGE_OK);
}

static void
a_higher_version_is_not_judged(void **state UNUSED)
{
	struct message ret;
	struct error err;
	bool identified;

	assert_int_equal(decode("{\"v\":2,\"couponId\":\"new\"}", &ret,
				 &identified, &err),
		MESSAGE_NEWER);
}

#define HEAD "{\"v\":1,\"requestId\":\"r\",\"couponId\":1,\"userId\":2"
#define AT "\"acceptedAt\":\"2026-11-22T14:02:00Z\""

static void
what_is_malformed_is_bad_and_says_why(void **state UNUSED)
{
	static const struct {
		const char *text;
		const char *why;
		bool identified;
	} rows[] = {
		{ "", "JSON", false },
		{ "[]", "object", false },
		{ "null", "object", false },
		{ "{", "JSON", false },
		{ "{\"v\":1} x", "JSON", false },
		{ "{\"v\":1,\"v\":1}", "JSON", false },
		{ "{\"v\":1,\"requestId\":\"\xff\"}", "JSON", false },
		{ "{\"requestId\":\"r\"}", "v:", false },
		{ "{\"v\":0}", "v:", false },
		{ "{\"v\":\"1\"}", "v:", false },
		{ "{\"v\":1.0}", "v:", false },
		{ "{\"v\":99999999999999999999}", "JSON", false },
		{ "{\"v\":1,\"couponId\":0}", "couponId", false },
		{ "{\"v\":1,\"couponId\":-1}", "couponId", false },
		{ "{\"v\":1,\"couponId\":1e3}", "couponId", false },
		{ "{\"v\":1,\"couponId\":\"1\"}", "couponId", false },
		{ "{\"v\":1,\"couponId\":9223372036854775808}", "JSON", false },
		{ "{\"v\":1,\"couponId\":1,\"userId\":true}", "userId", false },
		{ "{\"v\":1,\"couponId\":1,\"userId\":2,\"requestId\":\"a b\"}",
			"requestId", false },
		{ "{\"v\":1,\"couponId\":1,\"userId\":2,\"requestId\":\"\"}",
			"requestId", false },
		{ HEAD "}", "seq", true },
		{ HEAD ",\"seq\":0," AT "}", "seq", true },
		{ HEAD ",\"seq\":1}", "acceptedAt", true },
		{ HEAD ",\"seq\":1,\"acceptedAt\":5}", "acceptedAt", true },
		{ HEAD ",\"seq\":1,\"acceptedAt\":\"now\"}", "acceptedAt",
			true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct message ret;
		struct error err;
		bool identified;

		assert_int_equal(decode(rows[i].text, &ret, &identified, &err),
			MESSAGE_BAD);
		assert_int_equal(err.kind, ERROR_BAD_INPUT);
		assert_non_null(strstr(err.msg, rows[i].why));
		assert_int_equal(identified, rows[i].identified);
	}
}

static void
no_value_depth_and_size_are_bounded(void **state UNUSED)
{
	static char deep[70000];
	struct message ret;
	struct error err;
	bool identified;

	assert_int_equal(
		message_decode(NULL, 0, &ret, &identified, &err), MESSAGE_BAD);
	memset(deep, '[', sizeof(deep));
	assert_int_equal(message_decode(deep, 60000, &ret, &identified, &err),
		MESSAGE_BAD);
	assert_int_equal(
		message_decode(deep, sizeof(deep), &ret, &identified, &err),
		MESSAGE_BAD);
	assert_non_null(strstr(err.msg, "64 KB"));
}

static void
request_ids_have_their_alphabet_and_length(void **state UNUSED)
{
	char longest[REQUEST_ID_MAX + 1];

	memset(longest, 'a', sizeof(longest));
	assert_true(request_id_is_valid("aZ09_-", 6));
	assert_true(request_id_is_valid(longest, REQUEST_ID_MAX));
	assert_false(request_id_is_valid(longest, REQUEST_ID_MAX + 1));
	assert_false(request_id_is_valid("", 0));
	assert_false(request_id_is_valid("a:b", 3));
	assert_false(request_id_is_valid("a\0b", 3));
	assert_false(request_id_is_valid("\xc3\xa9", 2));
}

enum { MANY = 10000 };

static int
by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void *
generate_many(void *arg)
{
	char(*ids)[REQUEST_ID_MAX + 1] = arg;

	for (size_t i = 0; i < MANY; i++)
		request_id_generate(ids[i]);
	return NULL;
}

static void
generated_ids_are_valid_unique_and_in_time_order(void **state UNUSED)
{
	static char ids[2 * MANY][REQUEST_ID_MAX + 1];
	pthread_t other;

	assert_int_equal(
		pthread_create(&other, NULL, generate_many, ids[MANY]), 0);
	(void)generate_many(ids);
	(void)pthread_join(other, NULL);
	for (size_t i = 1; i < MANY; i++)
		assert_true(memcmp(ids[i - 1], ids[i], 10) <= 0);
	qsort(ids, ARRAY_SIZE(ids), sizeof(ids[0]), by_text);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		assert_int_equal(strlen(ids[i]), 26);
		assert_true(request_id_is_valid(ids[i], 26));
		if (i > 0)
			assert_string_not_equal(ids[i - 1], ids[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_has_the_documented_form),
		cmocka_unit_test(decoding_gives_back_what_was_encoded),
		cmocka_unit_test(the_longest_message_fits),
		cmocka_unit_test(unknown_members_are_ignored),
		cmocka_unit_test(a_higher_version_is_not_judged),
		cmocka_unit_test(what_is_malformed_is_bad_and_says_why),
		cmocka_unit_test(no_value_depth_and_size_are_bounded),
		cmocka_unit_test(request_ids_have_their_alphabet_and_length),
		cmocka_unit_test(
			generated_ids_are_valid_unique_and_in_time_order),
	};

	return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
