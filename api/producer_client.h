/* SPDX-License-Identifier: MIT */
/*
 * producer_client - one librdkafka producer with its topic; api/producer.c
 * replaces it after a fatal error.
 */
#ifndef API_PRODUCER_CLIENT_H
#define API_PRODUCER_CLIENT_H

#include "api/producer.h"

#include <librdkafka/rdkafka.h>

struct producer_client {
	rd_kafka_t *rk;
	rd_kafka_topic_t *topic;
};

/* librdkafka calls these on the thread that polls; all get `opaque`. */
struct producer_client_callbacks {
	void (*delivery)(rd_kafka_t *rk, const rd_kafka_message_t *message,
		void *opaque);
	void (*error)(
		rd_kafka_t *rk, int code, const char *reason, void *opaque);
	int (*stats)(rd_kafka_t *rk, char *json, size_t len, void *opaque);
	void *opaque;
};

int producer_client_new(const struct settings *settings,
	const struct producer_client_callbacks *callbacks,
	struct producer_client **ret, struct error *err) NODISCARD;
void producer_client_free(struct producer_client *client); /* NULL ok */

/*
 * Asynchronous.  The record is the message's opaque and holds its payload: it
 * must stay until its delivery report, unless this returns an error.
 */
rd_kafka_resp_err_t producer_client_send(struct producer_client *client,
	struct producer_record *record, const char *traceparent);

/* A record of this message, malloc'ed; NULL when out of memory. */
struct producer_record *producer_record_new(const struct message *message);

#endif
