/* SPDX-License-Identifier: MIT */
/*
 * assignment - the partitions this process has been given, each with its
 * thread.
 *
 * One thread (that of the rebalance callback) changes it; any may look.
 */
#ifndef CONSUMER_ASSIGNMENT_H
#define CONSUMER_ASSIGNMENT_H

#include "consumer/partition.h"

#include <librdkafka/rdkafka.h>
#include <stdint.h>

struct assignment;
struct metrics_sink;

/* `env` is borrowed. */
struct assignment *assignment_new(struct partition_env *env);

/* Empty.  NULL is a no-op. */
void assignment_free(struct assignment *assignment);

/*
 * The partitions of `list` join, without their threads: their messages are
 * set apart.  Before rd_kafka_assign(); assignment_start() after it.
 */
void assignment_add(struct assignment *assignment,
	const rd_kafka_topic_partition_list_t *list);
void assignment_start(struct assignment *assignment);

/*
 * End the threads of `list` and take the partitions out.  Statements that are
 * still under way at `deadline_ns` are called off.  Where each had got to is
 * appended to *offsets.
 */
void assignment_end(struct assignment *assignment,
	const rd_kafka_topic_partition_list_t *list, int64_t deadline_ns,
	rd_kafka_topic_partition_list_t *offsets);

/* The same for whatever is in it, for nobody's later use. */
void assignment_end_all(struct assignment *assignment, int64_t deadline_ns);

/* Any thread.  `fn` must not block: the list is locked. */
void assignment_each(struct assignment *assignment,
	void (*fn)(void *arg, const struct partition_status *status),
	void *arg);

/* The gauges of every partition.  Any thread. */
void assignment_emit(
	struct assignment *assignment, struct metrics_sink *sink);

#endif
