/* SPDX-License-Identifier: MIT */
/*
 * deadletter - what could not become a row or a rejection goes to a topic of
 * its own, with its reason and its origin.
 *
 * Headers: reason, error, original-topic, original-partition,
 * original-offset, failed-at, first-failed-at (kept over replays).  Key,
 * value and other headers are the message's own.  Any thread.
 */
#ifndef CONSUMER_DEADLETTER_H
#define CONSUMER_DEADLETTER_H

#include "common/compiler.h"

#include <stdint.h>

struct batch;
struct deadletter;
struct error;
struct rd_kafka_headers_s;
struct settings;

/* Starts the thread "dead-letters", which serves the delivery reports. */
int deadletter_new(const struct settings *settings, struct deadletter **ret,
	struct error *err) NODISCARD;

/* Letters on their way get until `deadline_ns`.  NULL is a no-op. */
void deadletter_free(struct deadletter *deadletter, int64_t deadline_ns);

/*
 * Send the letters of the batch that are due and wait until Kafka has
 * acknowledged them all: they are LETTER_SENT then.  -ERROR_KAFKA_ERROR,
 * -ERROR_TIMEOUT, or -ERROR_CANCELLED when `cancel_fd` became readable: none
 * is marked, and some may arrive all the same.
 */
int deadletter_send(struct deadletter *deadletter, struct batch *batch,
	int64_t deadline_ns, int cancel_fd, struct error *err) NODISCARD;

/*
 * Take off what a letter got on top of its message, before a replay.
 * first-failed-at stays: another letter of the same message keeps it.
 */
void deadletter_strip(struct rd_kafka_headers_s *headers);

#endif
