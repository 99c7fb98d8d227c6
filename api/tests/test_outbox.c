/* SPDX-License-Identifier: MIT */
#include "api/inflight.h"
#include "api/outbox.h"
#include "api/producer.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/metrics.h"
#include "common/redis.h"
#include "common/tests/counted.h"
#include "common/tests/redis_server.h"
#include "common/tests/unit.h"

#include <signal.h>
#include <sys/wait.h>

enum { N_EVENTS = 40, N_RECORDS = 200 };

struct fixture {
	struct redis_server server;
	struct settings settings;
	struct metrics *metrics;
	struct redis_shards *shards;
	struct outbox *outbox;
	struct producer_record *records[N_RECORDS];
};

/* Every event has five, and the batch has them in turns. */
static struct producer_record *
record_new(int i)
{
	struct producer_record *record = calloc(1, sizeof(*record));
	struct inflight_key *key;

	assert_non_null(record);
	key = &record->inflight.key;
	key->coupon_id = N_EVENTS - i % N_EVENTS;
	key->user_id = 100 + i;
	(void)snprintf(key->request_id, sizeof(key->request_id), "r%d", i);
	record->seq = i;
	return record;
}

static void
fixture_start(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	redis_server_start(&f->server);
	redis_server_settings(&f->server, &f->settings);
	f->settings.redis_timeout_ns = 300 * NS_PER_MS;
	f->metrics = metrics_new();
	f->shards = redis_shards_new(&f->settings, NULL, 0, f->metrics);
	f->outbox = outbox_new(f->shards, f->metrics);
	for (int i = 0; i < N_RECORDS; i++) {
		char command[64];

		f->records[i] = record_new(i);
		(void)snprintf(command, sizeof(command),
			"ZADD {c:%d}:pending 1 %d:r%d:%d",
			N_EVENTS - i % N_EVENTS, 100 + i, i, i);
		assert_int_equal(redis_server_ask(&f->server, command), 1);
	}
}

static void
fixture_fini(struct fixture *f)
{
	for (int i = 0; i < N_RECORDS; i++)
		free(f->records[i]);
	outbox_free(f->outbox);
	assert_true(
		redis_shards_drain(f->shards, clock_now_ns() + 5 * NS_PER_S));
	redis_shards_free(f->shards);
	metrics_free(f->metrics);
	redis_server_stop(&f->server);
}

static void
expect_counts(struct fixture *f, int removed, int left)
{
	assert_true(metrics_counted(f->metrics,
			    "coupon_outbox_removed_total") == removed);
	assert_true(metrics_counted(f->metrics, "coupon_outbox_left_total") ==
		    left);
}

static void
the_entries_of_many_events_leave_together(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f);
	assert_int_equal(redis_server_ask(&f.server,
				 "ZADD {c:1}:pending 1 not:acknowledged:7"),
		1);
	outbox_remove(f.outbox, f.records, N_RECORDS);
	assert_int_equal(redis_server_ask(&f.server, "KEYS *"), 1);
	assert_int_equal(redis_server_ask(&f.server, "ZCARD {c:1}:pending"), 1);
	expect_counts(&f, N_RECORDS, 0);
	fixture_fini(&f);
}

/* What Redis refuses for one event is no matter of the others. */
static void
an_event_that_cannot_be_cleared_leaves_the_others_alone(void **state)
{
	const int each = N_RECORDS / N_EVENTS;
	struct fixture f;

	(void)state;
	fixture_start(&f);
	assert_int_equal(redis_server_ask(&f.server, "DEL {c:7}:pending"), 1);
	assert_int_equal(
		redis_server_ask(&f.server, "SADD {c:7}:pending no-sorted-set"),
		1);
	outbox_remove(f.outbox, f.records, N_RECORDS);
	assert_int_equal(redis_server_ask(&f.server, "KEYS *"), 1);
	expect_counts(&f, N_RECORDS - each, each);

	/* The connection, which is the only one, is good for the next. */
	assert_int_equal(redis_server_ask(&f.server, "DEL {c:7}:pending"), 1);
	outbox_remove(f.outbox, f.records, N_RECORDS);
	expect_counts(&f, 2 * N_RECORDS - each, each);
	fixture_fini(&f);
}

static void
all_entries_stay_when_redis_does_not_answer(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f);
	outbox_remove(f.outbox, f.records, 1);
	assert_int_equal(kill(f.server.pid, SIGSTOP), 0);
	outbox_remove(f.outbox, &f.records[1], N_RECORDS - 1);
	assert_int_equal(kill(f.server.pid, SIGCONT), 0);
	expect_counts(&f, 1, N_RECORDS - 1);

	/* Late replies are not taken for those of the next batch. */
	outbox_remove(f.outbox, &f.records[1], N_RECORDS - 1);
	assert_int_equal(redis_server_ask(&f.server, "KEYS *"), 0);
	expect_counts(&f, N_RECORDS, N_RECORDS - 1);
	fixture_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_entries_of_many_events_leave_together),
		cmocka_unit_test(
			an_event_that_cannot_be_cleared_leaves_the_others_alone),
		cmocka_unit_test(all_entries_stay_when_redis_does_not_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
