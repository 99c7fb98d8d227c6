/* SPDX-License-Identifier: MIT */
#include "common/log_line.h"

#include "common/clock.h"

#include <math.h>

/* A site may say 10 lines at once, then one a second. */
#define SITE_BURST 10
#define SITE_PERIOD NS_PER_S

/* A field is begun only if its key and this much fit: any number does. */
#define VALUE_ROOM 40
/* Kept free behind every value for `"}` and the newline. */
#define TAIL_ROOM 4

struct line {
	char *buf;
	size_t len;
	enum log_format format;
};

static size_t
room(const struct line *line)
{
	size_t end = LOG_LINE_MAX - TAIL_ROOM;

	return line->len < end ? end - line->len : 0;
}

/* The caller has made sure of the room. */
static void
put(struct line *line, const char *text, size_t len)
{
	memcpy(line->buf + line->len, text, len);
	line->len += len;
}

/*
 * The length of the UTF-8 sequence at `at` and its code point, or 0 when it
 * is not well-formed (overlong, surrogate, above U+10FFFF, cut off).
 */
static size_t
utf8_decode(const unsigned char *at, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len;

	if (*at < 0x80) {
		*ret = *at;
		return 1;
	}
	if (*at < 0xc2 || *at > 0xf4)
		return 0;
	len = *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
	uint32_t code = *at & (0x7fU >> len);

	for (size_t i = 1; i < len; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (at[i] & 0x3f);
	}
	if (code < least[len] || code > 0x10ffff ||
		(code >= 0xd800 && code <= 0xdfff))
		return 0;
	*ret = code;
	return len;
}

/* C0, DEL and C1: they would steer a terminal. */
static bool
is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

/* Spell what stands at *at into out (at most 6 bytes), and move behind it. */
static size_t
escape(const char **at, char out[8])
{
	static const char replacement[] = { '\xef', '\xbf', '\xbd' };
	static const char short_for[] = "\"\"\\\\\nn\rr\tt";
	uint32_t code;
	size_t len = utf8_decode((const unsigned char *)*at, &code);

	if (len == 0) {
		(*at)++;
		memcpy(out, replacement, sizeof(replacement));
		return sizeof(replacement);
	}
	const char *from = *at;

	*at += len;
	for (size_t i = 0; i < sizeof(short_for) - 1; i += 2) {
		if (code != (unsigned char)short_for[i])
			continue;
		out[0] = '\\';
		out[1] = short_for[i + 1];
		return 2;
	}
	if (is_control(code))
		return (size_t)snprintf(out, 8, "\\u%04x", code);
	memcpy(out, from, len);
	return len;
}

static void
put_quoted(struct line *line, const char *text)
{
	char out[8];

	put(line, "\"", 1);
	while (*text != '\0') {
		size_t len = escape(&text, out);

		if (len > room(line))
			break;
		put(line, out, len);
	}
	put(line, "\"", 1);
}

/* logfmt needs no quotes around visible ASCII less its own three signs. */
static bool
is_bare(const char *text)
{
	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (*text <= ' ' || *text >= 0x7f || *text == '"' ||
			*text == '=' || *text == '\\')
			return false;
	}
	return true;
}

static void
put_str(struct line *line, const char *text)
{
	size_t len = strlen(text);

	if (line->format == LOG_FORMAT_LOGFMT && len <= room(line) &&
		is_bare(text))
		put(line, text, len);
	else
		put_quoted(line, text);
}

static void
put_num(struct line *line, double num)
{
	char out[VALUE_ROOM];
	int len = snprintf(out, sizeof(out), "%.15g", num);

	if (line->format == LOG_FORMAT_JSON && !isfinite(num))
		put(line, "null", 4);
	else
		put(line, out, (size_t)len);
}

/* ` key=` or `,"key":`; false when the field would not fit.  Keys are ours:
 * identifiers that need no escaping. */
static bool
put_key(struct line *line, const char *key)
{
	size_t len = strlen(key);
	bool json = line->format == LOG_FORMAT_JSON;
	bool first = line->len <= (json ? 1 : 0);

	if (len + VALUE_ROOM > room(line))
		return false;
	if (!first)
		put(line, json ? "," : " ", 1);
	if (json)
		put(line, "\"", 1);
	put(line, key, len);
	put(line, json ? "\":" : "=", json ? 2 : 1);
	return true;
}

static void
put_field(struct line *line, const struct log_field *field)
{
	char out[VALUE_ROOM];

	if (!put_key(line, field->key))
		return;
	switch (field->type) {
	case LOG_FIELD_STR:
		put_str(line, field->value.str != NULL ? field->value.str : "");
		break;
	case LOG_FIELD_INT:
		put(line, out,
			(size_t)snprintf(out, sizeof(out), "%lld",
				(long long)field->value.i));
		break;
	case LOG_FIELD_NUM:
		put_num(line, field->value.num);
		break;
	}
}

size_t
log_line_format(enum log_format format, const struct log_record *record,
	char buf[LOG_LINE_MAX])
{
	struct line line = { .buf = buf, .format = format };
	char ts[CLOCK_RFC3339_SIZE];
	const struct log_field head[] = {
		LOG_STR("ts", ts),
		LOG_STR("level", log_level_name(record->level)),
		LOG_STR("thread", record->thread),
		LOG_STR("msg", record->message),
	};

	clock_format_rfc3339(record->wall_ms, ts);
	if (format == LOG_FORMAT_JSON)
		put(&line, "{", 1);
	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		put_field(&line, &head[i]);
	if (record->suppressed > 0)
		put_field(&line, &LOG_INT("suppressed", record->suppressed));
	for (size_t i = 0; record->fields != NULL && i < LOG_FIELDS_MAX &&
			   record->fields[i].key != NULL;
		i++)
		put_field(&line, &record->fields[i]);
	if (format == LOG_FORMAT_JSON)
		put(&line, "}", 1);
	put(&line, "\n", 1);
	return line.len;
}

/*
 * The generic cell rate algorithm: one number per site, the time at which its
 * allowance will be whole again; each line moves it one period on.
 */
bool
log_site_admit(struct log_site *site, int64_t now_ns, uint32_t *ret_suppressed)
{
	int64_t full_ns = atomic_load(&site->full_ns);
	int64_t next_ns;

	do {
		int64_t from_ns = full_ns > now_ns ? full_ns : now_ns;

		if (from_ns - now_ns > (SITE_BURST - 1) * SITE_PERIOD) {
			atomic_fetch_add(&site->suppressed, 1);
			return false;
		}
		next_ns = from_ns + SITE_PERIOD;
	} while (!atomic_compare_exchange_weak(
		&site->full_ns, &full_ns, next_ns));
	*ret_suppressed = atomic_exchange(&site->suppressed, 0);
	return true;
}
