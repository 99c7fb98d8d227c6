/* SPDX-License-Identifier: MIT */
/*
 * writer - a batch becomes rows, rejections and the next offset.
 *
 * A writer belongs to one partition thread.  It holds nothing but memory it
 * reuses; what it knows of a batch is in the batch's verdicts.
 */
#ifndef CONSUMER_WRITER_H
#define CONSUMER_WRITER_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch;
struct error;
struct lease;
struct pg_wait;
struct position;
struct writer;

/* Whom the writer asks while it decides. */
struct writer_env {
	void *ctx;
	/*
	 * Send the letters that are due; 0 once Kafka has acknowledged them
	 * all (they are LETTER_SENT then).
	 */
	int (*send_letters)(void *ctx, struct batch *batch,
		const struct pg_wait *wait, struct error *err);
	/* Does Redis know this event?  Also true when it cannot be asked. */
	bool (*event_may_exist)(void *ctx, int64_t coupon_id);
};

/* `env` is borrowed. */
struct writer *writer_new(const struct writer_env *env);
void writer_free(struct writer *writer);

/* One attempt to write a batch; every member is borrowed. */
struct write {
	const struct lease *lease;
	const struct position *pos; /* its next_offset is batch->start */
	struct batch *batch;
};

enum write_result {
	WRITE_DONE,  /* committed: every item has its final verdict */
	WRITE_MOVED, /* the row has another offset, next_offset: go on there */
	WRITE_LOST,  /* another owner has the partition */
};

struct written {
	enum write_result result;
	int64_t next_offset;
	size_t rows;  /* inserted by this call */
	bool at_once; /* DONE in one round trip: every item became a row */
};

/*
 * Write the batch and move the offset from its start to its end, in one
 * transaction.  However often this is repeated and whoever else writes at
 * the same time, no event gets more rows than its total, no user two, and no
 * request a row and a rejection.  0 and *ret set, or an error after which the
 * same call may be made again (on another connection if pg_verdict() says
 * so).  When an earlier commit's answer was lost, the result is WRITE_MOVED
 * to the end of the batch.
 */
int writer_write(struct writer *writer, const struct write *write,
	struct written *ret, struct error *err) NODISCARD;

#endif
