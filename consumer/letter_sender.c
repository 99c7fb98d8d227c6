/* SPDX-License-Identifier: MIT */
#include "consumer/letter_sender.h"

#include "common/config.h"
#include "common/error.h"
#include "common/kafka.h"
#include "common/must.h"
#include "consumer/deadletter.h"
#include "consumer/letter.h"

#include <inttypes.h>

#define FLUSH_MS 15000
#define PURGE_MS 1000

struct letter_sender {
	rd_kafka_t *rk;
	const char *topic; /* borrowed */
};

static void
on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	struct letter *letter = message->_private;

	(void)rk;
	(void)opaque;
	letter->sent = message->err == RD_KAFKA_RESP_ERR_NO_ERROR;
}

int
letter_sender_new(const struct settings *settings, struct letter_sender **ret,
	struct error *err)
{
	rd_kafka_conf_t *conf;
	rd_kafka_t *rk;
	int rc = kafka_conf_new(settings, KAFKA_PRODUCER, NULL, &conf, err);

	if (rc != 0)
		return rc;
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	rc = kafka_open(KAFKA_PRODUCER, &conf, &rk, err);
	if (rc != 0)
		return rc;
	*ret = must(malloc(sizeof(**ret)));
	**ret = (struct letter_sender){ rk, settings->kafka_topic };
	return 0;
}

void
letter_sender_free(struct letter_sender *sender)
{
	if (sender == NULL)
		return;
	rd_kafka_destroy(sender->rk);
	free(sender);
}

static rd_kafka_resp_err_t
produce(struct letter_sender *sender, struct letter *letter)
{
	rd_kafka_headers_t *headers =
		letter->headers == NULL
			? rd_kafka_headers_new(0)
			: rd_kafka_headers_copy(letter->headers);
	char key[24];
	int key_len =
		snprintf(key, sizeof(key), "%" PRId64, letter->message.user_id);

	deadletter_strip(headers);
	rd_kafka_resp_err_t code =
		rd_kafka_producev(sender->rk, RD_KAFKA_V_TOPIC(sender->topic),
			RD_KAFKA_V_KEY(key, (size_t)key_len),
			RD_KAFKA_V_VALUE(letter->value, letter->len),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
			RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(letter),
			RD_KAFKA_V_END);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		rd_kafka_headers_destroy(headers); /* ours when it failed */
	return code;
}

int
letter_sender_send(struct letter_sender *sender, struct letter *letters,
	size_t n, struct error *err)
{
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
	size_t sent = 0;

	for (size_t i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && i < n; i++)
		code = produce(sender, &letters[i]);
	(void)rd_kafka_flush(sender->rk, FLUSH_MS);
	/* What is left reports now: no report may outlive its letter. */
	(void)rd_kafka_purge(
		sender->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	(void)rd_kafka_flush(sender->rk, PURGE_MS);
	for (size_t i = 0; i < n; i++)
		sent += letters[i].sent;
	if (sent < n)
		return error_set(err, ERROR_KAFKA_ERROR,
			"kafka: topic %s has taken %zu of %zu messages: %s",
			sender->topic, sent, n,
			code != RD_KAFKA_RESP_ERR_NO_ERROR
				? rd_kafka_err2str(code)
				: "the others were not acknowledged");
	return 0;
}
