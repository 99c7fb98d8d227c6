/* SPDX-License-Identifier: MIT */
/*
 * letter - one message of the dead-letter topic, and what is known of it.
 *
 * Holds copies: nothing of librdkafka's message is kept.  Plain data; one
 * thread at a time.
 */
#ifndef CONSUMER_LETTER_H
#define CONSUMER_LETTER_H

#include "common/clock.h"
#include "common/error.h"
#include "common/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rd_kafka_headers_s;
struct rd_kafka_message_s;

/* What an operator did with it: dead_letter_mark. */
enum letter_mark { MARK_NONE, MARK_REPLAYED, MARK_DISCARDED };
#define MARKS (MARK_DISCARDED + 1)

/* "REPLAYED"; "OPEN" when there is none. */
const char *letter_mark_name(enum letter_mark mark);

struct letter {
	int32_t partition;
	int64_t offset;
	int64_t written_at_ms;
	char *value; /* owned, as are the headers; NUL-terminated */
	size_t len;
	struct rd_kafka_headers_s *headers; /* NULL: none */

	enum message_verdict verdict;
	bool identified;        /* coupon, user and request id are there */
	struct message message; /* as far as it could be read */
	struct error why;       /* MESSAGE_BAD: what is wrong with it */

	/* From PostgreSQL: letter_store_look_up(). */
	enum letter_mark mark;
	char marked_at[CLOCK_RFC3339_SIZE];
	char outcome[24]; /* "ISSUED", a rejection's reason, or "" */
	bool issued;
	bool sent; /* by letter_sender_send() */
};

/* Copy and decode. */
void letter_init(struct letter *letter, const struct rd_kafka_message_s *raw);
void letter_fini(struct letter *letter);

/* A header as text, "" when it has none; borrowed from the letter. */
const char *letter_header(const struct letter *letter, const char *name);

/* Is sending it again of any use?  If not, -ERROR_BAD_INPUT and why. */
int letter_check_replay(
	const struct letter *letter, struct error *err) NODISCARD;

#endif
