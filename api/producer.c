/* SPDX-License-Identifier: MIT */
#include "api/producer.h"

#include "api/producer_client.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/kafka.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/sync.h"

#include <assert.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/param.h>

/*
 * DESIGN
 *
 * One allocation per message: the record is librdkafka's opaque, holds the
 * payload (which librdkafka therefore does not copy) and is the entry of the
 * in-flight table.  It is freed on the delivery thread once its outbox entry
 * was removed, or left; until then the relay finds it in flight and does not
 * send it again.
 *
 * Replacing the client: senders count themselves in `senders` before they
 * load the pointer, so after storing a new one and seeing `senders` at zero
 * once, nobody holds the old one.  A read lock would do the same with twice
 * the atomics; with idempotence off (our default) it never happens at all.
 *
 * Warming up: until the topic's metadata is known, the first messages sit for
 * up to a second (librdkafka 2.0.2).  So the delivery thread asks for it, a
 * short while each second, until it has it once.
 */

#define POLL_MS 100
/* Reports come by partition; Redis, which writes to its disk for each command,
 * hears of those of this long at once. */
#define GATHER_NS (10 * NS_PER_MS)
/* Half of librdkafka's default queue: the rest is for new requests. */
#define READY_QUEUE_MAX 50000
#define WARM_UP_EVERY_NS (1 * NS_PER_S)
#define WARM_UP_TIMEOUT_MS 300

enum cause {
	CAUSE_QUEUE_FULL,
	CAUSE_TIMED_OUT,
	CAUSE_UNKNOWN_TOPIC,
	CAUSE_PURGED,
	CAUSE_FATAL,
	CAUSE_OTHER,
	N_CAUSES
};

static const char *const cause_names[N_CAUSES] = {
	[CAUSE_QUEUE_FULL] = "QUEUE_FULL",
	[CAUSE_TIMED_OUT] = "TIMED_OUT",
	[CAUSE_UNKNOWN_TOPIC] = "UNKNOWN_TOPIC",
	[CAUSE_PURGED] = "PURGED",
	[CAUSE_FATAL] = "FATAL",
	[CAUSE_OTHER] = "OTHER",
};

static const struct metric_family queue_family METRIC_FAMILY = {
	.name = "kafka.producer.queue",
	.kind = METRIC_GAUGE,
	.base_unit = "messages",
	.description = "Messages given to librdkafka and not yet reported.",
};
static const struct metric_family leaderless_family METRIC_FAMILY = {
	.name = "kafka.producer.leaderless.partitions",
	.kind = METRIC_GAUGE,
	.description = "Partitions of the topic that no broker leads: what is "
		       "for them waits.",
};
static const struct metric_family errors_family METRIC_FAMILY = {
	.name = "kafka.producer.errors",
	.kind = METRIC_COUNTER,
	.description = "Messages not delivered and left to the relay.",
	.tags = "cause",
};
static const struct metric_family delivery_family METRIC_FAMILY = {
	.name = "kafka.producer.delivery",
	.kind = METRIC_TIMER,
	.description = "Time from sending to Kafka's acknowledgement.",
	.histogram = true,
};
static const struct metric_family replaced_family METRIC_FAMILY = {
	.name = "kafka.producer.replaced",
	.kind = METRIC_COUNTER,
	.description = "Clients replaced after a fatal error of librdkafka.",
};

struct producer {
	struct producer_config config;
	struct counter *errors[N_CAUSES];
	struct counter *replaced;
	struct timer *delivery;
	struct inflight *inflight;
	pthread_t thread;

	_Atomic(struct producer_client *) client;
	_Atomic unsigned senders; /* between loading `client` and being done */
	_Atomic bool asked; /* so `connected` means something */
	_Atomic bool connected;
	_Atomic int leaderless; /* partitions */
	_Atomic bool lacks_topic;
	_Atomic bool fatal;
	_Atomic bool stopping;
	_Atomic int64_t stop_deadline_ns;

	/* The delivery thread's. */
	struct producer_record *persisted_list;
	int64_t settle_at_ns;         /* while there are some */
	struct producer_client *warm; /* the client whose topic is known */
	int64_t next_warm_up_ns;
	size_t left; /* to the relay, at the end */
};

static enum cause
cause_of(rd_kafka_resp_err_t code)
{
	switch ((int)code) {
	case RD_KAFKA_RESP_ERR__QUEUE_FULL:
		return CAUSE_QUEUE_FULL;
	case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
	case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
		return CAUSE_TIMED_OUT;
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		return CAUSE_UNKNOWN_TOPIC;
	case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
	case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
		return CAUSE_PURGED;
	case RD_KAFKA_RESP_ERR__FATAL:
		return CAUSE_FATAL;
	default:
		return CAUSE_OTHER;
	}
}

static void
count_error(struct producer *producer, rd_kafka_resp_err_t code)
{
	counter_add(producer->errors[cause_of(code)], 1);
}

static void
discard(struct producer *producer, struct producer_record *record)
{
	inflight_remove(producer->inflight, &record->inflight);
	free(record);
}

/* librdkafka's, on the delivery thread. */
static void
on_delivery(
	rd_kafka_t *rk UNUSED, const rd_kafka_message_t *message, void *opaque)
{
	struct producer *producer = opaque;
	struct producer_record *record = message->_private;

	if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR ||
		rd_kafka_message_status(message) !=
			RD_KAFKA_MSG_STATUS_PERSISTED) {
		count_error(producer, message->err);
		discard(producer, record);
		return;
	}
	timer_record(producer->delivery, clock_now_ns() - record->sent_at_ns);
	inflight_reported(producer->inflight, &record->inflight);
	if (producer->persisted_list == NULL)
		producer->settle_at_ns = clock_now_ns() + GATHER_NS;
	record->next = producer->persisted_list;
	producer->persisted_list = record;
}

/* librdkafka logs its errors itself (common/kafka.c). */
static void
on_error(rd_kafka_t *rk UNUSED, int code, const char *reason UNUSED,
	void *opaque)
{
	struct producer *producer = opaque;

	if (code == RD_KAFKA_RESP_ERR__FATAL)
		atomic_store(&producer->fatal, true);
}

static void
note_topic(struct producer *producer, bool missing)
{
	const struct log_field topic =
		LOG_STR("topic", producer->config.settings->kafka_topic);

	if (atomic_exchange(&producer->lacks_topic, missing) == missing)
		return;
	if (missing)
		LOG_ERROR("the topic does not exist, what is accepted waits",
			topic);
	else
		LOG_INFO("the topic exists again", topic);
}

/* Every statistics.interval.ms. */
static int
on_stats(rd_kafka_t *rk UNUSED, char *json, size_t len, void *opaque)
{
	struct producer *producer = opaque;
	struct kafka_stats stats;

	kafka_stats_read(json, len, &stats);
	atomic_store(&producer->connected, stats.brokers_up > 0);
	atomic_store(&producer->asked, true);
	atomic_store(&producer->leaderless, stats.leaderless);
	note_topic(producer, stats.missing > 0);
	return 0; /* librdkafka frees json */
}

static int
new_client(struct producer *producer, struct producer_client **ret,
	struct error *err)
{
	const struct producer_client_callbacks callbacks = { on_delivery,
		on_error, on_stats, producer };

	return producer_client_new(
		producer->config.settings, &callbacks, ret, err);
}

/* The client in force; client_leave() before the caller returns. */
static struct producer_client *
client_enter(struct producer *producer)
{
	atomic_fetch_add(&producer->senders, 1);
	return atomic_load(&producer->client);
}

static void
client_leave(struct producer *producer)
{
	atomic_fetch_sub(&producer->senders, 1);
}

bool
producer_send(struct producer *producer, const struct message *message,
	const char *traceparent)
{
	struct producer_record *record = producer_record_new(message);

	if (record == NULL) {
		count_error(producer, RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE);
		return false;
	}
	/* First: the report may arrive before producev() returns. */
	inflight_add(producer->inflight, &record->inflight);
	struct producer_client *client = client_enter(producer);
	rd_kafka_resp_err_t code =
		producer_client_send(client, record, traceparent);
	client_leave(producer);
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
		return true;
	count_error(producer, code);
	discard(producer, record);
	return false;
}

/* Hand what Kafka has to the outbox, then forget it. */
static void
settle(struct producer *producer)
{
	struct producer_record *batch[PRODUCER_BATCH_MAX];

	while (producer->persisted_list != NULL) {
		size_t n = 0;
		while (producer->persisted_list != NULL &&
			n < ARRAY_SIZE(batch)) {
			batch[n++] = producer->persisted_list;
			producer->persisted_list =
				producer->persisted_list->next;
		}
		producer->config.persisted(producer->config.arg, batch, n);
		for (size_t i = 0; i < n; i++)
			discard(producer, batch[i]);
	}
}

/* Reports of all that the client still has; how many came too late. */
static size_t
drain_client(struct producer *producer, struct producer_client *client,
	int64_t deadline_ns)
{
	do {
		(void)rd_kafka_flush(client->rk,
			MIN(POLL_MS, clock_poll_timeout_ms(deadline_ns)));
		settle(producer);
	} while (rd_kafka_outq_len(client->rk) > 0 &&
		 clock_now_ns() < deadline_ns);
	size_t left = (size_t)rd_kafka_outq_len(client->rk);

	/* A purged message gets its report at once, so this ends. */
	while (rd_kafka_outq_len(client->rk) > 0) {
		(void)rd_kafka_purge(client->rk,
			RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
		(void)rd_kafka_poll(client->rk, POLL_MS);
		settle(producer);
	}
	return left;
}

/* After a fatal error nothing more can be sent with the old client. */
static void
replace_client(struct producer *producer)
{
	struct producer_client *client;
	struct error err;

	atomic_store(&producer->fatal, false);
	if (new_client(producer, &client, &err) != 0) {
		atomic_store(&producer->fatal, true); /* again next turn */
		LOG_ERROR("kafka producer cannot be replaced", LOG_ERR(&err));
		return;
	}
	struct producer_client *old =
		atomic_exchange(&producer->client, client);
	while (atomic_load(&producer->senders) != 0)
		sched_yield();
	(void)drain_client(producer, old, clock_now_ns());
	producer_client_free(old);
	counter_add(producer->replaced, 1);
	LOG_WARN("kafka producer replaced after a fatal error");
}

static void
warm_up(struct producer *producer, struct producer_client *client)
{
	const struct rd_kafka_metadata *metadata;
	int64_t now_ns = clock_now_ns();

	if (producer->warm == client || now_ns < producer->next_warm_up_ns)
		return;
	producer->next_warm_up_ns = now_ns + WARM_UP_EVERY_NS;
	if (rd_kafka_metadata(client->rk, 0, client->topic, &metadata,
		    WARM_UP_TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return;
	rd_kafka_metadata_destroy(metadata);
	producer->warm = client;
	atomic_store(&producer->connected, true);
	atomic_store(&producer->asked, true);
}

static void
gather(struct producer *producer, struct producer_client *client)
{
	int timeout_ms =
		producer->persisted_list == NULL
			? POLL_MS
			: clock_poll_timeout_ms(producer->settle_at_ns);

	(void)rd_kafka_poll(client->rk, timeout_ms);
	if (producer->persisted_list != NULL &&
		clock_now_ns() >= producer->settle_at_ns)
		settle(producer);
}

static void *
delivery_thread(void *arg)
{
	struct producer *producer = arg;

	thread_set_name("delivery");
	while (!atomic_load(&producer->stopping)) {
		struct producer_client *client = atomic_load(&producer->client);
		gather(producer, client);
		warm_up(producer, client);
		if (atomic_load(&producer->fatal))
			replace_client(producer);
	}
	producer->left = drain_client(producer, atomic_load(&producer->client),
		atomic_load(&producer->stop_deadline_ns));
	return NULL;
}

static int
queue_length(struct producer *producer)
{
	int n = rd_kafka_outq_len(client_enter(producer)->rk);

	client_leave(producer);
	return n;
}

static void
collect(void *arg, struct metrics_sink *sink)
{
	struct producer *producer = arg;

	metrics_emit(sink, &queue_family, METRIC_NO_TAGS,
		(double)queue_length(producer));
	metrics_emit(sink, &leaderless_family, METRIC_NO_TAGS,
		(double)atomic_load(&producer->leaderless));
}

static void
register_metrics(struct producer *producer, struct metrics *metrics)
{
	for (size_t i = 0; i < N_CAUSES; i++)
		producer->errors[i] = metrics_counter(metrics, &errors_family,
			METRIC_TAGS({ "cause", cause_names[i] }));
	producer->delivery =
		metrics_timer(metrics, &delivery_family, METRIC_NO_TAGS);
	producer->replaced =
		metrics_counter(metrics, &replaced_family, METRIC_NO_TAGS);
	metrics_collector(metrics, collect, producer);
}

int
producer_new(const struct producer_config *config, struct producer **ret,
	struct error *err)
{
	struct producer *producer = calloc(1, sizeof(*producer));
	struct producer_client *client;

	if (producer == NULL)
		return error_set(err, ERROR_NO_MEMORY, "kafka: no memory");
	producer->config = *config;
	int rc = new_client(producer, &client, err);
	if (rc != 0) {
		free(producer);
		return rc;
	}
	atomic_init(&producer->client, client);
	producer->inflight = inflight_new();
	register_metrics(producer, config->metrics);
	sync_must(pthread_create(
		&producer->thread, NULL, delivery_thread, producer));
	*ret = producer;
	return 0;
}

bool
producer_is_connected(const struct producer *producer)
{
	return atomic_load(&producer->connected);
}

bool
producer_was_asked(const struct producer *producer)
{
	return atomic_load(&producer->asked);
}

const char *
producer_missing_topic(const struct producer *producer)
{
	return atomic_load(&producer->lacks_topic)
		       ? producer->config.settings->kafka_topic
		       : NULL;
}

bool
producer_is_ready(struct producer *producer)
{
	return producer_is_connected(producer) &&
	       queue_length(producer) < READY_QUEUE_MAX;
}

struct inflight *
producer_inflight(struct producer *producer)
{
	return producer->inflight;
}

size_t
producer_stop(struct producer *producer, int64_t deadline_ns)
{
	atomic_store(&producer->stop_deadline_ns, deadline_ns);
	if (!atomic_exchange(&producer->stopping, true))
		sync_must(pthread_join(producer->thread, NULL));
	return producer->left;
}

void
producer_free(struct producer *producer)
{
	if (producer == NULL)
		return;
	assert(atomic_load(&producer->stopping));
	metrics_collector_remove(producer->config.metrics, collect, producer);
	producer_client_free(atomic_load(&producer->client));
	inflight_free(producer->inflight);
	free(producer);
}
