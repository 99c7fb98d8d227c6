/* SPDX-License-Identifier: MIT */
#include "common/http_check.h"

#include "common/compiler.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define CLIENT_ID_MAX 128
#define TRACEPARENT_LEN 55 /* 00-<32 hex>-<16 hex>-<2 hex> */

static const struct {
	enum http_method method;
	const char *name;
} methods[] = {
	{ HTTP_POST, "POST" },
	{ HTTP_GET, "GET" },
	{ HTTP_PUT, "PUT" },
	{ HTTP_HEAD, "HEAD" },
	{ HTTP_OPTIONS, "OPTIONS" },
	{ HTTP_DELETE, "DELETE" },
	{ HTTP_PATCH, "PATCH" },
};

enum http_method
http_method_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (strcmp(name, methods[i].name) == 0)
			return methods[i].method;
	}
	return HTTP_OTHER;
}

const char *
http_method_name(enum http_method method)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (methods[i].method == method)
			return methods[i].name;
	}
	return "UNKNOWN";
}

/* RFC 9110 5.6.2, "tchar" */
static bool
is_token(const char *text, size_t len)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (!isalnum(c) && (c == '\0' || strchr(others, c) == NULL))
			return false;
	}
	return len > 0;
}

/* The first of several counts, as in MHD_lookup_connection_value(). */
static void
keep_first(const char **slot, const char *value)
{
	if (*slot == NULL)
		*slot = value;
}

static void
take(struct http_headers *headers, const char *name, const char *value)
{
	if (strcasecmp(name, "Host") == 0) {
		headers->n_host++;
	} else if (strcasecmp(name, "Content-Type") == 0) {
		headers->n_content_type++;
		keep_first(&headers->content_type, value);
	} else if (strcasecmp(name, "Content-Length") == 0) {
		headers->n_content_length++;
		keep_first(&headers->content_length, value);
	} else if (strcasecmp(name, "Transfer-Encoding") == 0) {
		headers->n_transfer_encoding++;
		keep_first(&headers->transfer_encoding, value);
	} else if (strcasecmp(name, "Authorization") == 0) {
		keep_first(&headers->authorization, value);
	} else if (strcasecmp(name, "Accept-Language") == 0) {
		keep_first(&headers->accept_language, value);
	} else if (strcasecmp(name, "X-Request-Id") == 0) {
		keep_first(&headers->request_id, value);
	} else if (strcasecmp(name, "traceparent") == 0) {
		keep_first(&headers->traceparent, value);
	}
}

void
http_headers_add(struct http_headers *headers, const char *name,
	size_t name_len, const char *value)
{
	if (!is_token(name, name_len)) {
		headers->bad_name = true;
		return;
	}
	switch (name_len) { /* the lengths that take() knows */
	case sizeof("Host") - 1:
	case sizeof("Content-Type") - 1:
	case sizeof("Content-Length") - 1:
	case sizeof("Transfer-Encoding") - 1:
	case sizeof("Authorization") - 1:
	case sizeof("Accept-Language") - 1:
	case sizeof("traceparent") - 1:
		take(headers, name, value);
		break;
	default:
		break;
	}
}

const char *
http_headers_fault(const struct http_headers *headers, const char *version)
{
	if (headers->bad_name)
		return "A header name is malformed.";
	if (headers->n_host > 1)
		return "Host is given more than once.";
	if (headers->n_host == 0 && strcmp(version, "HTTP/1.1") == 0)
		return "Host is missing.";
	if (headers->n_content_length > 1)
		return "Content-Length is given more than once.";
	if (headers->n_content_type > 1)
		return "Content-Type is given more than once.";
	if (headers->n_transfer_encoding == 0)
		return NULL;
	if (headers->n_content_length > 0)
		return "Content-Length and Transfer-Encoding exclude each "
		       "other.";
	if (headers->n_transfer_encoding > 1 ||
		strcasecmp(headers->transfer_encoding, "chunked") != 0)
		return "The only Transfer-Encoding known here is chunked.";
	if (strcmp(version, "HTTP/1.0") == 0)
		return "HTTP/1.0 has no Transfer-Encoding.";
	return NULL;
}

static const char *
skip_blanks(const char *p)
{
	return p + strspn(p, " \t");
}

static bool
is_charset_utf8(const char *params)
{
	const char *p = strcasestr(params, "charset=");

	if (p == NULL)
		return true;
	p += sizeof("charset=") - 1;
	if (*p == '"')
		p++;
	return strncasecmp(p, "utf-8", 5) == 0 &&
	       strchr("\" \t;", p[5]) != NULL;
}

static bool
is_of_type(const char *content_type, const char *type)
{
	size_t len = strlen(type);

	if (content_type == NULL || strncasecmp(content_type, type, len) != 0)
		return false;
	const char *rest = skip_blanks(content_type + len);
	return *rest == '\0' || (*rest == ';' && is_charset_utf8(rest));
}

bool
http_is_json(const char *content_type)
{
	return is_of_type(content_type, "application/json");
}

bool
http_is_actuator_json(const char *content_type)
{
	return http_is_json(content_type) ||
	       is_of_type(content_type,
		       "application/vnd.spring-boot.actuator.v3+json") ||
	       is_of_type(content_type,
		       "application/vnd.spring-boot.actuator.v2+json");
}

/* `len` lower-case hex digits, not all 0 when `not_zero`. */
static bool
is_hex(const char *p, size_t len, bool not_zero)
{
	bool zero = true;

	for (size_t i = 0; i < len; i++) {
		bool digit = p[i] >= '0' && p[i] <= '9';

		if (!digit && !(p[i] >= 'a' && p[i] <= 'f'))
			return false;
		zero = zero && p[i] == '0';
	}
	return !(zero && not_zero);
}

bool
http_is_traceparent(const char *value)
{
	size_t len = strlen(value);

	if (len < TRACEPARENT_LEN || value[2] != '-' || value[35] != '-' ||
		value[52] != '-')
		return false;
	if (!is_hex(value, 2, false) || strncmp(value, "ff", 2) == 0)
		return false;
	if (strncmp(value, "00", 2) == 0 && len != TRACEPARENT_LEN)
		return false;
	if (len > TRACEPARENT_LEN && value[TRACEPARENT_LEN] != '-')
		return false; /* a later version may append members */
	return is_hex(value + 3, 32, true) && is_hex(value + 36, 16, true) &&
	       is_hex(value + 53, 2, false);
}

bool
http_is_client_id(const char *value)
{
	size_t len = 0;

	for (; len <= CLIENT_ID_MAX && value[len] != '\0'; len++) {
		unsigned char c = (unsigned char)value[len];

		if (!isalnum(c) && c != '.' && c != '_' && c != '-')
			return false;
	}
	return len > 0 && len <= CLIENT_ID_MAX;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
http_percent_decode(char *dst, const char *src, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (src[i] != '%') {
			dst[n++] = src[i];
			continue;
		}
		int high = i + 2 < len ? hex_value(src[i + 1]) : -1;
		int low = high >= 0 ? hex_value(src[i + 2]) : -1;
		if (low < 0 || (high == 0 && low == 0))
			return false;
		dst[n++] = (char)(high * 16 + low);
		i += 2;
	}
	dst[n] = '\0';
	return http_is_utf8(dst, n);
}

/* Continuation bytes after a lead byte; -1 when it cannot lead. */
static int
utf8_tail(unsigned char lead)
{
	if (lead < 0x80)
		return 0;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 1;
	if (lead >= 0xe0 && lead <= 0xef)
		return 2;
	if (lead >= 0xf0 && lead <= 0xf4)
		return 3;
	return -1;
}

/* The overlong forms, surrogates and values past U+10FFFF. */
static bool
is_utf8_second(unsigned char lead, unsigned char second)
{
	switch (lead) {
	case 0xe0:
		return second >= 0xa0;
	case 0xed:
		return second <= 0x9f;
	case 0xf0:
		return second >= 0x90;
	case 0xf4:
		return second <= 0x8f;
	default:
		return true;
	}
}

bool
http_is_utf8(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;

	for (size_t i = 0; i < len; i++) {
		unsigned char lead = p[i];
		int tail = utf8_tail(lead);

		if (tail < 0 || (size_t)tail >= len - i)
			return false;
		if (tail > 0 && !is_utf8_second(lead, p[i + 1]))
			return false;
		for (; tail > 0; tail--) {
			if ((p[++i] & 0xc0) != 0x80)
				return false;
		}
	}
	return true;
}
