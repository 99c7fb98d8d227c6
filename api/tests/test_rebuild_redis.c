/* SPDX-License-Identifier: MIT */
#include "api/rebuild_plan.h"
#include "api/rebuild_redis.h"
#include "api/rebuild_store.h"
#include "api/scripts.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/redis.h"
#include "common/tests/redis_server.h"
#include "common/tests/unit.h"

#include <signal.h>

/* Every second number is free: both keys take more than one batch. */
enum { USERS = 1200, EPOCH = 3 };
#define USERS_ASIDE "{c:1}:rebuild:3:users"
#define FREE_ASIDE "{c:1}:rebuild:3:free"

struct fixture {
	struct redis_server server;
	struct settings settings;
	struct metrics *metrics;
	struct redis_shards *shards;
	struct rebuild_plan *plan;
	struct rebuild_redis call;
	int ticks_left; /* then it is interrupted */
};

static int
tick(void *arg, struct error *err)
{
	struct fixture *f = arg;

	return f->ticks_left-- > 0
		       ? 0
		       : error_set(err, ERROR_CLOSED, "shutting down");
}

static struct rebuild_plan *
new_plan(void)
{
	struct rebuild_plan *plan = rebuild_plan_new(1, INT64_C(2) * USERS);

	assert_non_null(plan);
	for (int i = 1; i <= USERS; i++) {
		struct message row = { .coupon_id = 1,
			.user_id = i,
			.seq = INT64_C(2) * i,
			.accepted_at_ms = 1000 + i };

		(void)snprintf(row.request_id, sizeof(row.request_id), "r");
		assert_true(rebuild_plan_add_row(plan, &row));
	}
	return plan;
}

static void
fixture_start(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	redis_server_start(&f->server);
	redis_server_settings(&f->server, &f->settings);
	f->metrics = metrics_new();
	f->shards = redis_shards_new(
		&f->settings, scripts, SCRIPTS_COUNT, f->metrics);
	f->plan = new_plan();
	f->call = (struct rebuild_redis){
		.shards = f->shards,
		.coupon_id = 1,
		.deadline_ns = clock_now_ns() + 20 * NS_PER_S,
		.tick = tick,
		.arg = f,
	};
	assert_int_equal(redis_server_ask(&f->server,
				 "HSET {c:1}:event epoch 3 fenced 3"),
		2);
}

static void
fixture_fini(struct fixture *f)
{
	rebuild_plan_free(f->plan);
	assert_true(
		redis_shards_drain(f->shards, clock_now_ns() + 5 * NS_PER_S));
	redis_shards_free(f->shards);
	metrics_free(f->metrics);
	redis_server_stop(&f->server);
}

static int
commit(struct fixture *f, int ticks, bool *ret_done, struct error *err)
{
	const struct rebuild_event event = { .coupon_id = 1,
		.epoch = EPOCH,
		.version = 1,
		.total = INT64_C(2) * USERS,
		.opens_at_ms = 1,
		.closes_at_ms = INT64_C(99999999999999) };

	f->ticks_left = ticks;
	return rebuild_redis_commit(&f->call, &event, f->plan, ret_done, err);
}

static void
what_is_committed_stays(void **state)
{
	struct fixture f;
	struct error err;
	bool done = false;

	(void)state;
	fixture_start(&f);
	assert_int_equal(commit(&f, 1000, &done, &err), 0);
	assert_true(done);
	assert_int_equal(
		redis_server_ask(&f.server, "HLEN {c:1}:users"), USERS);
	assert_int_equal(
		redis_server_ask(&f.server, "ZCARD {c:1}:free"), USERS);
	assert_int_equal(redis_server_ask(&f.server, "TTL {c:1}:users"), -1);
	assert_int_equal(redis_server_ask(&f.server, "TTL {c:1}:free"), -1);
	assert_int_equal(redis_server_ask(&f.server,
				 "EXISTS " USERS_ASIDE " " FREE_ASIDE),
		0);
	fixture_fini(&f);
}

static void
what_an_interrupted_one_has_written_goes_by_itself(void **state)
{
	struct fixture f;
	struct error err;
	bool done = false;

	(void)state;
	fixture_start(&f);
	assert_int_equal(commit(&f, 0, &done, &err), -ERROR_CLOSED);
	assert_int_equal(redis_server_ask(&f.server, "HLEN " USERS_ASIDE), 500);
	assert_in_range(
		redis_server_ask(&f.server, "TTL " USERS_ASIDE), 590, 600);

	/* Three batches of users, one of numbers. */
	assert_int_equal(commit(&f, 3, &done, &err), -ERROR_CLOSED);
	assert_int_equal(redis_server_ask(&f.server, "ZCARD " FREE_ASIDE), 500);
	assert_in_range(
		redis_server_ask(&f.server, "TTL " FREE_ASIDE), 590, 600);
	assert_false(done);
	fixture_fini(&f);
}

/* Of the two replies of a batch both are read: the only connection is good. */
static void
a_refused_batch_leaves_the_connection_clean(void **state)
{
	struct fixture f;
	struct error err;
	bool done = false;

	(void)state;
	fixture_start(&f);
	assert_int_equal(
		redis_server_ask(&f.server, "SADD " USERS_ASIDE " no-hash"), 1);
	assert_int_equal(commit(&f, 1000, &done, &err), -ERROR_REDIS_ERROR);
	assert_string_equal(err.code, "WRONGTYPE");
	assert_int_equal(redis_server_ask(&f.server, "DEL " USERS_ASIDE), 1);
	assert_int_equal(commit(&f, 1000, &done, &err), 0);
	assert_true(done);
	fixture_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_committed_stays),
		cmocka_unit_test(
			what_an_interrupted_one_has_written_goes_by_itself),
		cmocka_unit_test(a_refused_batch_leaves_the_connection_clean),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("rebuild_redis", tests, NULL, NULL);
}
