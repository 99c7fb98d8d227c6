/* SPDX-License-Identifier: MIT */
#include "common/compiler.h"
#include "common/http_check.h"
#include "common/tests/unit.h"

#include <string.h>

static void
json_is_told_by_its_media_type(void **state UNUSED)
{
	static const struct {
		const char *type;
		bool json;
	} rows[] = {
		{ "application/json", true },
		{ "APPLICATION/Json", true },
		{ "application/json;charset=utf-8", true },
		{ "application/json ; charset=\"UTF-8\"", true },
		{ "application/json; profile=x; charset=utf-8", true },
		{ "application/json;charset=utf-16", false },
		{ "application/json;charset=utf-88", false },
		{ "application/jsonx", false },
		{ "application/json+x", false },
		{ "application/json, text/plain", false },
		{ "text/json", false },
		{ "", false },
		{ NULL, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (http_is_json(rows[i].type) != rows[i].json)
			fail_msg("%s", rows[i].type);
	}
}

static void
a_traceparent_is_valid_to_the_letter(void **state UNUSED)
{
#define ID "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"
#define ZEROS "0000000000000000"
	static const struct {
		const char *value;
		bool valid;
	} rows[] = {
		{ "00-" ID "-" SPAN "-01", true },
		{ "cc-" ID "-" SPAN "-01", true },
		{ "cc-" ID "-" SPAN "-01-what-comes", true },
		{ "cc-" ID "-" SPAN "-01.what", false },
		{ "00-" ID "-" SPAN "-01-more", false },
		{ "ff-" ID "-" SPAN "-01", false },
		{ "00-" ZEROS ZEROS "-" SPAN "-01", false },
		{ "00-" ID "-" ZEROS "-01", false },
		{ "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01", false },
		{ "00-" ID "-" SPAN "-0", false },
		{ "00-" ID "-" SPAN "x01", false },
		{ "0g-" ID "-" SPAN "-01", false },
		{ "", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (http_is_traceparent(rows[i].value) != rows[i].valid)
			fail_msg("%s", rows[i].value);
	}
}

static void
a_client_id_is_short_and_plain(void **state UNUSED)
{
	char longest[130];

	memset(longest, 'a', sizeof(longest));
	longest[128] = '\0';
	assert_true(http_is_client_id(longest));
	longest[128] = 'a';
	longest[129] = '\0';
	assert_false(http_is_client_id(longest));
	assert_true(http_is_client_id("A-b_c.9"));
	assert_false(http_is_client_id(""));
	assert_false(http_is_client_id("a b"));
	assert_false(http_is_client_id("a\nlevel=error"));
	assert_false(http_is_client_id("a\"b"));
}

static void
percent_decoding_takes_whole_escapes_of_text_only(void **state UNUSED)
{
	static const struct {
		const char *text;
		const char *decoded; /* NULL: refused */
	} rows[] = {
		{ "plain", "plain" }, { "%41%2f%2F", "A//" },
		{ "%EA%B0%80", "\xEA\xB0\x80" },
		{ "\xEA\xB0\x80", "\xEA\xB0\x80" }, { "%2541", "%41" },
		{ "", "" }, { "%", NULL }, { "%4", NULL }, { "a%4", NULL },
		{ "%4g", NULL }, { "%00", NULL }, { "%80", NULL },
		{ "%C0%AF", NULL },       /* overlong */
		{ "%ED%A0%80", NULL },    /* surrogate */
		{ "%F4%90%80%80", NULL }, /* past U+10FFFF */
		{ "%E2%82", NULL },       /* cut */
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char buf[64];
		bool ok = http_percent_decode(
			buf, rows[i].text, strlen(rows[i].text));

		if (ok != (rows[i].decoded != NULL))
			fail_msg("%s", rows[i].text);
		if (ok)
			assert_string_equal(buf, rows[i].decoded);
	}
}

static struct http_headers
headers_of(const char *const *lines)
{
	struct http_headers headers = { 0 };

	for (; *lines != NULL; lines += 2)
		http_headers_add(
			&headers, lines[0], strlen(lines[0]), lines[1]);
	return headers;
}
#define HEADERS(...) headers_of((const char *const[]){ __VA_ARGS__, NULL })

static void
headers_are_found_in_any_case(void **state UNUSED)
{
	struct http_headers headers = HEADERS("hOsT", "h", "CONTENT-TYPE", "t",
		"content-length", "1", "x-request-ID", "r", "Traceparent", "p",
		"AUTHORIZATION", "a", "accept-language", "ko");

	assert_null(http_headers_fault(&headers, "HTTP/1.1"));
	assert_string_equal(headers.content_type, "t");
	assert_string_equal(headers.content_length, "1");
	assert_string_equal(headers.request_id, "r");
	assert_string_equal(headers.traceparent, "p");
	assert_string_equal(headers.authorization, "a");
	assert_string_equal(headers.accept_language, "ko");
}

static void
faulty_framing_is_named(void **state UNUSED)
{
	struct http_headers headers;

	headers = HEADERS(
		"Host", "a", "Content-Length", "1", "Content-Length", "1");
	assert_non_null(http_headers_fault(&headers, "HTTP/1.1"));
	headers = HEADERS("Host", "a", "Content-Length", "1",
		"Transfer-Encoding", "chunked");
	assert_non_null(http_headers_fault(&headers, "HTTP/1.1"));
	headers = HEADERS("Host", "a", "Transfer-Encoding", "identity");
	assert_non_null(http_headers_fault(&headers, "HTTP/1.1"));
	headers = HEADERS("Host", "a", "Transfer-Encoding", "Chunked");
	assert_null(http_headers_fault(&headers, "HTTP/1.1"));
	assert_non_null(http_headers_fault(&headers, "HTTP/1.0"));
	headers = HEADERS("Host", "a", "Content-Length ", "1");
	assert_non_null(http_headers_fault(&headers, "HTTP/1.1"));
	headers = HEADERS("Host", "a", "", "1");
	assert_non_null(http_headers_fault(&headers, "HTTP/1.1"));
	headers = HEADERS("Content-Length", "1");
	assert_non_null(http_headers_fault(&headers, "HTTP/1.1"));
	assert_null(http_headers_fault(&headers, "HTTP/1.0"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_is_told_by_its_media_type),
		cmocka_unit_test(a_traceparent_is_valid_to_the_letter),
		cmocka_unit_test(a_client_id_is_short_and_plain),
		cmocka_unit_test(
			percent_decoding_takes_whole_escapes_of_text_only),
		cmocka_unit_test(headers_are_found_in_any_case),
		cmocka_unit_test(faulty_framing_is_named),
	};

	return cmocka_run_group_tests_name("http_check", tests, NULL, NULL);
}
