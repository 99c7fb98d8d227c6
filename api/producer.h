/* SPDX-License-Identifier: MIT */
/*
 * producer - accepted requests on their way into Kafka.
 *
 * producer_send() hands a message to librdkafka and never waits.  One
 * delivery thread polls librdkafka and collects the reports: what Kafka has
 * for good goes to `persisted`, which takes it out of the outbox; anything
 * else is counted by cause and left to the relay.  No report ends a request.
 * A fatal error of librdkafka replaces the client under the senders.
 *
 * Any thread may send and ask; new and stop are for the owner.
 */
#ifndef API_PRODUCER_H
#define API_PRODUCER_H

#include "api/inflight.h"
#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct message;
struct metrics;
struct producer;
struct settings;

/* A message that librdkafka has, or had until just now. */
struct producer_record {
	struct inflight_entry inflight;
	int64_t seq;
	int64_t sent_at_ns;
	struct producer_record *next; /* the producer's */
	size_t len;
	char payload[]; /* not copied by librdkafka */
};

/* Borrowed records; called on the delivery thread, which may block here. */
typedef void producer_persisted_fn(
	void *arg, struct producer_record *const *records, size_t n);

/* At most this many records in one call of producer_persisted_fn. */
enum { PRODUCER_BATCH_MAX = 512 };

struct producer_config {
	const struct settings *settings; /* borrowed: a replacement needs it */
	producer_persisted_fn *persisted;
	void *arg;
	struct metrics *metrics;
};

/* Start the client and the delivery thread; does not wait for a broker. */
int producer_new(const struct producer_config *config, struct producer **ret,
	struct error *err) NODISCARD;

/*
 * True: a delivery report will come.  False: not taken (queue full, client
 * being replaced); counted, and the outbox entry is the relay's.
 */
bool producer_send(struct producer *producer, const struct message *message,
	const char *traceparent);

/* Has a broker answered, and is there room in the queue?  For the relay. */
bool producer_is_ready(struct producer *producer);

/* A broker has answered since the last time all were down.  For health. */
bool producer_is_connected(const struct producer *producer);

/* Until then nobody knows whether one would: the first second. */
bool producer_was_asked(const struct producer *producer);

/* The topic while Kafka says that it does not exist, else NULL. */
const char *producer_missing_topic(const struct producer *producer);

/* Messages without a report, by request and by event. */
struct inflight *producer_inflight(struct producer *producer);

/*
 * Flush until `deadline_ns`, leave the rest to the relay, end the thread.
 * Nobody may send any more.  How many were left.  Once is enough; again, it
 * says the same.
 */
size_t producer_stop(struct producer *producer, int64_t deadline_ns);

/* After producer_stop().  NULL is a no-op. */
void producer_free(struct producer *producer);

#endif
