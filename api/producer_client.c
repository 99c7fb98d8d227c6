/* SPDX-License-Identifier: MIT */
#include "api/producer_client.h"

#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/kafka.h"
#include "common/message.h"
#include "common/text.h"

#include <inttypes.h>

void
producer_client_free(struct producer_client *client)
{
	if (client == NULL)
		return;
	if (client->topic != NULL)
		rd_kafka_topic_destroy(client->topic);
	if (client->rk != NULL)
		rd_kafka_destroy(client->rk);
	free(client);
}

int
producer_client_new(const struct settings *settings,
	const struct producer_client_callbacks *callbacks,
	struct producer_client **ret, struct error *err)
{
	rd_kafka_conf_t *conf;
	struct producer_client *client = calloc(1, sizeof(*client));

	if (client == NULL)
		return error_set(err, ERROR_NO_MEMORY, "kafka: no memory");
	int rc = kafka_conf_new(
		settings, KAFKA_PRODUCER, callbacks->opaque, &conf, err);
	if (rc != 0) {
		producer_client_free(client);
		return rc;
	}
	rd_kafka_conf_set_dr_msg_cb(conf, callbacks->delivery);
	rd_kafka_conf_set_error_cb(conf, callbacks->error);
	rd_kafka_conf_set_stats_cb(conf, callbacks->stats);
	rc = kafka_open(KAFKA_PRODUCER, &conf, &client->rk, err);
	if (rc != 0) {
		producer_client_free(client);
		return rc;
	}
	client->topic =
		rd_kafka_topic_new(client->rk, settings->kafka_topic, NULL);
	if (client->topic == NULL) {
		producer_client_free(client);
		return error_set(err, ERROR_CONFIG_INVALID,
			"kafka.topic: librdkafka refuses it");
	}
	*ret = client;
	return 0;
}

struct producer_record *
producer_record_new(const struct message *message)
{
	char payload[MESSAGE_SIZE_MAX];
	size_t len = message_encode(message, payload);
	struct producer_record *record = malloc(sizeof(*record) + len);

	if (record == NULL)
		return NULL;
	memset(&record->inflight, 0, sizeof(record->inflight));
	record->inflight.key.coupon_id = message->coupon_id;
	record->inflight.key.user_id = message->user_id;
	memcpy(record->inflight.key.request_id, message->request_id,
		sizeof(message->request_id));
	record->seq = message->seq;
	record->sent_at_ns = clock_now_ns();
	record->next = NULL;
	record->len = len;
	memcpy(record->payload, payload, len);
	return record;
}

rd_kafka_resp_err_t
producer_client_send(struct producer_client *client,
	struct producer_record *record, const char *traceparent)
{
	char key[TEXT_INT_MAX];
	const char *end = text_put_int(key, record->inflight.key.user_id);
	rd_kafka_headers_t *headers = NULL;

	if (traceparent != NULL) {
		headers = rd_kafka_headers_new(1);
		(void)rd_kafka_header_add(
			headers, "traceparent", -1, traceparent, -1);
	}
	rd_kafka_resp_err_t code =
		rd_kafka_producev(client->rk, RD_KAFKA_V_RKT(client->topic),
			RD_KAFKA_V_KEY(key, (size_t)(end - key)),
			RD_KAFKA_V_VALUE(record->payload, record->len),
			RD_KAFKA_V_MSGFLAGS(0), RD_KAFKA_V_OPAQUE(record),
			RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR && headers != NULL)
		rd_kafka_headers_destroy(headers);
	return code;
}
