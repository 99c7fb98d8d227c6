/* SPDX-License-Identifier: MIT */
/*
 * batch - consecutive messages of one partition on their way to PostgreSQL,
 * and what becomes of each.
 *
 * A batch covers the offsets from `start` to before `end`.  It owns the
 * messages of librdkafka that it was given.  It belongs to one thread.
 */
#ifndef CONSUMER_BATCH_H
#define CONSUMER_BATCH_H

#include "common/compiler.h"
#include "common/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rd_kafka_message_s;

/*
 * Every verdict but OPEN is final once the transaction that moves the offset
 * has committed.
 */
enum verdict {
	VERDICT_OPEN,      /* its row is to be inserted */
	VERDICT_SETTLED,   /* PostgreSQL holds its row or its rejection */
	VERDICT_SET_ASIDE, /* a dead letter, without a final state */
	/* the rest are rejections to be written */
	VERDICT_DUPLICATE,
	VERDICT_NUMBER_TAKEN,
	VERDICT_NUMBER_TOO_HIGH,
	VERDICT_EVENT_UNKNOWN,
	VERDICT_INVALID,
};
#define VERDICTS (VERDICT_INVALID + 1)

bool verdict_is_rejection(enum verdict verdict);

/* "NUMBER_TAKEN": the `reason` of issue_rejection, of logs and of metrics. */
const char *verdict_name(enum verdict verdict);

struct batch_item {
	struct message message; /* as far as it could be read */
	enum verdict verdict;
	enum verdict initial; /* what decoding said */
	bool inserted;        /* its row is the work of this batch */
	enum { LETTER_NONE, LETTER_DUE, LETTER_SENT } letter;
	const char *reason; /* of the letter; static */
	char *detail;       /* of the letter, or NULL; owned */
	struct rd_kafka_message_s *raw;
};

struct batch {
	struct batch_item *items;
	size_t n, size;
	int64_t start, end;
	int64_t newest_ms; /* Kafka's time of its newest message, -1: none */
	int64_t begun_ns;  /* when the first one joined */
};

/* Empty, beginning at `start`; destroys the messages it held. */
void batch_reset(struct batch *batch, int64_t start);

/* batch_reset() and free the memory.  A zeroed batch is empty. */
void batch_free(struct batch *batch);

/*
 * Decode and append; takes ownership of `raw` except on MESSAGE_NEWER, when
 * the batch is as it was.  A message that cannot be read joins the batch with
 * a letter due.
 */
enum message_verdict batch_add(
	struct batch *batch, struct rd_kafka_message_s *raw);

/* Forget what an earlier attempt to write decided: PostgreSQL may have lost
 * it since.  Letters that were acknowledged stay sent. */
void batch_reopen(struct batch *batch);

/* A letter is due, unless it was sent already. */
void batch_item_letter(
	struct batch_item *item, const char *reason, const char *detail);

size_t batch_count(const struct batch *batch, enum verdict verdict);
size_t batch_rejections(const struct batch *batch);
bool batch_has_letters(const struct batch *batch);

#endif
