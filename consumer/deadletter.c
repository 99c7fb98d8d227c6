/* SPDX-License-Identifier: MIT */
#include "consumer/deadletter.h"

#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/kafka.h"
#include "common/lifecycle.h"
#include "consumer/batch.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>

#define POLL_MS 100

struct deadletter {
	rd_kafka_t *rk;
	char *topic;
	atomic_bool stop;
	pthread_t thread;
};

/*
 * What one deadletter_send() waits for.  Each message on its way holds a
 * reference: a report may come after the sender has given up.
 */
struct receipt {
	atomic_int refs;
	atomic_int outstanding;
	atomic_int failed; /* rd_kafka_resp_err_t of one that failed, or 0 */
	int fd;            /* readable once outstanding is 0 */
};

static void
receipt_unref(struct receipt *receipt)
{
	if (atomic_fetch_sub(&receipt->refs, 1) > 1)
		return;
	(void)close(receipt->fd);
	free(receipt);
}

static struct receipt *
receipt_new(void)
{
	struct receipt *receipt = calloc(1, sizeof(*receipt));

	if (receipt == NULL)
		return NULL;
	receipt->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (receipt->fd < 0) {
		free(receipt);
		return NULL;
	}
	/* The sender counts as outstanding until it has sent all. */
	atomic_store(&receipt->refs, 1);
	atomic_store(&receipt->outstanding, 1);
	return receipt;
}

static void
receipt_one_less(struct receipt *receipt)
{
	if (atomic_fetch_sub(&receipt->outstanding, 1) == 1)
		(void)eventfd_write(receipt->fd, 1);
}

static void
on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	struct receipt *receipt = message->_private;

	(void)rk;
	(void)opaque;
	if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
		atomic_store(&receipt->failed, (int)message->err);
	receipt_one_less(receipt);
	receipt_unref(receipt);
}

static void *
serve(void *arg)
{
	struct deadletter *deadletter = arg;

	thread_set_name("dead-letters");
	while (!atomic_load(&deadletter->stop))
		(void)rd_kafka_poll(deadletter->rk, POLL_MS);
	return NULL;
}

static int
open_producer(struct deadletter *deadletter, const struct settings *settings,
	struct error *err)
{
	rd_kafka_conf_t *conf;
	char why[128];
	int rc = kafka_conf_new(
		settings, KAFKA_PRODUCER, deadletter, &conf, err);

	if (rc != 0)
		return rc;
	/* A partition waits for these: no lingering, and no letter of an
	 * earlier attempt left over when the next is made. */
	if (rd_kafka_conf_set(conf, "linger.ms", "0", why, sizeof(why)) !=
			RD_KAFKA_CONF_OK ||
		rd_kafka_conf_set(conf, "message.timeout.ms", "10000", why,
			sizeof(why)) != RD_KAFKA_CONF_OK) {
		rd_kafka_conf_destroy(conf);
		return error_set(err, ERROR_CONFIG_INVALID, "%s", why);
	}
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	return kafka_open(KAFKA_PRODUCER, &conf, &deadletter->rk, err);
}

int
deadletter_new(const struct settings *settings, struct deadletter **ret,
	struct error *err)
{
	struct deadletter *deadletter = calloc(1, sizeof(*deadletter));
	int rc;

	if (deadletter == NULL)
		return error_set(err, ERROR_NO_MEMORY, "dead letters");
	rc = open_producer(deadletter, settings, err);
	if (rc != 0) {
		free(deadletter);
		return rc;
	}
	deadletter->topic = strdup(settings->kafka_dead_letter_topic);
	rc = pthread_create(&deadletter->thread, NULL, serve, deadletter);
	if (rc != 0 || deadletter->topic == NULL)
		abort(); /* at start */
	*ret = deadletter;
	return 0;
}

void
deadletter_free(struct deadletter *deadletter, int64_t deadline_ns)
{
	if (deadletter == NULL)
		return;
	(void)rd_kafka_flush(
		deadletter->rk, clock_poll_timeout_ms(deadline_ns));
	atomic_store(&deadletter->stop, true);
	(void)pthread_join(deadletter->thread, NULL);
	/* What is left reports now, so that its receipts are freed. */
	(void)rd_kafka_purge(deadletter->rk,
		RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	(void)rd_kafka_flush(deadletter->rk, POLL_MS);
	rd_kafka_destroy(deadletter->rk);
	free(deadletter->topic);
	free(deadletter);
}

static void
add_header(rd_kafka_headers_t *headers, const char *name, const char *value)
{
	(void)rd_kafka_header_remove(headers, name);
	(void)rd_kafka_header_add(headers, name, -1, value, -1);
}

static rd_kafka_headers_t *
headers_for(const struct batch_item *item)
{
	const rd_kafka_message_t *raw = item->raw;
	rd_kafka_headers_t *own = NULL;
	const void *first;
	size_t first_len;
	char now[CLOCK_RFC3339_SIZE];
	char number[24];

	(void)rd_kafka_message_headers(raw, &own);
	rd_kafka_headers_t *headers = own != NULL ? rd_kafka_headers_copy(own)
						  : rd_kafka_headers_new(8);
	clock_format_rfc3339(clock_wall_ms(), now);
	add_header(headers, "reason", item->reason);
	add_header(headers, "error", item->detail == NULL ? "" : item->detail);
	add_header(headers, "original-topic", rd_kafka_topic_name(raw->rkt));
	(void)snprintf(number, sizeof(number), "%" PRId32, raw->partition);
	add_header(headers, "original-partition", number);
	(void)snprintf(number, sizeof(number), "%" PRId64, raw->offset);
	add_header(headers, "original-offset", number);
	add_header(headers, "failed-at", now);
	if (rd_kafka_header_get_last(headers, "first-failed-at", &first,
		    &first_len) != RD_KAFKA_RESP_ERR_NO_ERROR)
		add_header(headers, "first-failed-at", now);
	return headers;
}

void
deadletter_strip(rd_kafka_headers_t *headers)
{
	static const char *const names[] = { "reason", "error",
		"original-topic", "original-partition", "original-offset",
		"failed-at" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)rd_kafka_header_remove(headers, names[i]);
}

static int
produce(struct deadletter *deadletter, const struct batch_item *item,
	struct receipt *receipt, struct error *err)
{
	rd_kafka_headers_t *headers = headers_for(item);

	atomic_fetch_add(&receipt->refs, 1);
	atomic_fetch_add(&receipt->outstanding, 1);
	rd_kafka_resp_err_t rc = rd_kafka_producev(deadletter->rk,
		RD_KAFKA_V_TOPIC(deadletter->topic),
		RD_KAFKA_V_KEY(item->raw->key, item->raw->key_len),
		RD_KAFKA_V_VALUE(item->raw->payload, item->raw->len),
		RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(receipt),
		RD_KAFKA_V_END);
	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR)
		return 0;
	rd_kafka_headers_destroy(headers); /* ours when it failed */
	receipt_one_less(receipt);
	(void)atomic_fetch_sub(&receipt->refs, 1); /* the sender has one */
	return error_set(err, ERROR_KAFKA_ERROR, "dead letter: %s",
		rd_kafka_err2str(rc));
}

static int
await(struct receipt *receipt, int64_t deadline_ns, int cancel_fd,
	struct error *err)
{
	struct pollfd fds[] = {
		{ .fd = receipt->fd, .events = POLLIN },
		{ .fd = cancel_fd, .events = POLLIN },
	};
	int n;

	do
		n = poll(fds, ARRAY_SIZE(fds),
			clock_poll_timeout_ms(deadline_ns));
	while (n < 0 && errno == EINTR);

	if (n == 0)
		return error_set(err, ERROR_TIMEOUT,
			"dead letters: Kafka has not acknowledged them");
	if (fds[0].revents == 0)
		return error_set(err, ERROR_CANCELLED,
			"told to stop while dead letters were on their way");
	int failed = atomic_load(&receipt->failed);
	if (failed != 0)
		return error_set(err, ERROR_KAFKA_ERROR, "dead letters: %s",
			rd_kafka_err2str((rd_kafka_resp_err_t)failed));
	return 0;
}

static int
send_all(struct deadletter *deadletter, const struct batch *batch,
	struct receipt *receipt, struct error *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < batch->n; i++)
		if (batch->items[i].letter == LETTER_DUE)
			rc = produce(
				deadletter, &batch->items[i], receipt, err);
	receipt_one_less(receipt); /* the sender itself */
	return rc;
}

int
deadletter_send(struct deadletter *deadletter, struct batch *batch,
	int64_t deadline_ns, int cancel_fd, struct error *err)
{
	struct receipt *receipt = receipt_new();

	if (receipt == NULL)
		return error_set(err, ERROR_SYSTEM, "dead letters: eventfd: %s",
			strerrordesc_np(errno));
	int rc = send_all(deadletter, batch, receipt, err);
	if (rc == 0)
		rc = await(receipt, deadline_ns, cancel_fd, err);
	receipt_unref(receipt);
	for (size_t i = 0; rc == 0 && i < batch->n; i++)
		if (batch->items[i].letter == LETTER_DUE)
			batch->items[i].letter = LETTER_SENT;
	return rc;
}
