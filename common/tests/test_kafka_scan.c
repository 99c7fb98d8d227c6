/* SPDX-License-Identifier: MIT */
#include "common/clock.h"
#include "common/compiler.h"
#include "common/config.h"
#include "common/error.h"
#include "common/kafka_scan.h"
#include "common/tests/unit.h"

#include <librdkafka/rdkafka_mock.h>

#define TOPIC "scanned"

static rd_kafka_t *owner; /* of the mock cluster; also the producer */
static rd_kafka_mock_cluster_t *cluster;
static struct settings settings;

static int
start_cluster(void **state)
{
	(void)state;
	char why[256];

	owner = rd_kafka_new(
		RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof(why));
	cluster = rd_kafka_mock_cluster_new(owner, 1);
	rd_kafka_mock_topic_create(cluster, TOPIC, 3, 1);
	settings = (struct settings){
		.kafka_bootstrap_servers =
			rd_kafka_mock_cluster_bootstraps(cluster),
		.kafka_group_id = "scan",
	};
	assert_int_equal(
		rd_kafka_brokers_add(owner, settings.kafka_bootstrap_servers),
		1);
	return 0;
}

static int
stop_cluster(void **state)
{
	(void)state;
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(owner);
	return 0;
}

static void
produce(int32_t partition, int n)
{
	char payload[] = "x";

	for (int i = 0; i < n; i++)
		assert_int_equal(
			rd_kafka_producev(owner, RD_KAFKA_V_TOPIC(TOPIC),
				RD_KAFKA_V_PARTITION(partition),
				RD_KAFKA_V_VALUE(payload, 1), RD_KAFKA_V_END),
			0);
	assert_int_equal(rd_kafka_flush(owner, 10000), 0);
}

struct seen {
	int count[3];
	int64_t next[3];
	int stop_after;
};

static int
see(void *arg, const rd_kafka_message_t *message, struct error *err)
{
	struct seen *seen = arg;
	int32_t p = message->partition;

	if (seen->count[p] > 0)
		assert_int_equal(message->offset, seen->next[p]);
	seen->next[p] = message->offset + 1;
	seen->count[p]++;
	if (--seen->stop_after == 0)
		return error_set(err, ERROR_BAD_INPUT, "enough");
	return 0;
}

static int
scan(const struct kafka_scan_offset *starts, size_t n_starts, struct seen *seen,
	struct error *err)
{
	struct kafka_scan_partition *partitions = NULL;
	size_t n = 0;
	int rc = kafka_scan(&settings,
		&(struct kafka_scan){
			.topic = TOPIC,
			.starts = starts,
			.n_starts = n_starts,
			.message = seen == NULL ? NULL : see,
			.arg = seen,
			.deadline_ns = clock_now_ns() + 20 * NS_PER_S,
		},
		&partitions, &n, err);

	if (rc == 0)
		assert_int_equal(n, 3);
	free(partitions);
	return rc;
}

static void
an_empty_topic_ends_at_once(void **state)
{
	(void)state;
	struct seen seen = { 0 };
	struct error err;

	assert_int_equal(scan(NULL, 0, &seen, &err), 0);
	assert_int_equal(seen.count[0] + seen.count[1] + seen.count[2], 0);
}

static void
reads_every_partition_from_its_start_to_its_end(void **state)
{
	(void)state;
	const struct kafka_scan_offset starts[] = {
		{ .partition = 0, .next_offset = 7 },
		{ .partition = 2, .next_offset = 999 }, /* outside the topic */
	};
	struct seen seen = { 0 };
	struct error err;

	produce(0, 10);
	produce(1, 5);
	produce(2, 4);
	assert_int_equal(scan(starts, ARRAY_SIZE(starts), &seen, &err), 0);
	assert_int_equal(seen.count[0], 3);
	assert_int_equal(seen.count[1], 5);
	assert_int_equal(seen.count[2], 4);
	assert_int_equal(seen.next[0], 10);
}

static void
the_callers_error_ends_it(void **state)
{
	(void)state;
	struct seen seen = { .stop_after = 2 };
	struct error err;

	produce(0, 10);
	assert_int_equal(scan(NULL, 0, &seen, &err), -ERROR_BAD_INPUT);
	assert_string_equal(err.msg, "enough");
}

static void
a_missing_topic_is_not_an_empty_one(void **state)
{
	(void)state;
	struct kafka_scan_partition *partitions;
	size_t n;
	struct error err;

	rd_kafka_mock_topic_set_error(
		cluster, "gone", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
	assert_int_equal(
		kafka_scan(&settings,
			&(struct kafka_scan){
				.topic = "gone",
				.deadline_ns = clock_now_ns() + 20 * NS_PER_S,
			},
			&partitions, &n, &err),
		-ERROR_KAFKA_ERROR);
	assert_string_equal(err.msg, "kafka: topic gone does not exist");
}

static void
a_dead_broker_is_an_error_by_the_deadline(void **state)
{
	(void)state;
	struct settings dead = settings;
	struct kafka_scan_partition *partitions;
	size_t n;
	struct error err;

	dead.kafka_bootstrap_servers = "127.0.0.1:1";
	int rc = kafka_scan(&dead,
		&(struct kafka_scan){
			.topic = TOPIC,
			.deadline_ns = clock_now_ns() + 300 * NS_PER_MS,
		},
		&partitions, &n, &err);
	assert_true(rc == -ERROR_TIMEOUT || rc == -ERROR_KAFKA_ERROR);
}

struct ticks {
	int n;
	int64_t stop_ns; /* 0: never */
};

static int
see_nothing(void *arg UNUSED, const rd_kafka_message_t *message UNUSED,
	struct error *err UNUSED)
{
	return 0;
}

static int
count_tick(void *arg, struct error *err)
{
	struct ticks *ticks = arg;

	ticks->n++;
	if (ticks->stop_ns == 0 || clock_now_ns() < ticks->stop_ns)
		return 0;
	return error_set(err, ERROR_CLOSED, "told to stop");
}

static int
scan_ticking(struct ticks *ticks, struct error *err)
{
	struct kafka_scan_partition *partitions = NULL;
	size_t n = 0;
	int rc = kafka_scan(&settings,
		&(struct kafka_scan){
			.topic = TOPIC,
			.message = see_nothing,
			.tick = count_tick,
			.arg = ticks,
			.deadline_ns = clock_now_ns() + 20 * NS_PER_S,
		},
		&partitions, &n, err);

	free(partitions);
	return rc;
}

/* Whatever the caller makes of it: it may be somebody else's. */
static void
ticks_for_every_message(void **state)
{
	(void)state;
	struct ticks ticks = { 0 };
	struct error err;

	produce(0, 1000);
	assert_int_equal(scan_ticking(&ticks, &err), 0);
	assert_true(ticks.n > 1000);
}

static void
a_broker_that_dies_meanwhile_does_not_hold_who_was_told_to_stop(void **state)
{
	(void)state;
	const int64_t begun_ns = clock_now_ns();
	struct ticks ticks = { .stop_ns = begun_ns + 500 * NS_PER_MS };
	const int16_t fetch = 1;
	struct error err;

	produce(0, 1);
	rd_kafka_mock_broker_push_request_error_rtts(
		cluster, 1, fetch, 1, RD_KAFKA_RESP_ERR_NO_ERROR, 15000);
	assert_int_equal(scan_ticking(&ticks, &err), -ERROR_CLOSED);
	assert_string_equal(err.msg, "told to stop");
	assert_true(clock_now_ns() - begun_ns < 5 * NS_PER_S);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_topic_ends_at_once),
		cmocka_unit_test(
			reads_every_partition_from_its_start_to_its_end),
		cmocka_unit_test(the_callers_error_ends_it),
		cmocka_unit_test(a_missing_topic_is_not_an_empty_one),
		cmocka_unit_test(a_dead_broker_is_an_error_by_the_deadline),
		cmocka_unit_test(ticks_for_every_message),
		cmocka_unit_test(
			a_broker_that_dies_meanwhile_does_not_hold_who_was_told_to_stop),
	};

	return cmocka_run_group_tests_name(
		"kafka_scan", tests, start_cluster, stop_cluster);
}
