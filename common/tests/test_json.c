/* SPDX-License-Identifier: MIT */
#include "common/compiler.h"
#include "common/error.h"
#include "common/json.h"
#include "common/tests/unit.h"

#include <jansson.h>
#include <string.h>

/* NULL when refused, with `err` set. */
static json_t *
parse(const char *body, struct error *err)
{
	json_t *json;

	return json_body_parse(body, strlen(body), &json, err) == 0 ? json
								    : NULL;
}

static void
only_one_strict_object_is_taken(void **state UNUSED)
{
	static const char *const bad[] = { "", " ", "null", "[]", "1", "\"a\"",
		"{", "{}{}", "{} x", "{\"a\":1,}", "{'a':1}", "{a:1}",
		"{\"a\":1,\"a\":1}", "{\"a\":{\"b\":1,\"b\":2}}", "{\"a\":01}",
		"{\"a\":+1}", "{\"a\":.5}", "{\"a\":NaN}", "{\"a\":Infinity}",
		"{\"a\":9223372036854775808}", "{\"a\":1e400}",
		"{\"a\":\"\\u0000\"}", "{\"\\u0000\":1}", "{\"a\":\"\\ud800\"}",
		"{\"a\":\"\xC0\xAF\"}", "{\"a\":\"\xFF\"}", "\xEF\xBB\xBF{}",
		"{\"a\":\"\x01\"}", "{\"a\":tru}", "/* */{}" };
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (parse(bad[i], &err) != NULL)
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(err.kind, ERROR_BAD_INPUT);
	}
	json_t *json =
		parse(" \t\r\n{\"a\" : [1, {\"a\":\"\xEA\xB0\x80\"}]}\n", &err);
	assert_non_null(json);
	json_decref(json);
}

static void
a_nul_byte_is_no_end(void **state UNUSED)
{
	static const char body[] = "{\"a\":1}\0{}";
	struct error err;
	json_t *json;

	assert_int_equal(json_body_parse(body, sizeof(body) - 1, &json, &err),
		-ERROR_BAD_INPUT);
}

static void
depth_is_bounded(void **state UNUSED)
{
	char body[5000] = "{\"a\":";
	struct error err;
	size_t at = strlen(body);

	for (int depth = 1; depth < JSON_DEPTH_MAX; depth++)
		body[at++] = '[';
	size_t deepest = at;
	for (int depth = 1; depth < JSON_DEPTH_MAX; depth++)
		body[at++] = ']';
	memcpy(body + at, "}", 2);
	json_t *json = parse(body, &err);
	assert_non_null(json);
	json_decref(json);
	memmove(body + deepest + 2, body + deepest, at + 2 - deepest);
	memcpy(body + deepest, "[]", 2);
	assert_null(parse(body, &err));
	assert_non_null(strstr(err.msg, "too deeply"));
	memset(body, '[', sizeof(body) - 1);
	assert_null(parse(body, &err));
	/* brackets in strings are text */
	json = parse("{\"a\":\"[[[[[[[[[[[[[[[[[[[[\\\"[[[\"}", &err);
	assert_non_null(json);
	json_decref(json);
}

static void
an_id_is_a_positive_integer(void **state UNUSED)
{
	static const struct {
		const char *body;
		int64_t value; /* 0: refused */
	} rows[] = {
		{ "{\"id\":1}", 1 },
		{ "{\"id\":9223372036854775807}", INT64_MAX },
		{ "{\"id\":0}", 0 },
		{ "{\"id\":-0}", 0 },
		{ "{\"id\":-1}", 0 },
		{ "{\"id\":-9223372036854775808}", 0 },
		{ "{\"id\":1.0}", 0 },
		{ "{\"id\":1e0}", 0 },
		{ "{\"id\":1E2}", 0 },
		{ "{\"id\":\"1\"}", 0 },
		{ "{\"id\":true}", 0 },
		{ "{\"id\":null}", 0 },
		{ "{\"id\":[1]}", 0 },
		{ "{\"id\":{}}", 0 },
		{ "{\"Id\":1}", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct error err;
		int64_t value = 0;
		json_t *json = parse(rows[i].body, &err);

		assert_non_null(json);
		if (json_member_id(json, "id", &value, &err) < 0)
			assert_memory_equal(err.msg, "id ", 3);
		if (value != rows[i].value)
			fail_msg("%s", rows[i].body);
		json_decref(json);
	}
}

static void
members_have_ranges_and_lengths(void **state UNUSED)
{
	struct error err;
	json_t *json = parse("{\"n\":5,\"s\":\"ab\"}", &err);
	const char *text = NULL;
	int64_t value = 0;

	assert_int_equal(json_member_int(json, "n", (struct json_range){ 5, 5 },
				 &value, &err),
		0);
	assert_int_equal(value, 5);
	assert_int_equal(json_member_int(json, "n", (struct json_range){ 6, 9 },
				 &value, &err),
		-ERROR_BAD_INPUT);
	assert_string_equal(err.msg, "n must be in 6 .. 9.");
	assert_int_equal(json_member_text(json, "s",
				 (struct json_range){ 2, 2 }, &text, &err),
		0);
	assert_string_equal(text, "ab");
	assert_int_equal(json_member_text(json, "s",
				 (struct json_range){ 3, 9 }, &text, &err),
		-ERROR_BAD_INPUT);
	assert_int_equal(json_member_text(json, "s",
				 (struct json_range){ 0, 1 }, &text, &err),
		-ERROR_BAD_INPUT);
	assert_int_equal(json_member_text(json, "n",
				 (struct json_range){ 0, 9 }, &text, &err),
		-ERROR_BAD_INPUT);
	assert_string_equal(err.msg, "n must be a string.");
	json_decref(json);
}

static void
what_is_written_can_be_read(void **state UNUSED)
{
	char control[33];
	char buf[512];
	struct json_text text;
	struct error err;

	for (int i = 0; i < 31; i++)
		control[i] = (char)(i + 1);
	memcpy(control + 31, "\"", 2);
	json_text_init(&text, buf, sizeof(buf));
	json_text_member(&text, "a", control);
	json_text_member(&text, "b", "\\ \xEA\xB0\x80 /");
	json_text_number(&text, "c", INT64_MIN);
	json_text_number(&text, "d", INT64_MAX);
	json_text_number(&text, "e", 0);
	size_t len = json_text_end(&text);
	assert_int_equal(len, strlen(buf));
	json_t *json = parse(buf, &err);
	assert_non_null(json);
	assert_string_equal(
		json_string_value(json_object_get(json, "a")), control);
	assert_string_equal(json_string_value(json_object_get(json, "b")),
		"\\ \xEA\xB0\x80 /");
	assert_int_equal(
		json_integer_value(json_object_get(json, "c")), INT64_MIN);
	assert_int_equal(
		json_integer_value(json_object_get(json, "d")), INT64_MAX);
	assert_int_equal(json_integer_value(json_object_get(json, "e")), 0);
	json_decref(json);
}

static void
a_member_that_does_not_fit_is_left_out(void **state UNUSED)
{
	char buf[64];

	for (size_t size = 3; size <= sizeof(buf); size++) {
		struct json_text text;
		struct error err;

		memset(buf, '#', sizeof(buf));
		json_text_init(&text, buf, size);
		json_text_member(&text, "first", "a\nb");
		json_text_number(&text, "n", -12345);
		json_text_member(&text, "third", "\"quoted\"");
		size_t len = json_text_end(&text);
		assert_true(len < size);
		assert_int_equal(strlen(buf), len);
		json_t *json = parse(buf, &err);
		assert_non_null(json);
		json_decref(json);
	}
}

/* Whatever the scan takes, the parser reads the same; the rest it leaves. */
static void
a_scan_takes_plain_ids_only(void **state UNUSED)
{
	static const struct {
		const char *body;
		int64_t a, b; /* 0: left to the parser */
	} cases[] = {
		{ "{\"a\":1,\"b\":2}", 1, 2 },
		{ " {\r\n\t\"b\" : 20 , \"a\" :10 } \n", 10, 20 },
		{ "{\"a\":999999999999999999,\"b\":1}", 999999999999999999, 1 },
		{ "{\"a\":1000000000000000000,\"b\":1}", 0, 0 },
		{ "{\"a\":0,\"b\":2}", 0, 0 },
		{ "{\"a\":01,\"b\":2}", 0, 0 },
		{ "{\"a\":-1,\"b\":2}", 0, 0 },
		{ "{\"a\":1.0,\"b\":2}", 0, 0 },
		{ "{\"a\":1e3,\"b\":2}", 0, 0 },
		{ "{\"a\":\"1\",\"b\":2}", 0, 0 },
		{ "{\"a\":1,\"a\":2}", 0, 0 },
		{ "{\"a\":1,\"b\":2,\"c\":3}", 0, 0 },
		{ "{\"a\":1,\"b\":2,}", 0, 0 },
		{ "{\"a\":1}", 0, 0 },
		{ "{\"a\":1,\"b\":2", 0, 0 },
		{ "{\"a\":1,\"b\":2} x", 0, 0 },
		{ "{\"\\u0061\":1,\"b\":2}", 0, 0 },
		{ "{\"a\":1 2,\"b\":2}", 0, 0 },
		{ "\"a\":1,\"b\":2}", 0, 0 },
		{ "{", 0, 0 },
		{ "", 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_id ids[] = { { .name = "a" }, { .name = "b" } };
		size_t len = strlen(cases[i].body);

		if (json_scan_ids(cases[i].body, len, ids, 2) !=
			(cases[i].a != 0))
			fail_msg("%s", cases[i].body);
		if (cases[i].a == 0)
			continue;
		assert_int_equal(ids[0].value, cases[i].a);
		assert_int_equal(ids[1].value, cases[i].b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_one_strict_object_is_taken),
		cmocka_unit_test(a_nul_byte_is_no_end),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(an_id_is_a_positive_integer),
		cmocka_unit_test(members_have_ranges_and_lengths),
		cmocka_unit_test(a_scan_takes_plain_ids_only),
		cmocka_unit_test(what_is_written_can_be_read),
		cmocka_unit_test(a_member_that_does_not_fit_is_left_out),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
