/* SPDX-License-Identifier: MIT */
/* One partition of librdkafka's mock brokers, and its dead letters. */
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/kafka.h"
#include "common/log.h"
#include "common/tests/unit.h"
#include "consumer/batch.h"
#include "consumer/deadletter.h"
#include "consumer/letter.h"
#include "consumer/reader.h"

#include <librdkafka/rdkafka_mock.h>

#define LIMIT_S 10
#define TOPIC "requests"
#define LETTERS "letters"

static struct {
	rd_kafka_t *owner; /* of the mock cluster; also the producer */
	rd_kafka_mock_cluster_t *cluster;
	rd_kafka_t *rk;
	rd_kafka_topic_t *rkt;
	struct reader reader;
	struct batch batch;
	struct error err;
	int64_t end; /* of the topic */
} t;

static void
must_be_0(int rc)
{
	if (rc != 0)
		fail_msg("%s (%s)", t.err.msg, t.err.code);
}

static rd_kafka_t *
consumer(void)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[256];

	(void)rd_kafka_conf_set(conf, "bootstrap.servers",
		rd_kafka_mock_cluster_bootstraps(t.cluster), why, sizeof(why));
	(void)rd_kafka_conf_set(conf, "group.id", "g", why, sizeof(why));
	rd_kafka_t *rk =
		rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
	assert_non_null(rk);
	return rk;
}

static void
assign(rd_kafka_t *rk, const char *topic)
{
	rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new(1);

	rd_kafka_topic_partition_list_add(list, topic, 0)->offset =
		RD_KAFKA_OFFSET_BEGINNING;
	assert_int_equal(rd_kafka_assign(rk, list), 0);
	rd_kafka_topic_partition_list_destroy(list);
}

static int
start(void **state)
{
	char why[256];

	(void)state;
	log_set_level(LOG_LEVEL_OFF);
	t.owner = rd_kafka_new(
		RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof(why));
	t.cluster = rd_kafka_mock_cluster_new(t.owner, 1);
	rd_kafka_mock_topic_create(t.cluster, TOPIC, 1, 1);
	rd_kafka_mock_topic_create(t.cluster, LETTERS, 1, 1);
	assert_int_equal(rd_kafka_brokers_add(t.owner,
				 rd_kafka_mock_cluster_bootstraps(t.cluster)),
		1);
	t.rk = consumer();
	t.rkt = rd_kafka_topic_new(t.rk, TOPIC, NULL);
	reader_init(&t.reader, t.rk, t.rkt, 0);
	assign(t.rk, TOPIC);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	batch_free(&t.batch);
	reader_fini(&t.reader);
	rd_kafka_topic_destroy(t.rkt);
	assert_int_equal(rd_kafka_consumer_close(t.rk), 0);
	rd_kafka_destroy(t.rk);
	rd_kafka_mock_cluster_destroy(t.cluster);
	rd_kafka_destroy(t.owner);
	return 0;
}

static void
produce(const char *payload)
{
	assert_int_equal(
		rd_kafka_producev(t.owner, RD_KAFKA_V_TOPIC(TOPIC),
			RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY("k", 1),
			RD_KAFKA_V_VALUE(
				(void *)(uintptr_t)payload, strlen(payload)),
			RD_KAFKA_V_HEADER("traceparent", "trace", -1),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
			RD_KAFKA_V_END),
		0);
	assert_int_equal(rd_kafka_flush(t.owner, 10000), 0);
	t.end++;
}

static void
produce_good(int64_t user)
{
	const struct message message = {
		.coupon_id = 1, .user_id = user, .seq = user, .request_id = "r"
	};
	char buf[MESSAGE_SIZE_MAX];

	(void)message_encode(&message, buf);
	produce(buf);
}

/* A new batch from there, of `n` messages or up to what ends it. */
static struct gathered
gather(int64_t from, size_t n)
{
	const struct gather_limits limits = { n, NS_PER_MS };
	int64_t deadline_ns = clock_now_ns() + LIMIT_S * NS_PER_S;
	struct gathered gathered = { .end = GATHERED };

	batch_reset(&t.batch, from);
	reader_seek_later(&t.reader);
	while (t.batch.n < n && gathered.end == GATHERED) {
		assert_true(clock_now_ns() < deadline_ns);
		if (reader_gather(&t.reader, &t.batch, &limits, &gathered,
			    &t.err) != 0)
			/* Its assignment is not ready for a seek yet. */
			assert_int_equal(t.err.kind, ERROR_KAFKA_ERROR);
	}
	return gathered;
}

static void
messages_come_in_order_up_to_the_limit(void **state)
{
	int64_t from = t.end;

	(void)state;
	for (int user = 1; user <= 5; user++)
		produce_good(user);
	(void)gather(from, 3);
	assert_int_equal(t.batch.n, 3);
	assert_int_equal(t.batch.end, from + 3);
	(void)gather(from + 3, 2);
	assert_int_equal(t.batch.items[0].message.user_id, 4);
	assert_int_equal(t.batch.items[1].message.user_id, 5);
	assert_int_equal(t.batch.items[1].letter, LETTER_NONE);
}

static void
a_newer_message_ends_the_batch_and_is_no_letter(void **state)
{
	int64_t from = t.end;

	(void)state;
	produce_good(1);
	produce("{\"v\":2,\"anything\":true}");
	produce_good(2);
	struct gathered gathered = gather(from, 3);
	assert_int_equal(gathered.end, GATHERED_NEWER);
	assert_int_equal(t.batch.n, 1);
	assert_false(batch_has_letters(&t.batch));
	/* As often as it is looked at again. */
	gathered = gather(from + 1, 2);
	assert_int_equal(gathered.end, GATHERED_NEWER);
	assert_int_equal(t.batch.n, 0);
	assert_int_equal(t.batch.end, from + 1);
}

static void
what_cannot_be_read_joins_the_batch_as_a_letter(void **state)
{
	int64_t from = t.end;

	(void)state;
	produce("no JSON");
	produce("{\"v\":1,\"couponId\":1,\"userId\":7,\"requestId\":\"x\"}");
	produce_good(8);
	(void)gather(from, 3);
	assert_int_equal(t.batch.n, 3);
	assert_int_equal(t.batch.items[0].letter, LETTER_DUE);
	assert_string_equal(t.batch.items[0].reason, "UNREADABLE");
	assert_int_equal(t.batch.items[0].verdict, VERDICT_SET_ASIDE);
	assert_string_equal(t.batch.items[1].reason, "INVALID");
	assert_int_equal(t.batch.items[1].verdict, VERDICT_INVALID);
	assert_int_equal(t.batch.items[1].message.user_id, 7);
	assert_int_equal(t.batch.items[2].letter, LETTER_NONE);
}

/* ---- what a letter carries ---- */

static struct letter
read_letter(void)
{
	rd_kafka_t *rk = consumer();
	struct letter letter;

	assign(rk, LETTERS);
	rd_kafka_message_t *raw = rd_kafka_consumer_poll(rk, LIMIT_S * 1000);
	assert_non_null(raw);
	assert_int_equal(raw->err, 0);
	letter_init(&letter, raw);
	rd_kafka_message_destroy(raw);
	assert_int_equal(rd_kafka_consumer_close(rk), 0);
	rd_kafka_destroy(rk);
	return letter;
}

static void
a_letter_carries_reason_origin_and_both_failures(void **state)
{
	const struct settings settings = {
		.kafka_bootstrap_servers =
			rd_kafka_mock_cluster_bootstraps(t.cluster),
		.kafka_dead_letter_topic = LETTERS,
		.kafka_group_id = "g",
	};
	struct deadletter *letters;
	char offset[24];
	int64_t from = t.end;

	(void)state;
	(void)snprintf(offset, sizeof(offset), "%lld", (long long)from);
	produce("no JSON");
	(void)gather(from, 1);
	must_be_0(deadletter_new(&settings, &letters, &t.err));
	must_be_0(deadletter_send(letters, &t.batch,
		clock_now_ns() + LIMIT_S * NS_PER_S, -1, &t.err));
	assert_int_equal(t.batch.items[0].letter, LETTER_SENT);
	deadletter_free(letters, clock_now_ns() + NS_PER_S);

	struct letter letter = read_letter();
	assert_string_equal(letter.value, "no JSON");
	assert_string_equal(letter_header(&letter, "reason"), "UNREADABLE");
	assert_true(strlen(letter_header(&letter, "error")) > 0);
	assert_string_equal(letter_header(&letter, "original-topic"), TOPIC);
	assert_string_equal(letter_header(&letter, "original-partition"), "0");
	assert_string_equal(letter_header(&letter, "original-offset"), offset);
	assert_string_equal(letter_header(&letter, "traceparent"), "trace");
	assert_int_equal(strlen(letter_header(&letter, "failed-at")),
		CLOCK_RFC3339_SIZE - 1);
	assert_string_equal(letter_header(&letter, "first-failed-at"),
		letter_header(&letter, "failed-at"));

	/* A replay goes without them, but remembers the first failure. */
	deadletter_strip(letter.headers);
	assert_string_equal(letter_header(&letter, "reason"), "");
	assert_string_equal(letter_header(&letter, "failed-at"), "");
	assert_string_equal(letter_header(&letter, "traceparent"), "trace");
	assert_true(strlen(letter_header(&letter, "first-failed-at")) > 0);
	letter_fini(&letter);
}

/* Nothing is marked as sent that Kafka has not acknowledged. */
static void
letters_that_nobody_takes_stay_due(void **state)
{
	const struct settings settings = {
		.kafka_bootstrap_servers = "127.0.0.1:9",
		.kafka_dead_letter_topic = LETTERS,
		.kafka_group_id = "g",
	};
	struct deadletter *letters;
	int64_t from = t.end;

	(void)state;
	produce("no JSON");
	(void)gather(from, 1);
	must_be_0(deadletter_new(&settings, &letters, &t.err));
	assert_int_equal(deadletter_send(letters, &t.batch,
				 clock_now_ns() + 100 * NS_PER_MS, -1, &t.err),
		-ERROR_TIMEOUT);
	assert_int_equal(t.batch.items[0].letter, LETTER_DUE);
	deadletter_free(letters, clock_now_ns() + NS_PER_MS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_come_in_order_up_to_the_limit),
		cmocka_unit_test(
			a_newer_message_ends_the_batch_and_is_no_letter),
		cmocka_unit_test(
			what_cannot_be_read_joins_the_batch_as_a_letter),
		cmocka_unit_test(
			a_letter_carries_reason_origin_and_both_failures),
		cmocka_unit_test(letters_that_nobody_takes_stay_due),
	};

	return cmocka_run_group_tests_name("reader", tests, start, stop);
}
