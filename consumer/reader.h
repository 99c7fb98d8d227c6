/* SPDX-License-Identifier: MIT */
/*
 * reader - the messages of one partition, in order, each exactly once.
 *
 * Reads the partition's own queue (not the group's), one message at a time:
 * librdkafka 2.0.2's batch call is not safe beside seeks and rebalances.
 * Belongs to its partition's thread, except where a function says otherwise.
 */
#ifndef CONSUMER_READER_H
#define CONSUMER_READER_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch;
struct error;
struct rd_kafka_queue_s;
struct rd_kafka_s;
struct rd_kafka_topic_s;

struct reader {
	struct rd_kafka_s *rk; /* borrowed, as is rkt */
	struct rd_kafka_topic_s *rkt;
	struct rd_kafka_queue_s *queue; /* owned */
	int32_t partition;
	bool must_seek;
	int64_t gap_at; /* a hole begins here: seen once, -1: none */
};

/*
 * Before rd_kafka_assign(): take the partition's messages out of the group's
 * queue.  They flow once the partition is assigned.
 */
void reader_init(struct reader *reader, struct rd_kafka_s *rk,
	struct rd_kafka_topic_s *rkt, int32_t partition);
void reader_fini(struct reader *reader);

/* Any thread: end a reader_gather() that waits. */
void reader_wake(struct reader *reader);

/* First offset and end of the partition, from its leader; waits at most 1 s. */
int reader_watermarks(struct reader *reader, int64_t *ret_low,
	int64_t *ret_high, struct error *err) NODISCARD;

/*
 * The first message younger than `ms` in *ret_offset, -1 when there is none;
 * waits at most 1 s.
 */
int reader_first_after(struct reader *reader, int64_t ms, int64_t *ret_offset,
	struct error *err) NODISCARD;

/* The end as the last fetch saw it, -1 before the first.  Any thread. */
int64_t reader_cached_high(const struct reader *reader, const char *topic);

/* The next reader_gather() goes on at its batch's end, wherever that is. */
void reader_seek_later(struct reader *reader);

/* For lag tools that look into Kafka: everything before `next` is done. */
void reader_store_offset(struct reader *reader, int64_t next);

struct gathered {
	enum {
		GATHERED,              /* what there is; perhaps nothing */
		GATHERED_NEWER,        /* the next one has a higher version */
		GATHERED_OUT_OF_PLACE, /* the next one is not batch->end */
	} end;
	int64_t skipped; /* offsets that do not exist */
};

struct gather_limits {
	size_t size;
	int64_t wait_ns; /* from the first message */
};

/*
 * Append to the batch, whose end says where to go on, until it is full, old,
 * or nothing comes for 100 ms.  A message that is not the next one ends the
 * batch: the topic may not hold that offset any more (librdkafka then goes on
 * at the first message), which the caller finds out before he reads on.  A
 * hole that is there the second time is believed.
 */
int reader_gather(struct reader *reader, struct batch *batch,
	const struct gather_limits *limits, struct gathered *ret,
	struct error *err) NODISCARD;

#endif
