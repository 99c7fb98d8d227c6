/* SPDX-License-Identifier: MIT */
#include "common/error.h"
#include "common/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void
sections_become_dotted_keys_with_lines(void **state UNUSED)
{
	static const char text[] = "# comment\n"
				   "redis:\n"
				   "  host: 127.0.0.1\n"
				   "  pool:\n"
				   "    max-active: 50 # of 50\n"
				   "    min-idle: '10'\n"
				   "kafka.properties:\n"
				   "  linger.ms: 20\n"
				   "server.port: \"80\\u00e9\"\n"
				   "flow: { a: 1, b: { c: x y } }\n"
				   "none:\n"
				   "tilde: ~\n"
				   "empty: ''\n";
	static const struct {
		const char *key;
		const char *value;
		size_t line;
		bool is_null;
	} want[] = { { "redis.host", "127.0.0.1", 3, false },
		{ "redis.pool.max-active", "50", 5, false },
		{ "redis.pool.min-idle", "10", 6, false },
		{ "kafka.properties.linger.ms", "20", 8, false },
		{ "server.port", "80\xc3\xa9", 9, false },
		{ "flow.a", "1", 10, false }, { "flow.b.c", "x y", 10, false },
		{ "none", "", 11, true }, { "tilde", "~", 12, true },
		{ "empty", "", 13, false } };
	struct yaml_map yaml;
	struct error err;

	assert_int_equal(
		yaml_map_parse("f", text, strlen(text), &yaml, &err), 0);
	assert_int_equal(yaml.count, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_string_equal(yaml.entries[i].key, want[i].key);
		assert_string_equal(yaml.entries[i].value, want[i].value);
		assert_int_equal(yaml.entries[i].is_null, want[i].is_null);
		if (!want[i].is_null)
			assert_int_equal(yaml.entries[i].line, want[i].line);
	}
	yaml_map_free(&yaml);
}

static void
nothing_is_a_document_too(void **state UNUSED)
{
	static const char *const texts[] = { "", "\n", "# only\n", "---\n",
		"---\n...\n", "{}" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct yaml_map yaml;
		struct error err;

		assert_int_equal(yaml_map_parse("f", texts[i], strlen(texts[i]),
					 &yaml, &err),
			0);
		assert_int_equal(yaml.count, 0);
		yaml_map_free(&yaml);
	}
}

static void
surprises_are_errors_with_their_line(void **state UNUSED)
{
	static const struct {
		const char *text;
		const char *msg;
	} rows[] = { { "a: 1\nb: &x 2\n", "f:2: anchors are not supported" },
		{ "a: &x\n  b: 1\n", "f:1: anchors are not supported" },
		{ "a: *x\n", "f:1: aliases are not supported" },
		{ "a: !!int 1\n", "f:1: tags are not supported" },
		{ "a: !!map\n  b: 1\n", "f:1: tags are not supported" },
		{ "a: 1\na: 2\n", "f:2: a: the key appears twice" },
		{ "a:\n  b: 1\na:\n  c: 1\n", "f:3: a: the key appears twice" },
		{ "a:\n  b: 1\na.b: 2\n", "f:3: a.b: the key appears twice" },
		{ "a.b: 1\na:\n  b: 2\n", "f:3: a.b: the key appears twice" },
		{ "a:\n- 1\n",
			"f:2: a: expected one value, got a list; write a,b,c" },
		{ "- a\n", "f:1: expected one value, got a list; write a,b,c" },
		{ "just text\n", "f:1: expected `key: value` lines" },
		{ "a: 1\n---\nb: 1\n", "f:2: a second document" },
		{ "? [a]\n: 1\n", "expected one value, got a list" },
		{ "{a: 1}: 2\n", "f:1: expected a key, got a mapping" },
		{ "'': 1\n", "f:1: expected a key, got an empty one" },
		{ "a: \"x\\0y\"\n", "f:1: a: a zero byte in the value" },
		{ "a: 1\n  b: 2\n", "f:2: not valid YAML: " },
		{ "a: 'open\n", "not valid YAML: " },
		{ "a: \xff\n", "not valid YAML: " },
		{ "a:\n\tb: 1\n", "f:2: not valid YAML: " } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct yaml_map yaml = { 0 };
		struct error err;

		assert_int_equal(yaml_map_parse("f", rows[i].text,
					 strlen(rows[i].text), &yaml, &err),
			-ERROR_CONFIG_INVALID);
		if (strstr(err.msg, rows[i].msg) == NULL)
			fail_msg("%s: got \"%s\"", rows[i].text, err.msg);
		assert_null(yaml.entries);
	}
}

static void
depth_length_and_number_are_bounded(void **state UNUSED)
{
	static char text[2000000];
	struct yaml_map yaml;
	struct error err;
	size_t len = 0;

	for (int i = 0; i < 20; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "{a: ");
	assert_int_not_equal(yaml_map_parse("f", text, len, &yaml, &err), 0);
	assert_non_null(strstr(err.msg, "too many nested sections"));

	memset(text, 'k', 300);
	memcpy(text + 300, ": 1\n", 5);
	assert_int_not_equal(yaml_map_parse("f", text, 304, &yaml, &err), 0);
	assert_non_null(strstr(err.msg, "too long"));

	len = 0;
	for (int i = 0; i < 3000; i++)
		len += (size_t)snprintf(
			text + len, sizeof(text) - len, "k%d: 1\n", i);
	assert_int_not_equal(yaml_map_parse("f", text, len, &yaml, &err), 0);
	assert_non_null(strstr(err.msg, "more than"));
}

static void
a_file_that_cannot_be_read_says_why(void **state UNUSED)
{
	struct yaml_map yaml;
	struct error err;

	assert_int_equal(yaml_map_load("/nonexistent/x.yaml", &yaml, &err),
		-ERROR_CONFIG_INVALID);
	assert_string_equal(
		err.msg, "/nonexistent/x.yaml: No such file or directory");
	assert_int_equal(
		yaml_map_load("/", &yaml, &err), -ERROR_CONFIG_INVALID);
	assert_string_equal(err.msg, "/: Is a directory");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sections_become_dotted_keys_with_lines),
		cmocka_unit_test(nothing_is_a_document_too),
		cmocka_unit_test(surprises_are_errors_with_their_line),
		cmocka_unit_test(depth_length_and_number_are_bounded),
		cmocka_unit_test(a_file_that_cannot_be_read_says_why),
	};

	return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
