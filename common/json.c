/* SPDX-License-Identifier: MIT */
#include "common/json.h"

#include "common/error.h"
#include "common/text.h"

#include <jansson.h>
#include <string.h>

/* ---- reading ---- */

/* Deepest nesting of brackets outside strings; jansson's own limit is 2048
 * levels of recursion. */
static size_t
depth_of(const char *body, size_t len)
{
	size_t depth = 0, deepest = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		char c = body[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			depth++;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
		if (depth > deepest)
			deepest = depth;
	}
	return deepest;
}

int
json_body_parse(const char *body, size_t len, json_t **ret, struct error *err)
{
	json_error_t error;

	if (depth_of(body, len) > JSON_DEPTH_MAX)
		return error_set(
			err, ERROR_BAD_INPUT, "The JSON is nested too deeply.");
	json_t *json = json_loadb(body, len, JSON_REJECT_DUPLICATES, &error);
	if (json == NULL)
		return error_set(err, ERROR_BAD_INPUT,
			"The body is not valid JSON: %s (byte %d).", error.text,
			error.position);
	if (!json_is_object(json)) {
		json_decref(json);
		return error_set(err, ERROR_BAD_INPUT,
			"The body must be a JSON object.");
	}
	*ret = json;
	return 0;
}

int
json_member_int(const json_t *object, const char *name, struct json_range range,
	int64_t *ret, struct error *err)
{
	const json_t *member = json_object_get(object, name);

	if (member == NULL)
		return error_set(err, ERROR_BAD_INPUT, "%s is missing.", name);
	if (!json_is_integer(member))
		return error_set(
			err, ERROR_BAD_INPUT, "%s must be an integer.", name);
	int64_t value = json_integer_value(member);
	if (value < range.min || value > range.max)
		return error_set(err, ERROR_BAD_INPUT,
			"%s must be in %lld .. %lld.", name,
			(long long)range.min, (long long)range.max);
	*ret = value;
	return 0;
}

int
json_member_id(
	const json_t *object, const char *name, int64_t *ret, struct error *err)
{
	const struct json_range ids = { 1, INT64_MAX };

	return json_member_int(object, name, ids, ret, err);
}

int
json_member_text(const json_t *object, const char *name,
	struct json_range bytes, const char **ret, struct error *err)
{
	const json_t *member = json_object_get(object, name);

	if (member == NULL)
		return error_set(err, ERROR_BAD_INPUT, "%s is missing.", name);
	if (!json_is_string(member))
		return error_set(
			err, ERROR_BAD_INPUT, "%s must be a string.", name);
	int64_t len = (int64_t)json_string_length(member);
	if (len < bytes.min || len > bytes.max)
		return error_set(err, ERROR_BAD_INPUT,
			"%s must have %lld .. %lld bytes.", name,
			(long long)bytes.min, (long long)bytes.max);
	*ret = json_string_value(member);
	return 0;
}

/* ---- scanning ---- */

struct cursor {
	const char *p, *end;
};

static void
skip_blanks(struct cursor *at)
{
	while (at->p < at->end && (*at->p == ' ' || *at->p == '\t' ||
					  *at->p == '\n' || *at->p == '\r'))
		at->p++;
}

static bool
take(struct cursor *at, char wanted)
{
	skip_blanks(at);
	if (at->p == at->end || *at->p != wanted)
		return false;
	at->p++;
	return true;
}

static struct json_id *
take_name(struct cursor *at, struct json_id *ids, size_t n)
{
	if (!take(at, '"'))
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(ids[i].name);

		if ((size_t)(at->end - at->p) > len && at->p[len] == '"' &&
			memcmp(at->p, ids[i].name, len) == 0) {
			at->p += len + 1;
			return &ids[i];
		}
	}
	return NULL;
}

/* What follows the digits is seen by the next take(). */
static bool
take_id(struct cursor *at, int64_t *ret)
{
	int64_t value = 0;

	skip_blanks(at);
	if (at->p < at->end && *at->p == '0')
		return false;
	for (int i = 0; i < 18 && at->p < at->end; i++, at->p++) {
		if (*at->p < '0' || *at->p > '9')
			break;
		value = value * 10 + (*at->p - '0');
	}
	*ret = value;
	return value > 0;
}

bool
json_scan_ids(const char *body, size_t len, struct json_id *ids, size_t n)
{
	struct cursor at = { body, body + len };

	for (size_t i = 0; i < n; i++)
		ids[i].value = 0;
	for (size_t i = 0; i < n; i++) {
		struct json_id *id = NULL;

		if (take(&at, i == 0 ? '{' : ','))
			id = take_name(&at, ids, n);
		if (id == NULL || id->value != 0 || !take(&at, ':') ||
			!take_id(&at, &id->value))
			return false;
	}
	bool closed = take(&at, '}');
	skip_blanks(&at);
	return closed && at.p == at.end;
}

/* ---- writing ---- */

void
json_text_init(struct json_text *text, char *buf, size_t size)
{
	*text = (struct json_text){ .buf = buf, .size = size, .len = 1 };
	buf[0] = '{';
}

/* Room for a byte keeps two more: the closing brace and the NUL. */
static bool
put(struct json_text *text, const char *bytes, size_t len)
{
	if (len > text->size - 2 - text->len)
		return false;
	memcpy(text->buf + text->len, bytes, len);
	text->len += len;
	return true;
}

static bool
put_name(struct json_text *text, const char *name)
{
	return (text->len == 1 || put(text, ",", 1)) && put(text, "\"", 1) &&
	       put(text, name, strlen(name)) && put(text, "\":", 2);
}

static bool
put_escape(struct json_text *text, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";
	const char unicode[] = { '\\', 'u', '0', '0', digits[c >> 4],
		digits[c & 15] };
	const char plain[] = { '\\', (char)c };

	return c >= 0x20 ? put(text, plain, sizeof(plain))
			 : put(text, unicode, sizeof(unicode));
}

/* strcspn() would build a table of its reject set for each text. */
static size_t
plain_length(const char *text)
{
	const char *p = text;

	while ((unsigned char)*p >= 0x20 && *p != '"' && *p != '\\')
		p++;
	return (size_t)(p - text);
}

static bool
put_string(struct json_text *text, const char *value)
{
	if (!put(text, "\"", 1))
		return false;
	while (*value != '\0') {
		size_t run = plain_length(value);

		if (!put(text, value, run))
			return false;
		value += run;
		if (*value != '\0' &&
			!put_escape(text, (unsigned char)*value++))
			return false;
	}
	return put(text, "\"", 1);
}

void
json_text_member(struct json_text *text, const char *name, const char *value)
{
	size_t before = text->len;

	if (!put_name(text, name) || !put_string(text, value))
		text->len = before;
}

void
json_text_number(struct json_text *text, const char *name, int64_t value)
{
	size_t before = text->len;
	char digits[TEXT_INT_MAX];
	size_t len = (size_t)(text_put_int(digits, value) - digits);

	if (!put_name(text, name) || !put(text, digits, len))
		text->len = before;
}

size_t
json_text_end(struct json_text *text)
{
	text->buf[text->len++] = '}';
	text->buf[text->len] = '\0';
	return text->len;
}
