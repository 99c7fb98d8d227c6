/* SPDX-License-Identifier: MIT */
#include "api/tests/pipeline_fixture.h"

/* What the n-th command meets: script[n], the rest is echoed. */
static struct fake_answer
as_listed(void *ctx, size_t n, size_t conn UNUSED, const char *last UNUSED)
{
	const struct fake_answer *list = ctx;

	for (size_t i = 0; i < n; i++) {
		if (list[i].act == FAKE_ECHO && list[i].delay_ms == 0)
			return (struct fake_answer){ FAKE_ECHO, 0 };
	}
	return list[n];
}

/* Everything is answered after ctx milliseconds. */
static struct fake_answer
all_late(
	void *ctx, size_t n UNUSED, size_t conn UNUSED, const char *last UNUSED)
{
	return (struct fake_answer){ FAKE_ECHO, *(int *)ctx };
}

/* Everything is answered once fake_redis_release() was called. */
static struct fake_answer
all_held(void *ctx UNUSED, size_t n UNUSED, size_t conn UNUSED,
	const char *last UNUSED)
{
	return (struct fake_answer){ FAKE_HELD, 0 };
}

/* The first connection never answers. */
static struct fake_answer
first_is_mute(
	void *ctx UNUSED, size_t n UNUSED, size_t conn, const char *last UNUSED)
{
	return (struct fake_answer){ conn == 0 ? FAKE_SILENCE : FAKE_ECHO, 0 };
}

static struct fake_answer
all_mute(void *ctx UNUSED, size_t n UNUSED, size_t conn UNUSED,
	const char *last UNUSED)
{
	return (struct fake_answer){ FAKE_SILENCE, 0 };
}

static struct fake_answer
no_scripts(void *ctx UNUSED, size_t n UNUSED, size_t conn UNUSED,
	const char *last UNUSED)
{
	return (struct fake_answer){ FAKE_NOSCRIPT, 0 };
}

static void
each_command_gets_its_own_reply(void **state UNUSED)
{
	struct fixture f;
	struct call calls[200];

	fixture_init(&f);
	fixture_start(&f, NULL, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		call_start(&f, &calls[i], 20000);
	run(&f);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		assert_answered(&calls[i]);
		assert_false(calls[i].command.sent_twice);
	}
	assert_int_equal(pipeline_in_flight(f.pipeline), 0);
	assert_true(counted(&f, "redis_command_seconds_count") == 200);
	fixture_fini(&f);
}

static void
a_lease_goes_back_when_nothing_is_in_flight(void **state UNUSED)
{
	struct fixture f;
	struct call call;

	fixture_init(&f);
	f.settings.redis_pool_max_active = 1;
	fixture_start(&f, NULL, NULL);
	call_start(&f, &call, 20000);
	run(&f);
	assert_answered(&call);
	assert_int_equal(snapshot(&f).active, 0);
	assert_int_equal(snapshot(&f).idle, 1);
	fixture_fini(&f);
}

/* Until the server has this many commands. */
static void
run_until_evals(struct fixture *f, size_t n)
{
	const int64_t until_ns = clock_now_ns() + LIMIT_NS;

	while (fake_redis_evals(f->fake) < n) {
		assert_true(clock_now_ns() < until_ns);
		fake_loop_turn(
			&f->loop, f->pipeline, clock_now_ns() + 5 * NS_PER_MS);
	}
}

/* Until no more than this many calls have not ended. */
static void
run_until_left(struct fixture *f, size_t n)
{
	const int64_t until_ns = clock_now_ns() + LIMIT_NS;

	while (f->waiting_for > n) {
		assert_true(clock_now_ns() < until_ns);
		fake_loop_turn(
			&f->loop, f->pipeline, clock_now_ns() + 5 * NS_PER_MS);
	}
}

/* Until no connection is lent. */
static void
run_until_idle(struct fixture *f)
{
	const int64_t until_ns = clock_now_ns() + LIMIT_NS;

	while (snapshot(f).active > 0) {
		assert_true(clock_now_ns() < until_ns);
		run_for(f, 5);
	}
}

/* One connection, open already, that answers when it is told to. */
static void
start_held(struct fixture *f, int max_pipeline, int64_t max_wait_ns)
{
	struct pool_entry *entry;
	struct error err;

	fixture_init(f);
	f->settings.redis_timeout_ns = LIMIT_NS;
	f->settings.redis_pool_max_active = 1;
	f->settings.redis_pool_max_pipeline = max_pipeline;
	f->settings.redis_pool_max_wait_ns = max_wait_ns;
	fixture_start(f, all_held, NULL);
	struct pool *pool = redis_shards_pool_at(f->shards, 0);
	const int64_t until_ns = clock_now_ns() + LIMIT_NS;
	while (pool_acquire(pool, "test", until_ns, &entry, &err) != 0)
		assert_true(clock_now_ns() < until_ns);
	pool_release(pool, &entry, POOL_REUSE);
}

/* One connection carries 64 commands, or 1 and the others queue. */
static void
max_pipeline_bounds_what_is_in_flight(void **state UNUSED)
{
	for (int limit = 1; limit <= 64; limit *= 64) {
		const size_t n = (size_t)limit;
		struct fixture f;
		struct call calls[64];

		start_held(&f, limit, 100 * NS_PER_MS);
		for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
			call_start(&f, &calls[i], 20000);
		run_until_evals(&f, n);
		assert_int_equal(snapshot(&f).active, 1);
		run_until_left(&f, n); /* the others by max-wait */
		assert_int_equal(fake_redis_evals(f.fake), n);
		fake_redis_release(f.fake);
		run(&f);
		for (size_t i = 0; i < n; i++)
			assert_answered(&calls[i]);
		for (size_t i = n; i < ARRAY_SIZE(calls); i++)
			assert_failed(&calls[i], ERROR_EXHAUSTED);
		fixture_fini(&f);
	}
}

static void
exhaustion_says_who_has_what(void **state UNUSED)
{
	static const char begin[] =
		"Unable to acquire connection from pool: redis, timed out "
		"after ";
	struct fixture f;
	struct call first, second;

	start_held(&f, 1, 100 * NS_PER_MS);
	call_start(&f, &first, 20000);
	run_until_evals(&f, 1);
	call_start(&f, &second, 20000);
	run_until_left(&f, 1);
	fake_redis_release(f.fake);
	run(&f);
	assert_answered(&first);
	assert_failed(&second, ERROR_EXHAUSTED);
	assert_false(second.command.sent);
	assert_memory_equal(second.err.msg, begin, strlen(begin));
	assert_true(strtol(second.err.msg + strlen(begin), NULL, 10) >= 100);
	assert_non_null(strstr(second.err.msg,
		"ms (total=1, active=1, idle=0, waiting=0, oldestWait=0ms"));
	assert_non_null(strstr(second.err.msg, "reason=EXHAUSTED)"));
	fixture_fini(&f);
}

static void
a_late_reply_is_dropped_and_its_neighbours_are_served(void **state UNUSED)
{
	struct fixture f;
	struct call hasty, patient, after;

	start_held(&f, 64, LIMIT_NS);
	call_start(&f, &hasty, 300);
	call_start(&f, &patient, 20000);
	run_until_evals(&f, 2);
	run_until_left(&f, 1);
	assert_failed(&hasty, ERROR_TIMEOUT);
	assert_true(hasty.command.sent);
	assert_int_equal(patient.ended, 0);
	fake_redis_release(f.fake);
	run(&f);
	assert_answered(&patient);
	call_start(&f, &after, 20000);
	run(&f);
	assert_answered(&after);
	assert_int_equal(fake_redis_connections(f.fake), 1);
	assert_true(counted(&f, "redis_pipeline_abandoned_total") == 1);
	assert_true(counted(&f, "redis_pipeline_late_total") == 1);
	assert_true(counted(&f, "redis_pipeline_lost_total") == 0);
	fixture_fini(&f);
}

/* A place that nobody waits for any more still keeps the connection ours. */
static void
a_connection_with_an_unread_reply_is_not_returned(void **state UNUSED)
{
	struct fixture f;
	struct call call;

	start_held(&f, 64, LIMIT_NS);
	call_start(&f, &call, 300);
	run_until_evals(&f, 1);
	run_until_left(&f, 0);
	assert_failed(&call, ERROR_TIMEOUT);
	assert_int_equal(snapshot(&f).active, 1);
	fake_redis_release(f.fake);
	run_until_idle(&f);
	fixture_fini(&f);
}

static void
silence_ends_a_connection_and_its_commands_go_to_another(void **state UNUSED)
{
	struct fixture f;
	struct call calls[10];

	fixture_init(&f);
	f.settings.redis_timeout_ns = 300 * NS_PER_MS;
	f.settings.redis_pool_max_active = 1;
	fixture_start(&f, first_is_mute, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		call_start(&f, &calls[i], 20000);
	run(&f);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		assert_answered(&calls[i]);
		assert_true(calls[i].command.sent_twice);
	}
	assert_true(counted(&f, "redis_pipeline_retries_total") == 10);
	assert_true(
		counted(&f, "redis_pipeline_lost_total{reason=\"silent\"}") ==
		1);
	fixture_fini(&f);
}

static void
a_command_is_sent_at_most_twice(void **state UNUSED)
{
	struct fixture f;
	struct call call;

	fixture_init(&f);
	f.settings.redis_timeout_ns = 300 * NS_PER_MS;
	fixture_start(&f, all_mute, NULL);
	call_start(&f, &call, 20000);
	run(&f);
	assert_failed(&call, ERROR_TIMEOUT);
	assert_true(call.command.sent_twice);
	assert_int_equal(fake_redis_evals(f.fake), 2);
	fixture_fini(&f);
}

static void
no_retry_after_the_deadline(void **state UNUSED)
{
	struct fixture f;
	struct call call;

	fixture_init(&f);
	f.settings.redis_timeout_ns = 600 * NS_PER_MS;
	fixture_start(&f, all_mute, NULL);
	call_start(&f, &call, 500);
	run(&f);
	const int64_t until_ns = clock_now_ns() + LIMIT_NS;
	while (snapshot(&f).closed == 0 && clock_now_ns() < until_ns)
		run_for(&f, 5);
	assert_failed(&call, ERROR_TIMEOUT);
	assert_false(call.command.sent_twice);
	assert_int_equal(fake_redis_evals(f.fake), 1);
	/* Nobody waits, the reply is overdue: the connection is given up. */
	assert_int_equal(snapshot(&f).active, 0);
	assert_int_equal(snapshot(&f).closed, 1);
	fixture_fini(&f);
}

static void
a_reply_in_pieces_is_one_reply(void **state UNUSED)
{
	static const struct fake_answer list[] = { { FAKE_HALF, 30 },
		{ FAKE_ECHO, 0 } };
	struct fixture f;
	struct call first, second;

	fixture_init(&f);
	fixture_start(&f, as_listed, (void *)(uintptr_t)list);
	call_start(&f, &first, 20000);
	call_start(&f, &second, 20000);
	run(&f);
	assert_answered(&first);
	assert_answered(&second);
	fixture_fini(&f);
}

static void
a_close_in_mid_reply_is_retried_whole(void **state UNUSED)
{
	static const struct fake_answer list[] = { { FAKE_ECHO, 5 },
		{ FAKE_HALF_CLOSE, 0 }, { FAKE_ECHO, 0 } };
	struct fixture f;
	struct call calls[3];

	fixture_init(&f);
	f.settings.redis_pool_max_active = 1;
	fixture_start(&f, as_listed, (void *)(uintptr_t)list);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		call_start(&f, &calls[i], 20000);
	run(&f);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		assert_answered(&calls[i]);
	assert_false(calls[0].command.sent_twice);
	assert_true(calls[1].command.sent_twice);
	assert_true(counted(&f, "redis_pipeline_retries_total") == 2);
	fixture_fini(&f);
}

static void
garbage_and_unasked_replies_end_the_connection(void **state UNUSED)
{
	static const enum fake_act acts[] = { FAKE_GARBAGE, FAKE_TWICE };

	for (size_t i = 0; i < ARRAY_SIZE(acts); i++) {
		const struct fake_answer list[] = { { acts[i], 5 },
			{ FAKE_ECHO, 0 } };
		struct fixture f;
		struct call first, second;

		fixture_init(&f);
		f.settings.redis_pool_max_active = 1;
		fixture_start(&f, as_listed, (void *)(uintptr_t)list);
		call_start(&f, &first, 20000);
		run(&f);
		assert_answered(&first);
		run_for(&f, 50); /* what nobody asked for comes */
		call_start(&f, &second, 20000);
		run(&f);
		assert_answered(&second);
		assert_int_equal(fake_redis_connections(f.fake), 2);
		assert_true(counted(&f, "redis_pipeline_lost_total") == 1);
		fixture_fini(&f);
	}
}

static void
an_error_reply_is_an_answer(void **state UNUSED)
{
	static const struct fake_answer list[] = { { FAKE_ERROR, 5 },
		{ FAKE_ECHO, 0 } };
	struct fixture f;
	struct call first, second;

	fixture_init(&f);
	f.settings.redis_pool_max_active = 1;
	fixture_start(&f, as_listed, (void *)(uintptr_t)list);
	call_start(&f, &first, 20000);
	call_start(&f, &second, 20000);
	run(&f);
	assert_failed(&first, ERROR_REDIS_ERROR);
	assert_string_equal(first.err.code, "ERR");
	assert_string_equal(first.reply, "ERR as told");
	assert_answered(&second);
	assert_int_equal(fake_redis_connections(f.fake), 1);
	fixture_fini(&f);
}

static void
a_forgotten_script_is_sent_as_text(void **state UNUSED)
{
	struct fixture f;
	struct call calls[5];

	fixture_init(&f);
	fixture_start(&f, no_scripts, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		call_start(&f, &calls[i], 20000);
	run(&f);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		assert_answered(&calls[i]);
		assert_false(calls[i].command.sent_twice);
	}
	assert_true(counted(&f, "redis_pipeline_noscript_total") == 5);
	fixture_fini(&f);
}

/* Redis was restarted while nobody used it: nothing is left in doubt. */
static void
a_dead_idle_connection_costs_nothing(void **state UNUSED)
{
	struct fixture f;
	struct call call;

	fixture_init(&f);
	f.settings.redis_pool_max_active = 1;
	fixture_start(&f, NULL, NULL);
	call_start(&f, &call, 20000);
	run(&f);
	fake_redis_cut(f.fake);
	call_start(&f, &call, 20000);
	run(&f);
	assert_answered(&call);
	assert_false(call.command.sent_twice);
	assert_true(
		counted(&f, "redis_pipeline_lost_total{reason=\"stale\"}") ==
		1);
	fixture_fini(&f);
}

static void
a_restarted_server_gets_nothing_until_it_is_trusted(void **state UNUSED)
{
	struct fixture f;
	struct call call;

	fixture_init(&f);
	fixture_start(&f, NULL, NULL);
	call_start(&f, &call, 20000);
	run(&f);
	fake_redis_restart(f.fake);
	call_start(&f, &call, 20000);
	run(&f);
	assert_failed(&call, ERROR_FENCED);
	assert_false(call.command.sent);
	redis_shard_trust(f.shards, 0, 1);
	call_start(&f, &call, 20000);
	run(&f);
	assert_answered(&call);
	fixture_fini(&f);
}

static void
a_server_that_is_not_there_is_said_so(void **state UNUSED)
{
	struct fixture f;
	struct call call;
	int port;

	fixture_init(&f);
	f.settings.redis_pool_max_wait_ns = 200 * NS_PER_MS;
	fake_redis_stop(fake_redis_start(NULL, NULL, &port));
	fixture_connect(&f, port);
	call_start(&f, &call, 20000);
	run(&f);
	assert_failed(&call, ERROR_CONNECT_FAILING);
	assert_false(call.command.sent);
	fixture_fini(&f);
}

static void
the_limit_changes_live(void **state UNUSED)
{
	static struct call calls[5][200];
	static const int limits[] = { 1, 64, 4, 256, 2 };
	struct fixture f;
	int delay_ms = 1;

	fixture_init(&f);
	f.settings.redis_pool_max_wait_ns = LIMIT_NS;
	fixture_start(&f, all_late, &delay_ms);
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		for (size_t j = 0; j < 200; j++) {
			call_start(&f, &calls[i][j], 30000);
			if (j == 100) {
				f.settings.redis_pool_max_pipeline = limits[i];
				pipelines_configure(&f.settings);
			}
		}
		run_for(&f, 5);
	}
	run(&f);
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		for (size_t j = 0; j < 200; j++)
			assert_answered(&calls[i][j]);
	}
	fixture_fini(&f);
}

static struct fake_answer
always_closing(void *ctx UNUSED, size_t n UNUSED, size_t conn UNUSED,
	const char *last UNUSED)
{
	return (struct fake_answer){ FAKE_CLOSE, 0 };
}

static void
retries_are_a_tenth_once_the_reserve_is_gone(void **state UNUSED)
{
	static struct call calls[64];
	enum { WAVES = 50, RESERVE = 1024, COMMANDS = WAVES * 64 };
	struct fixture f;

	fixture_init(&f);
	fixture_start(&f, always_closing, NULL);
	for (int wave = 0; wave < WAVES; wave++) {
		for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
			call_start(&f, &calls[i], 20000);
		run(&f);
		for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
			assert_int_not_equal(calls[i].err.kind, ERROR_NONE);
	}
	assert_in_range((int)counted(&f, "redis_pipeline_retries_total"),
		RESERVE, RESERVE + COMMANDS / 10 + 1);
	assert_true(counted(&f, "redis_pipeline_retries_refused_total") > 0);
	fixture_fini(&f);
}

static struct pool_entry *held;

static void
release_held(struct redis_command *command, const struct redisReply *reply,
	const struct error *err)
{
	struct call *call = container_of(command, struct call, command);

	call_done(command, reply, err);
	pool_release(
		redis_shards_pool_at(call->f->shards, 0), &held, POOL_REUSE);
}

/* Between our looking for answers and our giving up, one is given. */
static void
a_grant_that_crosses_a_deadline_is_not_lost(void **state UNUSED)
{
	struct fixture f;
	struct call first, second, after;
	struct error err;

	fixture_init(&f);
	f.settings.redis_pool_max_active = 1;
	fixture_start(&f, NULL, NULL);
	assert_int_equal(pool_acquire(redis_shards_pool_at(f.shards, 0), "test",
				 clock_now_ns() + LIMIT_NS, &held, &err),
		0);
	call_start(&f, &first, 10);
	first.command.done = release_held;
	call_start(&f, &second, 10);
	(void)poll(NULL, 0, 15);
	run(&f);
	assert_failed(&first, ERROR_EXHAUSTED);
	assert_failed(&second, ERROR_TIMEOUT);
	assert_false(second.command.sent);
	call_start(&f, &after, 20000);
	run(&f);
	assert_answered(&after);
	assert_int_equal(snapshot(&f).active, 0);
	fixture_fini(&f);
}

/* One connection, and a loop that never lets it fall idle. */
static void
a_busy_loop_lets_another_have_the_last_connection(void **state UNUSED)
{
	static struct call busy[8];
	static struct http_loop other_loop;
	struct fixture f;
	struct call call;
	int delay_ms = 5;

	fixture_init(&f);
	f.settings.redis_pool_max_active = 1;
	fixture_start(&f, all_late, &delay_ms);
	fake_loop_init(&other_loop);

	struct pipeline *mine = f.pipeline;
	struct pipeline *other = pipeline_new(&other_loop, f.shards, f.metrics);
	const int64_t until_ns = clock_now_ns() + LIMIT_NS;

	for (size_t i = 0; i < ARRAY_SIZE(busy); i++) {
		call_start(&f, &busy[i], 20000);
		run_for(&f, 2); /* so that they do not end together */
	}
	f.pipeline = other;
	call_start(&f, &call, 20000);
	f.pipeline = mine;
	while (call.ended == 0 && clock_now_ns() < until_ns) {
		for (size_t i = 0; i < ARRAY_SIZE(busy); i++) {
			if (busy[i].ended > 0)
				call_start(&f, &busy[i], 20000);
		}
		fake_loop_turn(&f.loop, mine, clock_now_ns() + NS_PER_MS);
		fake_loop_turn(&other_loop, other, 0);
	}
	assert_answered(&call);
	run(&f);
	fake_loop_turn(&other_loop, other, 0);
	pipeline_free(other);
	fake_loop_fini(&other_loop);
	fixture_fini(&f);
}

static void
stopping_ends_what_is_left(void **state UNUSED)
{
	struct fixture f;
	struct call calls[6];

	start_held(&f, 3, LIMIT_NS);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		call_start(&f, &calls[i], 20000);
	run_until_evals(&f, 3);
	fixture_fini(&f);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		assert_failed(&calls[i], ERROR_CLOSED);
		assert_int_equal(calls[i].command.sent, i < 3);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_command_gets_its_own_reply),
		cmocka_unit_test(a_lease_goes_back_when_nothing_is_in_flight),
		cmocka_unit_test(max_pipeline_bounds_what_is_in_flight),
		cmocka_unit_test(exhaustion_says_who_has_what),
		cmocka_unit_test(
			a_late_reply_is_dropped_and_its_neighbours_are_served),
		cmocka_unit_test(
			a_connection_with_an_unread_reply_is_not_returned),
		cmocka_unit_test(
			silence_ends_a_connection_and_its_commands_go_to_another),
		cmocka_unit_test(a_command_is_sent_at_most_twice),
		cmocka_unit_test(no_retry_after_the_deadline),
		cmocka_unit_test(a_reply_in_pieces_is_one_reply),
		cmocka_unit_test(a_close_in_mid_reply_is_retried_whole),
		cmocka_unit_test(
			garbage_and_unasked_replies_end_the_connection),
		cmocka_unit_test(an_error_reply_is_an_answer),
		cmocka_unit_test(a_forgotten_script_is_sent_as_text),
		cmocka_unit_test(a_dead_idle_connection_costs_nothing),
		cmocka_unit_test(
			a_restarted_server_gets_nothing_until_it_is_trusted),
		cmocka_unit_test(a_server_that_is_not_there_is_said_so),
		cmocka_unit_test(the_limit_changes_live),
		cmocka_unit_test(retries_are_a_tenth_once_the_reserve_is_gone),
		cmocka_unit_test(a_grant_that_crosses_a_deadline_is_not_lost),
		cmocka_unit_test(
			a_busy_loop_lets_another_have_the_last_connection),
		cmocka_unit_test(stopping_ends_what_is_left),
	};

	return cmocka_run_group_tests_name("pipeline", tests, NULL, NULL);
}
