/* SPDX-License-Identifier: MIT */
#include "consumer/letter_print.h"

#include "common/must.h"
#include "consumer/letter.h"

#include <inttypes.h>
#include <jansson.h>
#include <librdkafka/rdkafka.h>
#include <sodium.h>

#define ID_SIZE 48

void
letter_print_bytes(FILE *out, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const unsigned char byte = (unsigned char)bytes[i];

		if (byte >= ' ' && byte <= '~')
			(void)fputc(byte, out);
		else
			(void)fprintf(out, "\\x%02x", byte);
	}
}

/* At least `width` columns and a blank behind them. */
static void
print_cell(FILE *out, int width, const char *text)
{
	letter_print_bytes(out, text, strlen(text));
	(void)fprintf(out, "%*s ",
		width > (int)strlen(text) ? width - (int)strlen(text) : 0, "");
}

static const char *
or_dash(const char *text)
{
	return text[0] != '\0' ? text : "-";
}

void
letter_print_head(FILE *out)
{
	(void)fprintf(out,
		"%-10s %-13s %-9s %-15s %-24s %-24s %-14s %-10s %-12s %s\n",
		"LETTER", "REASON", "STATE", "OUTCOME", "FAILED", "FIRST",
		"ORIGIN", "COUPON", "USER", "REQUEST");
}

void
letter_print_row(FILE *out, const struct letter *letter)
{
	const struct message *message = &letter->message;
	char text[ID_SIZE];

	(void)snprintf(text, sizeof(text), "%" PRId32 ":%" PRId64,
		letter->partition, letter->offset);
	print_cell(out, 10, text);
	print_cell(out, 13, or_dash(letter_header(letter, "reason")));
	print_cell(out, 9, letter_mark_name(letter->mark));
	print_cell(out, 15, or_dash(letter->outcome));
	print_cell(out, 24, or_dash(letter_header(letter, "failed-at")));
	print_cell(out, 24, or_dash(letter_header(letter, "first-failed-at")));
	(void)snprintf(text, sizeof(text), "%s:%s",
		letter_header(letter, "original-partition"),
		letter_header(letter, "original-offset"));
	print_cell(out, 14, text);
	if (!letter->identified) {
		(void)fputs("-          -            -\n", out);
		return;
	}
	(void)fprintf(out, "%-10" PRId64 " %-12" PRId64 " %s\n",
		message->coupon_id, message->user_id, message->request_id);
}

static void
print_field(FILE *out, const char *name, const char *text)
{
	(void)fprintf(out, "%-20s ", name);
	letter_print_bytes(out, text, strlen(text));
	(void)fputc('\n', out);
}

void
letter_print_text(FILE *out, const struct letter *letter)
{
	const char *name;
	const void *value;
	size_t len;
	char at[CLOCK_RFC3339_SIZE];

	(void)fprintf(out, "%-20s %" PRId32 ":%" PRId64 "\n", "letter",
		letter->partition, letter->offset);
	clock_format_rfc3339(letter->written_at_ms, at);
	print_field(out, "written-at", at);
	print_field(out, "state", letter_mark_name(letter->mark));
	if (letter->mark != MARK_NONE)
		print_field(out, "state-since", letter->marked_at);
	print_field(out, "outcome", or_dash(letter->outcome));
	if (letter->verdict == MESSAGE_BAD)
		print_field(out, "unreadable", letter->why.msg);
	for (size_t i = 0; letter->headers != NULL &&
			   rd_kafka_header_get_all(letter->headers, i, &name,
				   &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR;
		i++) {
		print_cell(out, 20, name);
		letter_print_bytes(out, value != NULL ? value : "", len);
		(void)fputc('\n', out);
	}
	(void)fputc('\n', out);
	letter_print_bytes(out, letter->value, letter->len);
	(void)fputc('\n', out);
}

static void
set(json_t *object, const char *name, json_t *value)
{
	(void)json_object_set_new(object, name, must(value));
}

/* Header and value alike: whoever produced them may have put anything in. */
static void
set_bytes(json_t *object, const char *name, const char *bytes, size_t len)
{
	json_t *text = json_stringn(bytes, len);
	size_t size =
		sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);

	if (text != NULL) {
		set(object, name, text);
		return;
	}
	char *base64 = must(malloc(size));
	(void)sodium_bin2base64(base64, size, (const unsigned char *)bytes, len,
		sodium_base64_VARIANT_ORIGINAL);
	json_t *wrapped = json_object();
	set(wrapped, "base64", json_string(base64));
	set(object, name, wrapped);
	free(base64);
}

static json_t *
headers_json(const struct letter *letter)
{
	json_t *object = must(json_object());
	const char *name;
	const void *value;
	size_t len;

	for (size_t i = 0; letter->headers != NULL &&
			   rd_kafka_header_get_all(letter->headers, i, &name,
				   &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR;
		i++)
		if (value != NULL)
			set_bytes(object, name, value, len);
	return object;
}

void
letter_print_json(FILE *out, const struct letter *letter)
{
	const struct message *message = &letter->message;
	json_t *object = must(json_object());

	set(object, "partition", json_integer(letter->partition));
	set(object, "offset", json_integer(letter->offset));
	set(object, "state", json_string(letter_mark_name(letter->mark)));
	if (letter->mark != MARK_NONE)
		set(object, "stateSince", json_string(letter->marked_at));
	set(object, "outcome",
		letter->outcome[0] != '\0' ? json_string(letter->outcome)
					   : json_null());
	if (letter->identified) {
		set(object, "couponId", json_integer(message->coupon_id));
		set(object, "userId", json_integer(message->user_id));
		set(object, "requestId", json_string(message->request_id));
	}
	if (letter->verdict == MESSAGE_BAD)
		set_bytes(object, "unreadable", letter->why.msg,
			strlen(letter->why.msg));
	set(object, "headers", headers_json(letter));
	set_bytes(object, "value", letter->value, letter->len);
	(void)json_dumpf(object, out, JSON_COMPACT | JSON_ENSURE_ASCII);
	(void)fputc('\n', out);
	json_decref(object);
}
