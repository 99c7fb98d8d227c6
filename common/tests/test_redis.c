/* SPDX-License-Identifier: MIT */
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pool_admin.h"
#include "common/redis.h"
#include "common/redis_conn.h"
#include "common/tests/fake_redis.h"
#include "common/tests/redis_server.h"
#include "common/tests/unit.h"

#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

static struct redis_server server;
static struct redis_script script = { .name = "one", .text = "return 1" };

static int64_t
in_ms(int ms)
{
	return clock_now_ns() + ms * NS_PER_MS;
}

static struct redis_conn *
connect_to(int port)
{
	const struct redis_target target = { .host = "127.0.0.1",
		.port = port };
	struct redis_conn *conn;
	struct error err;

	if (redis_conn_open(&target, in_ms(1000), &conn, &err) != 0)
		fail_msg("%s", err.msg);
	return conn;
}

static void
what_is_wrong_with_a_key_is_told_from_what_is_wrong_with_redis(void **state)
{
	static const struct {
		const char *code;
		bool refuses_all;
	} cases[] = { { "OOM", true }, { "LOADING", true }, { "NOAUTH", true },
		{ "WRONGTYPE", false }, { "ERR", false }, { "", false } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err;

		(void)error_set_code(
			&err, ERROR_REDIS_ERROR, cases[i].code, "as it is");
		assert_int_equal(redis_refuses_all(&err), cases[i].refuses_all);
	}
}

static void
an_error_reply_leaves_the_connection_good(void **state)
{
	struct redis_conn *conn = connect_to(server.port);
	struct redisReply *reply;
	struct error err;
	int rc;

	(void)state;
	rc = redis_callf(conn, in_ms(1000), &reply, &err, "NONSENSE");
	assert_int_equal(rc, -ERROR_REDIS_ERROR);
	assert_string_equal(err.code, "ERR");
	assert_int_equal(redis_verdict(rc), POOL_REUSE);
	rc = redis_callf(conn, in_ms(1000), &reply, &err, "ECHO %s", "hello");
	assert_int_equal(rc, 0);
	assert_string_equal(reply->str, "hello");
	freeReplyObject(reply);
	redis_conn_close(conn);
}

static struct fake_answer
late(void *ctx, size_t n, size_t conn, const char *last)
{
	(void)ctx;
	(void)conn;
	(void)last;
	return (struct fake_answer){ FAKE_ECHO, n == 0 ? 60 : 0 };
}

/* The rule that keeps one user's data from the next. */
static void
a_timed_out_connection_is_never_used_again(void **state)
{
	int port;
	struct fake_redis *fake = fake_redis_start(late, NULL, &port);
	struct redis_conn *conn = connect_to(port);
	struct redisReply *reply = NULL;
	struct error err;
	const int64_t start_ns = clock_now_ns();
	int rc;

	(void)state;
	rc = redis_callf(conn, in_ms(20), &reply, &err, "EVAL x 0 mine");
	assert_int_equal(rc, -ERROR_TIMEOUT);
	assert_true(clock_now_ns() - start_ns < 55 * NS_PER_MS);
	assert_int_equal(redis_verdict(rc), POOL_DESTROY);

	(void)poll(NULL, 0, 80); /* the reply to `mine` has come by now */
	rc = redis_callf(conn, in_ms(500), &reply, &err, "EVAL x 0 yours");
	assert_int_equal(rc, -ERROR_CONNECTION_LOST);
	assert_null(reply);
	redis_conn_close(conn);
	fake_redis_stop(fake);
}

static struct fake_answer
closing(void *ctx, size_t n, size_t conn, const char *last)
{
	(void)ctx;
	(void)n;
	(void)conn;
	(void)last;
	return (struct fake_answer){ FAKE_HALF_CLOSE, 0 };
}

static void
a_close_in_mid_reply_is_a_lost_connection(void **state)
{
	int port;
	struct fake_redis *fake = fake_redis_start(closing, NULL, &port);
	struct redis_conn *conn = connect_to(port);
	struct redisReply *reply = NULL;
	struct error err;
	int rc = redis_callf(conn, in_ms(500), &reply, &err, "EVAL x 0 id");

	(void)state;
	assert_int_equal(rc, -ERROR_CONNECTION_LOST);
	assert_int_equal(redis_verdict(rc), POOL_DESTROY);
	redis_conn_close(conn);
	fake_redis_stop(fake);
}

/* ---- the pool ---- */

struct fixture {
	struct settings settings;
	struct metrics *metrics;
	struct redis_shards *shards;
};

static void
fixture_start(struct fixture *f, int port, const char *password)
{
	*f = (struct fixture){
		.settings = {
			.redis_host = "127.0.0.1",
			.redis_port = port,
			.redis_password = password,
			.redis_timeout_ns = 300 * NS_PER_MS,
			.redis_pool_max_active = 2,
			.redis_pool_max_idle = 2,
			.redis_pool_max_wait_ns = 5 * NS_PER_S,
			.redis_pool_max_waiters = 10,
		},
		.metrics = metrics_new(),
	};
	f->shards = redis_shards_new(&f->settings, &script, 1, f->metrics);
}

static void
fixture_fini(struct fixture *f)
{
	assert_true(redis_shards_drain(f->shards, in_ms(5000)));
	redis_shards_free(f->shards);
	metrics_free(f->metrics);
}

/* One command over the pool; its result. */
static int
call(struct fixture *f, int timeout_ms, struct error *err, const char *command)
{
	struct pool *pool = redis_shard_pool(f->shards, 1);
	const int64_t deadline_ns = in_ms(timeout_ms);
	struct pool_entry *entry;
	struct redisReply *reply;
	int rc = pool_acquire(pool, "test", deadline_ns, &entry, err);

	if (rc != 0)
		return rc;
	rc = redis_callf(entry->resource, deadline_ns, &reply, err, command);
	if (rc == 0)
		freeReplyObject(reply);
	pool_release(pool, &entry, redis_verdict(rc));
	return rc;
}

static void
must_call(struct fixture *f, const char *command)
{
	struct error err;

	if (call(f, 5000, &err, command) != 0)
		fail_msg("%s: %s", command, err.msg);
}

static struct redis_server_info
info_of(struct fixture *f)
{
	struct redis_server_info info;

	redis_server_info(f->shards, 0, &info);
	return info;
}

static void
a_connection_knows_its_server_and_its_scripts(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f, server.port, NULL);
	assert_false(info_of(&f).connected_once && script.sha1[0] == '\0');
	must_call(&f, "PING");

	struct redis_server_info info = info_of(&f);

	assert_true(info.connected_once);
	assert_int_equal(strlen(info.run_id), 40);
	assert_true(info.version[0] >= '7' && info.version[0] <= '9');
	assert_false(info.could_forget);
	assert_false(info.could_evict);
	/* SHA-1 of "return 1" */
	assert_string_equal(
		script.sha1, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
	fixture_fini(&f);
}

static void
a_server_that_could_forget_or_evict_is_noticed(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f, server.port, NULL);
	must_call(&f, "CONFIG SET appendfsync everysec");
	must_call(&f, "CONFIG SET maxmemory-policy allkeys-lru");
	pool_evict_all(redis_shard_pool(f.shards, 1), "test");
	must_call(&f, "PING");
	assert_true(info_of(&f).could_forget);
	assert_true(info_of(&f).could_evict);

	size_t len;
	char *text = metrics_prometheus(f.metrics, false, NULL, &len);

	assert_non_null(
		strstr(text, "redis_server_unsafe{reason=\"could-forget\"} 1"));
	free(text);
	must_call(&f, "CONFIG SET appendfsync always");
	must_call(&f, "CONFIG SET maxmemory-policy noeviction");
	pool_evict_all(redis_shard_pool(f.shards, 1), "test");
	must_call(&f, "PING");
	assert_false(info_of(&f).could_forget);
	assert_false(info_of(&f).could_evict);
	fixture_fini(&f);
}

static void
a_restart_of_the_server_is_a_new_generation(void **state)
{
	struct fixture f;
	struct error err;

	(void)state;
	fixture_start(&f, server.port, NULL);
	must_call(&f, "PING");
	assert_int_equal(info_of(&f).generation, 0);
	redis_server_crash_and_restart(&server);
	(void)call(&f, 1000, &err, "PING"); /* meets the dead connection */
	must_call(&f, "PING");
	assert_int_equal(info_of(&f).generation, 1);
	assert_true(redis_shard_is_in_doubt(f.shards, 0, clock_now_ns()));
	redis_shard_trust(f.shards, 0, 0); /* of the server before */
	assert_true(redis_shard_is_in_doubt(f.shards, 0, clock_now_ns()));
	redis_shard_trust(f.shards, 0, 1);
	assert_false(redis_shard_is_in_doubt(f.shards, 0, clock_now_ns()));
	fixture_fini(&f);
}

/* An older Redis may have been started together with this process. */
static void
the_first_server_is_in_doubt_for_who_wants_it(void **state)
{
	struct fixture f;

	(void)state;
	fixture_start(&f, server.port, NULL);
	must_call(&f, "PING");
	assert_false(redis_shard_is_in_doubt(f.shards, 0, clock_now_ns()));
	redis_shards_doubt(f.shards); /* after it was met */
	assert_true(redis_shard_is_in_doubt(f.shards, 0, clock_now_ns()));
	fixture_fini(&f);

	fixture_start(&f, server.port, NULL);
	redis_shards_doubt(f.shards);
	must_call(&f, "PING");
	assert_true(redis_shard_is_in_doubt(f.shards, 0, clock_now_ns()));
	redis_shard_trust(f.shards, 0, 0);
	assert_false(redis_shard_is_in_doubt(f.shards, 0, clock_now_ns()));
	fixture_fini(&f);
}

static void
the_password_is_sent_and_a_wrong_one_is_said_so(void **state)
{
	struct fixture setter, allowed, locked_out;
	struct error err;

	(void)state;
	fixture_start(&setter, server.port, NULL);
	must_call(&setter, "CONFIG SET requirepass secret");
	fixture_start(&allowed, server.port, "secret");
	must_call(&allowed, "PING");
	fixture_start(&locked_out, server.port, "wrong");
	assert_int_equal(
		call(&locked_out, 300, &err, "PING"), -ERROR_CONNECT_FAILING);
	assert_non_null(strstr(err.msg, "WRONGPASS"));
	assert_null(strstr(err.msg, "wrong"));
	fixture_fini(&locked_out);
	fixture_fini(&allowed);
	must_call(&setter, "CONFIG SET requirepass ''");
	fixture_fini(&setter);
}

/* It accepts (the backlog does) and never says a word. */
static void
a_mute_server_costs_no_more_than_the_deadline(void **state)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	const int fd = socket(AF_INET, SOCK_STREAM, 0);
	const int64_t start_ns = clock_now_ns();
	struct fixture f;
	struct error err;

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	fixture_start(&f, ntohs(addr.sin_port), NULL);
	assert_true(call(&f, 200, &err, "PING") != 0);
	assert_true(clock_now_ns() - start_ns < 290 * NS_PER_MS);
	fixture_fini(&f);
	assert_true(clock_now_ns() - start_ns < NS_PER_S);
	close(fd);
}

static int
start(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_OFF);
	redis_server_start(&server);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	redis_server_stop(&server);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			what_is_wrong_with_a_key_is_told_from_what_is_wrong_with_redis),
		cmocka_unit_test(an_error_reply_leaves_the_connection_good),
		cmocka_unit_test(a_timed_out_connection_is_never_used_again),
		cmocka_unit_test(a_close_in_mid_reply_is_a_lost_connection),
		cmocka_unit_test(a_connection_knows_its_server_and_its_scripts),
		cmocka_unit_test(
			a_server_that_could_forget_or_evict_is_noticed),
		cmocka_unit_test(a_restart_of_the_server_is_a_new_generation),
		cmocka_unit_test(the_first_server_is_in_doubt_for_who_wants_it),
		cmocka_unit_test(
			the_password_is_sent_and_a_wrong_one_is_said_so),
		cmocka_unit_test(a_mute_server_costs_no_more_than_the_deadline),
	};

	return cmocka_run_group_tests_name("redis", tests, start, stop);
}
