/* SPDX-License-Identifier: MIT */
/*
 * group - our membership in the consumer group: rebalances, the partition
 * threads they make and end, and the watch over those.
 *
 * group_poll() belongs to one thread, which must keep calling it: nothing
 * else serves rebalances.  The assignment may be eager (range, the default)
 * or cooperative (kafka.properties: partition.assignment.strategy).
 */
#ifndef CONSUMER_GROUP_H
#define CONSUMER_GROUP_H

#include "common/compiler.h"
#include "consumer/stats.h"
#include "consumer/writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct group;
struct metrics;
struct pool;
struct settings;

struct group_config {
	const struct settings *settings;
	struct metrics *metrics;
	struct pool *pool; /* writes to PostgreSQL; borrowed */
	struct writer_env writer;
};

/* Join the group; waits for nothing. */
int group_new(const struct group_config *config, struct group **ret,
	struct error *err) NODISCARD;

/* Live: batch size and age, time-outs. */
void group_configure(struct group *group, const struct settings *settings);

/* Serve the group for up to `timeout_ms`. */
void group_poll(struct group *group, int timeout_ms);

/*
 * Finish the batches, commit, leave the group.  librdkafka can hang in this:
 * at `deadline_ns` the process ends with status 1, which loses nothing.  Only
 * group_status() may be called afterwards.  NULL is a no-op.
 */
void group_leave(struct group *group, int64_t deadline_ns);

/* After group_leave().  NULL is a no-op. */
void group_free(struct group *group);

/* ---- any thread ---- */

struct group_status {
	bool assigned;  /* an assignment has come, be it empty */
	bool fatal;     /* librdkafka has given up; only a restart helps */
	int brokers_up; /* as of the last second; -1 until known */
	const char *missing_topic; /* that Kafka says does not exist, or NULL */
	int64_t unpolled_ns;
	size_t states[PARTITION_STATES]; /* partitions by state */
	size_t hung;                     /* see consumer.watchdog-timeout */
	int64_t lag;                     /* sum over partitions; -1: unknown */
};
void group_status(struct group *group, struct group_status *ret);

#endif
