/* SPDX-License-Identifier: MIT */
/*
 * kafka_scan - read what a topic holds right now, outside any group.
 *
 * The rebuild, the reconciler and the verifier need "every message from here
 * to the present end of every partition".  A scan has a client of its own,
 * joins no group, commits nothing, and is done when it has seen the high
 * watermarks that it asked for when it began.  One thread; each call stands
 * alone.
 */
#ifndef COMMON_KAFKA_SCAN_H
#define COMMON_KAFKA_SCAN_H

#include "common/compiler.h"

#include <librdkafka/rdkafka.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct settings;

/* One partition of the scan. */
struct kafka_scan_partition {
	int32_t id;
	int64_t from; /* first offset read, after clamping to the topic */
	int64_t high; /* the high watermark when the scan began */
};

struct kafka_scan_offset {
	int32_t partition;
	int64_t next_offset;
};

/* Called per message, in offset order within a partition.  0 goes on. */
typedef int kafka_scan_fn(
	void *arg, const rd_kafka_message_t *message, struct error *err);

struct kafka_scan {
	const char *topic;
	/* Where to begin; a partition not listed begins at its first message,
	 * and so does one whose offset lies outside the topic. */
	const struct kafka_scan_offset *starts;
	size_t n_starts;
	kafka_scan_fn *message; /* NULL: only the watermarks are asked for */
	/* Called before each message, and every half second that none comes: a
	 * backlog that is somebody else's and a broker that died take as long.
	 * Its error ends the scan.  May be NULL. */
	int (*tick)(void *arg, struct error *err);
	void *arg;
	int64_t deadline_ns;
};

/*
 * Run it.  0 and the partitions in *ret (free() it, *ret_n of them, in the
 * order of their ids); -ERROR_KAFKA_ERROR when Kafka cannot be asked (no broker
 * within 5 s is -ERROR_TIMEOUT, however far away the deadline is),
 * -ERROR_TIMEOUT, or what `message` or `tick` returned.  A topic that does not exist is
 * an error and not empty: the name may be wrong, the cluster another one, its
 * metadata not there yet.
 */
int kafka_scan(const struct settings *settings, const struct kafka_scan *scan,
	struct kafka_scan_partition **ret, size_t *ret_n,
	struct error *err) NODISCARD;

#endif
