/* SPDX-License-Identifier: MIT */
/*
 * stats - the counters and timers of the consumer, made once at start so
 * that every series exists from the beginning.  Plain pointers; any thread.
 */
#ifndef CONSUMER_STATS_H
#define CONSUMER_STATS_H

#include "consumer/batch.h"

#include <stdint.h>

struct counter;
struct metrics;
struct metrics_sink;
struct timer;

enum rebalance { REBALANCE_ASSIGNED, REBALANCE_REVOKED, REBALANCE_LOST };
#define REBALANCES (REBALANCE_LOST + 1)

/* Why a partition did not go on where PostgreSQL said. */
enum offset_reset {
	RESET_EXPIRED,   /* the topic no longer has that message */
	RESET_RECREATED, /* the topic does not reach that far */
};
#define RESETS (RESET_RECREATED + 1)

/* Why a partition thread waits, or that it does not. */
enum partition_state {
	PARTITION_RUNNING,
	PARTITION_DATABASE, /* PostgreSQL */
	PARTITION_KAFKA,    /* Kafka: reading, or dead letters */
	PARTITION_VERSION,  /* a message newer than this program */
	PARTITION_OWNER,    /* another process took the partition */
};
#define PARTITION_STATES (PARTITION_OWNER + 1)

struct consumer_stats {
	struct counter *records;
	struct counter *rows;
	struct counter *gaps;
	struct counter *rejections[VERDICTS]; /* NULL: not a rejection */
	struct counter *dead_letters[3];
	struct counter *rebalances[REBALANCES];
	struct counter *resets[RESETS];
	struct timer *write;
	struct timer *time_to_issue;
};

void consumer_stats_init(struct consumer_stats *stats, struct metrics *metrics);

/* Count what a committed batch was made of. */
void consumer_stats_batch(
	struct consumer_stats *stats, const struct batch *batch, size_t rows);

/* Gauges that a collector emits. */
struct partition_gauges {
	int32_t partition;
	int64_t lag; /* -1, not known yet, is emitted as 0 */
	size_t batch_size;
};
void consumer_stats_emit_partition(struct metrics_sink *sink, const char *topic,
	const struct partition_gauges *gauges);
void consumer_stats_emit_states(struct metrics_sink *sink,
	const size_t counts[PARTITION_STATES], size_t hung);

/* "DATABASE" */
const char *partition_state_name(enum partition_state state);

#endif
