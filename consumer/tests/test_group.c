/* SPDX-License-Identifier: MIT */
/*
 * The consumer from the topic to the row: librdkafka's mock brokers and a
 * real PostgreSQL.  Joining the mock group takes 3 s, so one membership
 * serves all tests; each has users and numbers of its own.
 */
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/kafka.h"
#include "common/log.h"
#include "common/message.h"
#include "common/metrics.h"
#include "common/pg.h"
#include "common/pool_admin.h"
#include "common/schema.h"
#include "common/tests/pg_fixture.h"
#include "common/tests/unit.h"
#include "consumer/deadletter.h"
#include "consumer/group.h"

#include <inttypes.h>
#include <librdkafka/rdkafka_mock.h>
#include <poll.h>
#include <stdatomic.h>

#define TOPIC "requests"
#define LETTERS "letters"
/* The mock cluster may take 20 s to let a member in that has just left. */
#define LIMIT_S 60
#define OFFSET "SELECT next_offset FROM consumer_offset"
#define EPOCH "SELECT owner_epoch FROM consumer_offset"

static struct {
	rd_kafka_t *owner; /* of the mock cluster; also the producer */
	rd_kafka_mock_cluster_t *cluster;
	struct settings settings;
	struct metrics *metrics;
	struct pg_pools *pools;
	PGconn *other;
	struct deadletter *letters;
	struct group *group;
	struct error err;
	int user;         /* the last one used; numbers run with them */
	atomic_bool hold; /* letters: their thread does not come back */
} t;

static void
must_be_0(int rc)
{
	if (rc != 0)
		fail_msg("%s (%s)", t.err.msg, t.err.code);
}

static void
sql(const char *text)
{
	PGresult *result = PQexec(t.other, text);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		fail_msg("%s: %s", text, PQerrorMessage(t.other));
	PQclear(result);
}

static long PRINTF(1, 2) number(const char *format, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	PGresult *result = PQexec(t.other, text);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", text, PQerrorMessage(t.other));
	long n = strtol(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return n;
}

static void
produce(const char *payload)
{
	assert_int_equal(rd_kafka_producev(t.owner, RD_KAFKA_V_TOPIC(TOPIC),
				 RD_KAFKA_V_PARTITION(0),
				 RD_KAFKA_V_VALUE((void *)(uintptr_t)payload,
					 strlen(payload)),
				 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
				 RD_KAFKA_V_END),
		0);
	assert_int_equal(rd_kafka_flush(t.owner, 10000), 0);
}

/* A good request of the next user; returns him. */
static int
request(void)
{
	struct message message = { .coupon_id = 1,
		.user_id = ++t.user,
		.seq = t.user,
		.accepted_at_ms = clock_wall_ms() };
	char buf[MESSAGE_SIZE_MAX];

	(void)snprintf(
		message.request_id, sizeof(message.request_id), "r%d", t.user);
	(void)message_encode(&message, buf);
	produce(buf);
	return t.user;
}

static bool
issued(int user)
{
	return number("SELECT count(*) FROM user_coupon WHERE user_id = %d",
		       user) == 1;
}

/* Poll the group until the query says so. */
static void
await_number(const char *query, long want)
{
	int64_t deadline_ns = clock_now_ns() + LIMIT_S * NS_PER_S;

	while (number("%s", query) != want) {
		assert_true(clock_now_ns() < deadline_ns);
		group_poll(t.group, 20);
	}
}

static void
await_row(int user)
{
	char query[80];

	(void)snprintf(query, sizeof(query),
		"SELECT count(*) FROM user_coupon WHERE user_id = %d", user);
	await_number(query, 1);
}

static void
await_state(enum partition_state state)
{
	int64_t deadline_ns = clock_now_ns() + LIMIT_S * NS_PER_S;
	struct group_status status;

	do {
		assert_true(clock_now_ns() < deadline_ns);
		group_poll(t.group, 20);
		group_status(t.group, &status);
	} while (status.states[state] != 1);
}

static int
send_letters(void *ctx, struct batch *batch, const struct pg_wait *wait,
	struct error *err)
{
	(void)ctx;
	while (atomic_load(&t.hold))
		(void)poll(NULL, 0, 1);
	return deadletter_send(
		t.letters, batch, wait->deadline_ns, wait->cancel_fd, err);
}

static bool
event_may_exist(void *ctx, int64_t coupon_id)
{
	(void)ctx;
	(void)coupon_id;
	return false;
}

static void
start_brokers(void)
{
	char why[256];

	t.owner = rd_kafka_new(
		RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof(why));
	t.cluster = rd_kafka_mock_cluster_new(t.owner, 1);
	rd_kafka_mock_topic_create(t.cluster, TOPIC, 1, 1);
	rd_kafka_mock_topic_create(t.cluster, LETTERS, 1, 1);
	assert_int_equal(rd_kafka_brokers_add(t.owner,
				 rd_kafka_mock_cluster_bootstraps(t.cluster)),
		1);
}

static void
start_group(void)
{
	const struct group_config config = {
		.settings = &t.settings,
		.metrics = t.metrics,
		.pool = pg_write_pool(t.pools),
		.writer = { .send_letters = send_letters,
			.event_may_exist = event_may_exist },
	};

	must_be_0(group_new(&config, &t.group, &t.err));
}

static void
prepare_database(const char *uri)
{
	const struct pg_wait wait = { clock_now_ns() + 20 * NS_PER_S, -1 };
	struct pool_entry *entry;
	int applied;

	must_be_0(pg_pools_new(
		&t.settings, "test_group", t.metrics, &t.pools, &t.err));
	must_be_0(pool_acquire(pg_write_pool(t.pools), "test", wait.deadline_ns,
		&entry, &t.err));
	must_be_0(schema_migrate(entry->resource, &wait, &applied, &t.err));
	pool_release(pg_write_pool(t.pools), &entry, POOL_REUSE);
	t.other = PQconnectdb(uri);
	sql("INSERT INTO coupon (id, name, total, opens_at, closes_at)"
	    " VALUES (1, 'one', 1000000, now(), now() + '1 day')");
}

static int
start(void **state)
{
	if (pg_fixture_start(state) != 0)
		return -1;
	if (!pg_fixture_is_there())
		return 0;
	if (getenv("COUPON_TEST_LOG") == NULL)
		log_set_level(LOG_LEVEL_OFF);
	start_brokers();
	t.metrics = metrics_new();
	const char *uri = pg_fixture_new_database();
	pg_fixture_settings(&t.settings, uri);
	t.settings.kafka_bootstrap_servers =
		rd_kafka_mock_cluster_bootstraps(t.cluster);
	t.settings.kafka_group_id = "group";
	t.settings.kafka_topic = TOPIC;
	t.settings.kafka_dead_letter_topic = LETTERS;
	t.settings.consumer_batch_size = 100;
	t.settings.consumer_batch_wait_ns = NS_PER_MS;
	t.settings.consumer_watchdog_timeout_ns = 60 * NS_PER_S;
	prepare_database(uri);
	must_be_0(deadletter_new(&t.settings, &t.letters, &t.err));
	start_group();
	return 0;
}

static void
leave_group(void)
{
	group_leave(t.group, clock_now_ns() + 10 * NS_PER_S);
	group_free(t.group);
}

static int
stop(void **state)
{
	if (pg_fixture_is_there()) {
		leave_group();
		deadletter_free(t.letters, clock_now_ns() + NS_PER_S);
		assert_true(pg_pools_drain(t.pools, clock_now_ns() + NS_PER_S));
		pg_pools_free(t.pools);
		metrics_free(t.metrics);
		PQfinish(t.other);
		rd_kafka_mock_cluster_destroy(t.cluster);
		rd_kafka_destroy(t.owner);
	}
	return pg_fixture_stop(state);
}

static void
a_request_becomes_a_row_and_moves_the_offset(void **state)
{
	(void)state;
	pg_fixture_need();
	struct group_status status;

	await_row(request());
	await_number(OFFSET, 1);
	group_status(t.group, &status);
	assert_true(status.assigned);
	assert_int_equal(status.states[PARTITION_RUNNING], 1);
}

static long
letters_sent(void)
{
	int64_t low;
	int64_t high;

	assert_int_equal(rd_kafka_query_watermark_offsets(
				 t.owner, LETTERS, 0, &low, &high, 5000),
		0);
	return (long)high;
}

static void
what_cannot_be_read_does_not_hold_up_the_next(void **state)
{
	(void)state;
	pg_fixture_need();
	long before = letters_sent();

	produce("no JSON at all");
	await_row(request());
	assert_int_equal(letters_sent() - before, 1);
	assert_int_equal(number("SELECT count(*) FROM issue_rejection"), 0);
}

static void
a_partition_without_database_waits_and_goes_on(void **state)
{
	(void)state;
	pg_fixture_need();
	struct group_status status;

	pool_suspend(pg_write_pool(t.pools));
	int user = request();
	await_state(PARTITION_DATABASE);
	group_status(t.group, &status);
	assert_true(status.assigned);
	pool_resume(pg_write_pool(t.pools));
	await_row(user);
	await_state(PARTITION_RUNNING);
}

static void
await_hung(size_t want)
{
	int64_t deadline_ns = clock_now_ns() + LIMIT_S * NS_PER_S;
	struct group_status status;

	do {
		assert_true(clock_now_ns() < deadline_ns);
		group_poll(t.group, 20);
		group_status(t.group, &status);
	} while (status.hung != want);
}

static void
a_thread_that_does_not_come_back_is_noticed(void **state)
{
	(void)state;
	pg_fixture_need();
	struct settings settings = t.settings;

	await_hung(0);
	settings.consumer_watchdog_timeout_ns = 500 * NS_PER_MS;
	group_configure(t.group, &settings);
	atomic_store(&t.hold, true);
	produce("no JSON either");
	int user = request();
	await_hung(1);
	assert_false(issued(user));
	atomic_store(&t.hold, false);
	await_hung(0);
	await_row(user);
	group_configure(t.group, &t.settings);
}

static void
a_stolen_partition_is_taken_again(void **state)
{
	(void)state;
	pg_fixture_need();
	sql("UPDATE consumer_offset SET owner_epoch = owner_epoch + 1");
	long stolen = number(EPOCH);
	long next = number(OFFSET);
	await_row(request());
	await_number(OFFSET, next + 1);
	assert_int_equal(number(EPOCH), stolen + 1);
}

/* A standby without the last commits was promoted; nothing new comes. */
static void
rows_that_postgresql_lost_come_back_from_kafka(void **state)
{
	(void)state;
	pg_fixture_need();
	int user = request();

	await_row(user);
	sql("BEGIN");
	sql("DELETE FROM user_coupon");
	sql("UPDATE consumer_offset SET next_offset = 0");
	sql("COMMIT");
	await_row(user);
	assert_int_equal(
		number("SELECT count(DISTINCT user_id) FROM user_coupon"),
		t.user);
}

/* The topic was created anew, or is not the one PostgreSQL knows. */
static void
an_offset_beyond_the_topic_makes_it_start_over(void **state)
{
	(void)state;
	pg_fixture_need();
	long next = number(OFFSET);

	sql("UPDATE consumer_offset SET next_offset = 1000000");
	await_row(request());
	await_number(OFFSET, next + 1);
}

static void
a_newer_message_pauses_the_partition_behind_it(void **state)
{
	(void)state;
	pg_fixture_need();
	int before = request();

	produce("{\"v\":2,\"anything\":true}");
	int after = request();
	await_row(before);
	await_state(PARTITION_VERSION);
	assert_false(issued(after));
	assert_int_equal(number("SELECT count(*) FROM issue_rejection"), 0);
}

/* Last: it leaves the group. */
static void
leaving_does_not_wait_for_a_database_that_hangs(void **state)
{
	(void)state;
	pg_fixture_need();
	int64_t started_ns = clock_now_ns();

	/* Jump over the newer message, as an upgraded program would. */
	sql("UPDATE consumer_offset SET next_offset = next_offset + 1,"
	    " owner_epoch = owner_epoch + 1");
	leave_group();
	start_group();
	await_row(t.user);
	sql("BEGIN");
	sql("LOCK TABLE user_coupon IN ACCESS EXCLUSIVE MODE");
	(void)request();
	for (int i = 0; i < 20; i++)
		group_poll(t.group, 20);
	started_ns = clock_now_ns();
	leave_group();
	assert_true(clock_now_ns() - started_ns < 3 * NS_PER_S);
	sql("ROLLBACK");
	start_group();
	await_row(t.user);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_becomes_a_row_and_moves_the_offset),
		cmocka_unit_test(what_cannot_be_read_does_not_hold_up_the_next),
		cmocka_unit_test(
			a_partition_without_database_waits_and_goes_on),
		cmocka_unit_test(a_thread_that_does_not_come_back_is_noticed),
		cmocka_unit_test(a_stolen_partition_is_taken_again),
		cmocka_unit_test(
			rows_that_postgresql_lost_come_back_from_kafka),
		cmocka_unit_test(
			an_offset_beyond_the_topic_makes_it_start_over),
		cmocka_unit_test(
			a_newer_message_pauses_the_partition_behind_it),
		cmocka_unit_test(
			leaving_does_not_wait_for_a_database_that_hangs),
	};

	return cmocka_run_group_tests_name("group", tests, start, stop);
}
