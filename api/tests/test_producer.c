/* SPDX-License-Identifier: MIT */
/*
 * Against librdkafka's mock cluster: a broker inside this process.
 */
#include "api/producer.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/message.h"
#include "common/metrics.h"
#include "common/sync.h"
#include "common/tests/unit.h"

#include <dlfcn.h>
#include <librdkafka/rdkafka.h>
#include <sched.h>
#include <stdatomic.h>

#define DEADLINE_NS (20 * NS_PER_S)

/* The producer's client, to hurt it: rd_kafka_new() goes through here. */
static _Atomic(rd_kafka_t *) newest_client;

rd_kafka_t *
rd_kafka_new(
	rd_kafka_type_t type, rd_kafka_conf_t *conf, char *why, size_t size)
{
	rd_kafka_t *(*real)(rd_kafka_type_t, rd_kafka_conf_t *, char *, size_t);

	*(void **)&real = dlsym(RTLD_NEXT, "rd_kafka_new");
	rd_kafka_t *rk = real(type, conf, why, size);
	atomic_store(&newest_client, rk);
	return rk;
}

struct fixture {
	struct settings settings;
	struct settings_property properties[4];
	struct metrics *metrics;
	struct producer *producer;
	struct mutex lock;
	struct cond changed; /* with lock: n, sum_of_seqs */
	size_t n;            /* records reported persisted */
	int64_t sum_of_seqs;
};

static void
on_persisted(void *arg, struct producer_record *const *records, size_t n)
{
	struct fixture *fixture = arg;

	mutex_lock(&fixture->lock);
	for (size_t i = 0; i < n; i++)
		fixture->sum_of_seqs += records[i]->seq;
	fixture->n += n;
	cond_broadcast(&fixture->changed);
	mutex_unlock(&fixture->lock);
}

static size_t
await_persisted(struct fixture *fixture, size_t n)
{
	int64_t deadline_ns = clock_now_ns() + DEADLINE_NS;

	mutex_lock(&fixture->lock);
	while (fixture->n < n &&
		cond_wait_until(&fixture->changed, &fixture->lock, deadline_ns))
		;
	n = fixture->n;
	mutex_unlock(&fixture->lock);
	return n;
}

static void
start(struct fixture *fixture)
{
	const struct producer_config config = {
		.settings = &fixture->settings,
		.persisted = on_persisted,
		.arg = fixture,
		.metrics = fixture->metrics,
	};
	struct error err;

	assert_int_equal(producer_new(&config, &fixture->producer, &err), 0);
}

static void
set_property(struct fixture *fixture, const char *name, const char *value)
{
	struct settings_properties *properties =
		&fixture->settings.kafka_properties;

	properties->items = fixture->properties;
	properties->items[properties->count++] =
		(struct settings_property){ name, value };
}

static int
set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	fixture->settings.kafka_bootstrap_servers = "127.0.0.1:9";
	fixture->settings.kafka_topic = "requests";
	fixture->metrics = metrics_new();
	mutex_init(&fixture->lock);
	cond_init(&fixture->changed);
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;

	producer_free(fixture->producer);
	metrics_free(fixture->metrics);
	cond_fini(&fixture->changed);
	mutex_fini(&fixture->lock);
	free(fixture);
	return 0;
}

static bool
send_one(struct fixture *fixture, int64_t seq, const char *traceparent)
{
	const struct message message = {
		.coupon_id = 1,
		.user_id = 1000 + seq,
		.seq = seq,
		.accepted_at_ms = 1,
		.request_id = "request",
	};

	return producer_send(fixture->producer, &message, traceparent);
}

static struct inflight_key
key_of(int64_t seq)
{
	struct inflight_key key;

	memset(&key, 0, sizeof(key));
	key.coupon_id = 1;
	key.user_id = 1000 + seq;
	memcpy(key.request_id, "request", sizeof("request"));
	return key;
}

static uint64_t
count(struct fixture *fixture, const char *name, const struct metric_tag *tags)
{
	char *json;
	char tag[64];
	const char *const filter[] = { tags != NULL ? tag : NULL, NULL };
	const char *start;
	struct error err;

	if (tags != NULL)
		(void)snprintf(
			tag, sizeof(tag), "%s:%s", tags->key, tags->value);
	assert_int_equal(
		metrics_one_json(fixture->metrics, name, filter, &json, &err),
		0);
	start = strstr(json, "\"value\":");
	assert_non_null(start);
	uint64_t value = strtoull(start + strlen("\"value\":"), NULL, 10);
	free(json);
	return value;
}

static uint64_t
errors(struct fixture *fixture, const char *cause)
{
	return count(fixture, "kafka.producer.errors",
		METRIC_TAGS({ "cause", cause }));
}

static void
what_kafka_has_is_reported_once(void **state)
{
	enum { MESSAGES = 2000 };
	struct fixture *fixture = *state;
	struct inflight *inflight;

	set_property(fixture, "test.mock.num.brokers", "1");
	start(fixture);
	inflight = producer_inflight(fixture->producer);
	for (int64_t seq = 1; seq <= MESSAGES; seq++)
		assert_true(send_one(fixture, seq,
			seq % 2 == 0 ? "00-0af7651916cd43dd8448eb211c80319c-"
				       "b7ad6b7169203331-01"
				     : NULL));
	assert_int_equal(await_persisted(fixture, MESSAGES), MESSAGES);
	assert_int_equal(
		producer_stop(fixture->producer, clock_now_ns() + DEADLINE_NS),
		0);
	assert_int_equal(fixture->n, MESSAGES);
	assert_int_equal(
		fixture->sum_of_seqs, (int64_t)MESSAGES * (MESSAGES + 1) / 2);
	assert_int_equal(inflight_unreported(inflight, 1), 0);
	assert_true(producer_is_connected(fixture->producer));
}

static void
stopping_flushes_what_lingers(void **state)
{
	struct fixture *fixture = *state;

	set_property(fixture, "test.mock.num.brokers", "1");
	set_property(fixture, "linger.ms", "10000");
	int64_t started_ns = clock_now_ns();
	start(fixture);
	for (int64_t seq = 1; seq <= 100; seq++)
		assert_true(send_one(fixture, seq, NULL));
	assert_int_equal(
		producer_stop(fixture->producer, clock_now_ns() + DEADLINE_NS),
		0);
	assert_int_equal(fixture->n, 100);
	assert_true(clock_now_ns() - started_ns < 10 * NS_PER_S);
}

static void
without_a_broker_messages_are_in_flight_and_then_left(void **state)
{
	struct fixture *fixture = *state;
	const struct inflight_key key = key_of(1);
	struct inflight *inflight;

	start(fixture);
	inflight = producer_inflight(fixture->producer);
	assert_true(send_one(fixture, 1, NULL));
	assert_true(inflight_has(inflight, &key));
	assert_int_equal(inflight_unreported(inflight, 1), 1);
	assert_false(producer_is_ready(fixture->producer));
	assert_int_equal(producer_stop(fixture->producer,
				 clock_now_ns() + 200 * NS_PER_MS),
		1);
	assert_false(inflight_has(inflight, &key));
	assert_int_equal(fixture->n, 0);
	assert_int_equal(errors(fixture, "PURGED"), 1);
}

static void
a_full_queue_leaves_the_message_to_the_relay(void **state)
{
	struct fixture *fixture = *state;
	const struct inflight_key key = key_of(3);

	set_property(fixture, "queue.buffering.max.messages", "2");
	start(fixture);
	assert_true(send_one(fixture, 1, NULL));
	assert_true(send_one(fixture, 2, NULL));
	assert_false(send_one(fixture, 3,
		"00-0af7651916cd43dd8448eb211c80319c"
		"-b7ad6b7169203331-01"));
	assert_int_equal(errors(fixture, "QUEUE_FULL"), 1);
	assert_false(inflight_has(producer_inflight(fixture->producer), &key));
	assert_int_equal(producer_stop(fixture->producer, clock_now_ns()), 2);
}

static void
a_message_that_times_out_is_counted_by_cause(void **state)
{
	struct fixture *fixture = *state;
	int64_t deadline_ns = clock_now_ns() + DEADLINE_NS;

	set_property(fixture, "message.timeout.ms", "50");
	start(fixture);
	assert_true(send_one(fixture, 1, NULL));
	while (errors(fixture, "TIMED_OUT") == 0 &&
		clock_now_ns() < deadline_ns)
		sched_yield();
	assert_int_equal(errors(fixture, "TIMED_OUT"), 1);
	assert_int_equal(producer_stop(fixture->producer, clock_now_ns()), 0);
	assert_int_equal(fixture->n, 0);
}

static void
a_property_librdkafka_does_not_know_stops_the_start(void **state)
{
	struct fixture *fixture = *state;
	const struct producer_config config = {
		.settings = &fixture->settings,
		.persisted = on_persisted,
		.metrics = fixture->metrics,
	};
	struct error err;

	set_property(fixture, "no.such.property", "1");
	assert_int_equal(producer_new(&config, &fixture->producer, &err),
		-ERROR_CONFIG_INVALID);
	assert_non_null(strstr(err.msg, "no.such.property"));
}

static void
a_fatal_error_replaces_the_client(void **state)
{
	struct fixture *fixture = *state;
	int64_t deadline_ns = clock_now_ns() + DEADLINE_NS;

	set_property(fixture, "test.mock.num.brokers", "1");
	set_property(fixture, "enable.idempotence", "true");
	start(fixture);
	assert_true(send_one(fixture, 1, NULL));
	assert_int_equal(await_persisted(fixture, 1), 1);
	rd_kafka_test_fatal_error(atomic_load(&newest_client),
		RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "a test");
	while (count(fixture, "kafka.producer.replaced", NULL) == 0 &&
		clock_now_ns() < deadline_ns)
		sched_yield();
	assert_int_equal(count(fixture, "kafka.producer.replaced", NULL), 1);
	assert_true(send_one(fixture, 2, NULL));
	assert_int_equal(await_persisted(fixture, 2), 2);
	assert_int_equal(
		producer_stop(fixture->producer, clock_now_ns() + DEADLINE_NS),
		0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(what_kafka_has_is_reported_once),
		TEST(stopping_flushes_what_lingers),
		TEST(without_a_broker_messages_are_in_flight_and_then_left),
		TEST(a_full_queue_leaves_the_message_to_the_relay),
		TEST(a_message_that_times_out_is_counted_by_cause),
		TEST(a_property_librdkafka_does_not_know_stops_the_start),
		TEST(a_fatal_error_replaces_the_client),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
