/* SPDX-License-Identifier: MIT */
#include "common/json.h"

#include "common/error.h"

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

bool
json_member_is_set(const json_t *object, const char *name)
{
	const json_t *member = json_object_get(object, name);

	return member != NULL && !json_is_null(member);
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

static bool
put_string(struct json_text *text, const char *value)
{
	if (!put(text, "\"", 1))
		return false;
	while (*value != '\0') {
		size_t run = strcspn(value, "\"\\\x01\x02\x03\x04\x05\x06\x07"
					    "\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
					    "\x10\x11\x12\x13\x14\x15\x16\x17"
					    "\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f");
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
	char digits[20]; /* -9223372036854775808 */
	char *p = digits + sizeof(digits);
	uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

	do
		*--p = (char)('0' + left % 10);
	while ((left /= 10) > 0);
	if (value < 0)
		*--p = '-';
	if (!put_name(text, name) ||
		!put(text, p, (size_t)(digits + sizeof(digits) - p)))
		text->len = before;
}

size_t
json_text_end(struct json_text *text)
{
	text->buf[text->len++] = '}';
	text->buf[text->len] = '\0';
	return text->len;
}
