/* SPDX-License-Identifier: MIT */
/*
 * http_check - is this request what HTTP/1.1 allows, one header at a time.
 *
 * libmicrohttpd 0.9.75 lets through what lets requests be smuggled past a
 * proxy (Content-Length beside Transfer-Encoding, either of them twice, a
 * coding it does not know, blanks in header names); this does not.
 * Pure functions over text; any thread.
 */
#ifndef COMMON_HTTP_CHECK_H
#define COMMON_HTTP_CHECK_H

#include <stdbool.h>
#include <stddef.h>

enum http_method {
	HTTP_OTHER = 0,
	HTTP_GET = 1 << 0,
	HTTP_HEAD = 1 << 1,
	HTTP_POST = 1 << 2,
	HTTP_PUT = 1 << 3,
	HTTP_DELETE = 1 << 4,
	HTTP_PATCH = 1 << 5,
	HTTP_OPTIONS = 1 << 6,
};

/* Exact spelling; anything else is HTTP_OTHER. */
enum http_method http_method_parse(const char *name);
/* "GET"; "UNKNOWN" for HTTP_OTHER. */
const char *http_method_name(enum http_method method);

/* The headers the kit itself reads; borrowed from whoever parsed them. */
struct http_headers {
	const char *content_length;
	const char *content_type;
	const char *transfer_encoding;
	const char *authorization;
	const char *accept_language;
	const char *request_id;
	const char *traceparent;
	unsigned n_content_length;
	unsigned n_transfer_encoding;
	unsigned n_content_type;
	unsigned n_host;
	bool bad_name; /* a header name that is no token */
};

/* Take one header in. */
void http_headers_add(struct http_headers *headers, const char *name,
	size_t name_len, const char *value);

/* What is wrong with the framing, as a sentence, or NULL. */
const char *http_headers_fault(
	const struct http_headers *headers, const char *version);

/* application/json, in UTF-8 where it says so. */
bool http_is_json(const char *content_type);
/* That, or what clients of Spring Boot's actuator send. */
bool http_is_actuator_json(const char *content_type);

/* W3C Trace Context level 1, any version but ff. */
bool http_is_traceparent(const char *value);

/* [A-Za-z0-9._-]{1,128} */
bool http_is_client_id(const char *value);

/*
 * Percent-decode src[0..len) into dst (len + 1 bytes).  False when an escape
 * is broken, or the result holds a NUL or is not UTF-8.
 */
bool http_percent_decode(char *dst, const char *src, size_t len);

bool http_is_utf8(const char *text, size_t len);

#endif
