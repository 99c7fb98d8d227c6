/* SPDX-License-Identifier: MIT */
/*
 * partition - the thread that owns one assigned partition: its queue, its
 * batch, its transaction.
 *
 * The rebalance callback makes one, starts it once the partition is assigned,
 * and joins it before the partition is given up.  The thread takes the
 * partition in PostgreSQL itself, so the callback waits for no database.
 * Whatever fails is tried again for as long as the partition is assigned;
 * meanwhile the thread sleeps and the group membership lives on.
 */
#ifndef CONSUMER_PARTITION_H
#define CONSUMER_PARTITION_H

#include "common/compiler.h"
#include "consumer/stats.h"
#include "consumer/writer.h"

#include <stdatomic.h>
#include <stdint.h>

struct partition;
struct pool;
struct rd_kafka_s;
struct rd_kafka_topic_s;

/* What all partitions of the group share; outlives them. */
struct partition_env {
	struct rd_kafka_s *rk;
	struct rd_kafka_topic_s *rkt;
	const char *group;
	const char *topic;
	struct pool *pool; /* writes to PostgreSQL */
	struct writer_env writer;
	struct consumer_stats *stats;
	/* Live. */
	atomic_size_t batch_size;
	_Atomic int64_t batch_wait_ns;
	_Atomic int64_t connection_timeout_ns;
};

/* Before rd_kafka_assign(): the partition's messages get their own queue. */
struct partition *partition_new(struct partition_env *env, int32_t id);

int32_t partition_id(const struct partition *partition);

/* After it; no-op when it has been started.  The thread is "part-<id>". */
void partition_start(struct partition *partition);

/*
 * Tell the thread to end: it finishes the batch it is writing, and leaves
 * every wait at once.
 */
void partition_stop(struct partition *partition);

/* Wait for its end; at `deadline_ns` its statement is called off. */
void partition_join(struct partition *partition, int64_t deadline_ns);

/* It must have been joined, or never started.  NULL is a no-op. */
void partition_free(struct partition *partition);

/* ---- any thread ---- */

struct partition_status {
	int32_t id;
	enum partition_state state;
	int64_t next_offset; /* -1 until it is known */
	int64_t lag;         /* -1 until it is known */
	int64_t silent_ns;   /* since the thread last showed life */
	size_t batch_size;
};
void partition_status(
	struct partition *partition, struct partition_status *ret);

#endif
