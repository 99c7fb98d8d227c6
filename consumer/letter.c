/* SPDX-License-Identifier: MIT */
#include "consumer/letter.h"

#include "common/must.h"

#include <librdkafka/rdkafka.h>

const char *
letter_mark_name(enum letter_mark mark)
{
	static const char *const names[MARKS] = {
		[MARK_NONE] = "OPEN",
		[MARK_REPLAYED] = "REPLAYED",
		[MARK_DISCARDED] = "DISCARDED",
	};

	return names[mark];
}

void
letter_init(struct letter *letter, const struct rd_kafka_message_s *raw)
{
	rd_kafka_headers_t *headers = NULL;

	*letter = (struct letter){
		.partition = raw->partition,
		.offset = raw->offset,
		.written_at_ms = rd_kafka_message_timestamp(raw, NULL),
		.value = must(malloc(raw->len + 1)),
		.len = raw->len,
	};
	if (raw->len > 0)
		memcpy(letter->value, raw->payload, raw->len);
	letter->value[raw->len] = '\0';
	if (rd_kafka_message_headers(raw, &headers) ==
		RD_KAFKA_RESP_ERR_NO_ERROR)
		letter->headers = rd_kafka_headers_copy(headers);
	letter->verdict = message_decode(letter->value, letter->len,
		&letter->message, &letter->identified, &letter->why);
	if (letter->verdict == MESSAGE_OK)
		letter->identified = true;
}

void
letter_fini(struct letter *letter)
{
	if (letter->headers != NULL)
		rd_kafka_headers_destroy(letter->headers);
	free(letter->value);
}

const char *
letter_header(const struct letter *letter, const char *name)
{
	const void *value = NULL;
	size_t len;

	/* librdkafka terminates what it hands out. */
	if (letter->headers == NULL ||
		rd_kafka_header_get_last(letter->headers, name, &value, &len) !=
			RD_KAFKA_RESP_ERR_NO_ERROR ||
		value == NULL)
		return "";
	return value;
}

int
letter_check_replay(const struct letter *letter, struct error *err)
{
	if (letter->mark != MARK_NONE)
		return error_set(err, ERROR_BAD_INPUT, "%s at %s",
			letter_mark_name(letter->mark), letter->marked_at);
	if (letter->issued)
		return error_set(
			err, ERROR_BAD_INPUT, "the request has its coupon");
	if (letter->outcome[0] != '\0')
		return error_set(err, ERROR_BAD_INPUT,
			"the request was rejected: %s", letter->outcome);
	if (letter->verdict == MESSAGE_NEWER)
		return error_set(
			err, ERROR_BAD_INPUT, "newer than this program");
	if (letter->verdict == MESSAGE_BAD)
		return error_set(err, ERROR_BAD_INPUT, "cannot be read: %s",
			letter->why.msg);
	return 0;
}
