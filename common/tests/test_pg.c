/* SPDX-License-Identifier: MIT */
/* Statements, classification and pools against a real PostgreSQL. */
#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pg.h"
#include "common/pool_admin.h"
#include "common/tests/pg_fixture.h"
#include "common/tests/unit.h"

#include <arpa/inet.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

struct env {
	struct metrics *metrics;
	struct pg_pools *pools;
	struct pool_entry *entry;
	struct pg_conn *conn; /* lent from the write pool */
	struct pg_wait wait;
};

static void
lend(struct env *env)
{
	struct error err = { 0 };

	if (pool_acquire(pg_write_pool(env->pools), "test",
		    env->wait.deadline_ns, &env->entry, &err) != 0)
		fail_msg("%s", err.msg);
	env->conn = env->entry->resource;
}

static void
give_back(struct env *env, int rc)
{
	pool_release(pg_write_pool(env->pools), &env->entry,
		pg_verdict(env->conn, rc));
}

static void
open_pools(struct env *env, const char *uri)
{
	struct settings settings;
	struct error err = { 0 };

	pg_fixture_settings(&settings, uri);
	env->metrics = metrics_new();
	env->wait = (struct pg_wait){ clock_now_ns() + 20 * NS_PER_S, -1 };
	if (pg_pools_new(
		    &settings, "test_pg", env->metrics, &env->pools, &err) != 0)
		fail_msg("%s", err.msg);
}

static int
setup(void **state)
{
	static struct env env;

	*state = NULL;
	if (!pg_fixture_is_there())
		return 0;
	open_pools(&env, pg_fixture_new_database());
	lend(&env);
	*state = &env;
	return 0;
}

static int
teardown(void **state)
{
	struct env *env = *state;

	if (env == NULL)
		return 0;
	if (env->entry != NULL)
		give_back(env, 0);
	assert_true(pg_pools_drain(env->pools, clock_now_ns() + NS_PER_S));
	pg_pools_free(env->pools);
	metrics_free(env->metrics);
	return 0;
}

/* In every test that has one: skips it without a server. */
static struct env *
env_of(void **state)
{
	pg_fixture_need();
	return *state;
}

static int
command(struct env *env, const char *sql, struct error *err)
{
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;

	return pg_command(env->conn, &env->wait, sql, &result, err);
}

static void
must(struct env *env, const char *sql)
{
	struct error err = { 0 };

	if (command(env, sql, &err) != 0)
		fail_msg("%s: %s", sql, err.msg);
}

/* One value as text; the caller gets a static copy. */
static const char *
ask(struct env *env, const char *sql)
{
	static char text[128];
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	struct error err = { 0 };

	if (pg_command(env->conn, &env->wait, sql, &result, &err) != 0)
		fail_msg("%s: %s", sql, err.msg);
	assert_int_equal(PQntuples(result), 1);
	(void)snprintf(text, sizeof(text), "%s", PQgetvalue(result, 0, 0));
	return text;
}

/* ---- sessions ---- */

static void
sessions_limit_what_a_stopped_owner_can_block(void **state)
{
	struct env *env = env_of(state);

	assert_string_equal(ask(env, "SHOW lock_timeout"), "3s");
	assert_string_equal(ask(env, "SHOW statement_timeout"), "10s");
	assert_string_equal(
		ask(env, "SHOW idle_in_transaction_session_timeout"), "5s");
	assert_string_equal(ask(env, "SHOW timezone"), "UTC");
	assert_string_equal(ask(env, "SHOW application_name"), "test_pg");
	assert_string_equal(ask(env, "SHOW client_encoding"), "UTF8");
}

static void
host_that_never_answers_costs_its_share_only(void **state)
{
	struct sockaddr_in mute = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(mute);
	const int fd = socket(AF_INET, SOCK_STREAM, 0);
	char uri[400], host[128];
	struct env env;

	(void)state;
	pg_fixture_need();
	assert_int_equal(bind(fd, (struct sockaddr *)&mute, len), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&mute, &len), 0);

	const char *good = pg_fixture_new_database();
	assert_int_equal(sscanf(good, "host=%127s", host), 1);
	(void)snprintf(uri, sizeof(uri), "host=127.0.0.1,%s port=%d,5432 %s",
		host, ntohs(mute.sin_port),
		good + strlen("host=") + strlen(host));
	open_pools(&env, uri);
	lend(&env);
	assert_string_equal(ask(&env, "SELECT 1"), "1");
	give_back(&env, 0);
	pg_pools_free(env.pools);
	metrics_free(env.metrics);
	(void)close(fd);
}

static void
dead_server_is_named_without_the_password(void **state)
{
	struct env env;
	struct error err;
	struct pool_snapshot cut;

	(void)state;
	open_pools(&env, "postgresql://u:secret@127.0.0.1:1/coupon");
	const int64_t limit = clock_now_ns() + 3 * NS_PER_S;
	assert_int_equal(pool_acquire(pg_write_pool(env.pools), "test", limit,
				 &env.entry, &err),
		-ERROR_CONNECT_FAILING);
	assert_non_null(strstr(err.msg, "pool: postgres, "));
	assert_non_null(strstr(err.msg, "reason=CONNECT_FAILING"));
	assert_null(strstr(err.msg, "secret"));
	pool_snapshot(pg_write_pool(env.pools), &cut);
	assert_int_equal(cut.last_error.kind, ERROR_DATABASE_DOWN);
	assert_null(strchr(cut.last_error.msg, '\n'));
	assert_non_null(strstr(cut.last_error.msg, "Connection refused"));
	assert_null(strstr(cut.last_error.msg, "Is the server running"));
	pg_pools_free(env.pools);
	metrics_free(env.metrics);
}

static void
malformed_uri_is_a_configuration_error(void **state)
{
	struct settings settings;
	struct pg_pools *pools = NULL;
	struct metrics *metrics = metrics_new();
	struct error err;

	(void)state;
	pg_fixture_settings(&settings, "postgresql://u:secret@[::1/coupon");
	assert_int_equal(pg_pools_new(&settings, "x", metrics, &pools, &err),
		-ERROR_CONFIG_INVALID);
	assert_null(pools);
	assert_null(strstr(err.msg, "secret"));
	metrics_free(metrics);
}

static void
start_may_insist_on_a_connection(void **state)
{
	struct settings settings;
	struct pg_pools *pools = NULL;
	struct metrics *metrics = metrics_new();
	struct error err;

	(void)state;
	pg_fixture_settings(&settings, "postgresql://127.0.0.1:1/coupon");
	settings.datasource_initialization_fail_timeout_ns = 50 * NS_PER_MS;
	assert_int_equal(pg_pools_new(&settings, "x", metrics, &pools, &err),
		-ERROR_DATABASE_DOWN);
	assert_null(pools);
	metrics_free(metrics);
}

/* ---- statements ---- */

static const struct pg_statement add = {
	.name = "add",
	.sql = "SELECT $1::bigint + $2::bigint, $1::integer,"
	       " timestamptz '1999-12-31T23:59:59.9995Z'",
	.n_params = 2,
};

static void
statement_is_prepared_once_and_answers_in_binary(void **state)
{
	struct env *env = env_of(state);
	const char *const values[] = { "40", "2" };
	const struct pg_params params = { .values = values,
		.binary_result = true };

	for (int i = 0; i < 3; i++) {
		CLEANUP(pg_result_cleanup) PGresult *result = NULL;
		struct error err = { 0 };

		assert_int_equal(pg_execute(env->conn, &env->wait, &add,
					 &params, &result, &err),
			0);
		assert_int_equal(pg_int8(result, 0, 0), 42);
		assert_int_equal(pg_int4(result, 0, 1), 40);
		assert_int_equal(
			pg_timestamp_ms(result, 0, 2), INT64_C(946684799999));
	}
	assert_string_equal(
		ask(env, "SELECT count(*) FROM pg_prepared_statements"), "1");
}

static const struct pg_statement unnest_all = {
	.name = "unnest_all",
	.sql = "SELECT i8, i4, t, ts FROM unnest($1::bigint[], $2::integer[],"
	       " $3::text[], $4::timestamptz[]) AS u (i8, i4, t, ts)",
	.n_params = 4,
};

static void
arrays_arrive_as_they_were_put(void **state)
{
	struct env *env = env_of(state);
	struct pg_array a[4] = { 0 };
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	struct error err = { 0 };
	const char *values[4];
	int lengths[4], formats[4];

	for (int round = 0; round < 2; round++) { /* arrays are reused */
		for (int i = 0; i < 4; i++)
			pg_array_start(
				&a[i], (enum pg_array_type[]){ PG_ARRAY_INT8,
					       PG_ARRAY_INT4, PG_ARRAY_TEXT,
					       PG_ARRAY_TIMESTAMPTZ }[i]);
		for (int i = 0; i < 1000; i++) {
			pg_array_int8(&a[0], INT64_MAX - i);
			pg_array_int4(&a[1], -i);
			pg_array_text(&a[2], i == 0 ? "" : "쿠폰 {,\"}");
			if (i == 7)
				pg_array_null(&a[3]);
			else
				pg_array_timestamp_ms(&a[3], 1000 * i - 1);
		}
	}
	for (int i = 0; i < 4; i++) {
		pg_array_finish(&a[i]);
		values[i] = a[i].data;
		lengths[i] = (int)a[i].len;
		formats[i] = 1;
	}
	const struct pg_params params = { values, lengths, formats, true };
	if (pg_execute(env->conn, &env->wait, &unnest_all, &params, &result,
		    &err) != 0)
		fail_msg("%s", err.msg);
	assert_int_equal(PQntuples(result), 1000);
	assert_int_equal(pg_int8(result, 999, 0), INT64_MAX - 999);
	assert_int_equal(pg_int4(result, 999, 1), -999);
	assert_string_equal(PQgetvalue(result, 0, 2), "");
	assert_string_equal(PQgetvalue(result, 1, 2), "쿠폰 {,\"}");
	assert_int_equal(pg_timestamp_ms(result, 0, 3), -1);
	assert_int_equal(pg_timestamp_ms(result, 999, 3), 998999);
	assert_true(PQgetisnull(result, 7, 3));
	for (int i = 0; i < 4; i++)
		pg_array_free(&a[i]);
}

static void
empty_array_is_an_array(void **state)
{
	struct env *env = env_of(state);
	struct pg_array array = { 0 };
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	struct error err = { 0 };
	static const struct pg_statement count = {
		.name = "count",
		.sql = "SELECT coalesce(array_length($1::bigint[], 1), 0)",
		.n_params = 1,
	};

	pg_array_start(&array, PG_ARRAY_INT8);
	pg_array_finish(&array);
	const struct pg_params params = {
		(const char *[]){ array.data },
		(int[]){ (int)array.len },
		(int[]){ 1 },
		true,
	};
	assert_int_equal(pg_execute(env->conn, &env->wait, &count, &params,
				 &result, &err),
		0);
	assert_int_equal(pg_int4(result, 0, 0), 0);
	pg_array_free(&array);
}

static void
refused_statement_leaves_the_connection_usable(void **state)
{
	struct env *env = env_of(state);
	struct error err = { 0 };

	const int rc = command(env, "SELECT 1/0", &err);
	assert_int_equal(rc, -ERROR_DATABASE_ERROR);
	assert_string_equal(err.code, "22012");
	assert_string_equal(err.msg, "command: division by zero");
	assert_int_equal(pg_verdict(env->conn, rc), POOL_REUSE);
	must(env, "SELECT 1");
}

static void
first_error_of_several_statements_counts(void **state)
{
	struct env *env = env_of(state);
	struct error err = { 0 };

	assert_int_equal(
		command(env, "SELECT 1; SELECT nothing; SELECT 2", &err),
		-ERROR_DATABASE_ERROR);
	assert_string_equal(err.code, "42703");
}

static void
open_transaction_is_never_reused(void **state)
{
	struct env *env = env_of(state);
	struct error err = { 0 };

	must(env, "BEGIN");
	assert_int_equal(pg_verdict(env->conn, 0), POOL_DESTROY);
	assert_int_equal(
		command(env, "SELECT 1/0", &err), -ERROR_DATABASE_ERROR);
	assert_int_equal(
		pg_verdict(env->conn, -ERROR_DATABASE_ERROR), POOL_DESTROY);
	must(env, "ROLLBACK");
	assert_int_equal(pg_verdict(env->conn, 0), POOL_REUSE);
}

static void
deadline_ends_the_wait_and_the_connection(void **state)
{
	struct env *env = env_of(state);
	struct error err = { 0 };
	const int64_t start = clock_now_ns();

	env->wait.deadline_ns = start + 50 * NS_PER_MS;
	assert_int_equal(
		command(env, "SELECT pg_sleep(5)", &err), -ERROR_TIMEOUT);
	assert_in_range(clock_now_ns() - start, 50 * NS_PER_MS, 4 * NS_PER_S);
	/* its answer is still to come: whoever reused it would read that */
	assert_int_equal(pg_verdict(env->conn, 0), POOL_DESTROY);
}

static void
waiting_call_is_woken_through_its_descriptor(void **state)
{
	struct env *env = env_of(state);
	struct error err = { 0 };
	const int64_t start = clock_now_ns();

	env->wait.cancel_fd = eventfd(1, EFD_CLOEXEC);
	assert_int_equal(
		command(env, "SELECT pg_sleep(5)", &err), -ERROR_CANCELLED);
	assert_true(clock_now_ns() - start < 4 * NS_PER_S);
	assert_int_equal(pg_verdict(env->conn, -ERROR_CANCELLED), POOL_DESTROY);
	(void)close(env->wait.cancel_fd);
	env->wait.cancel_fd = -1;
}

static void
big_statement_and_big_answer_pass_without_blocking(void **state)
{
	struct env *env = env_of(state);
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	struct error err = { 0 };
	const size_t size = 8 << 20; /* far more than any socket buffer */
	char *sql = malloc(size + 64);

	assert_non_null(sql);
	memset(sql, 'x', size + 64);
	memcpy(sql, "SELECT '", strlen("SELECT '"));
	memcpy(sql + strlen("SELECT '") + size, "'", sizeof("'"));
	assert_int_equal(
		pg_command(env->conn, &env->wait, sql, &result, &err), 0);
	assert_int_equal(PQgetlength(result, 0, 0), size);
	free(sql);
}

/* ---- what evicts a pool ---- */

static void
expect_replaced(struct env *env, uint64_t closed_before)
{
	struct pool_snapshot cut;
	const int64_t limit = clock_now_ns() + 5 * NS_PER_S;

	do {
		assert_true(clock_now_ns() < limit);
		pool_snapshot(pg_write_pool(env->pools), &cut);
	} while (cut.closed < closed_before + 2);
}

/* Two connections, one idle; `sql` on the other one must replace both. */
static void
must_replace_all(struct env *env, const char *sql, const char *code)
{
	struct env other = *env;
	struct error err = { 0 };
	struct pool_snapshot cut;

	lend(&other);
	give_back(&other, 0);
	pool_snapshot(pg_write_pool(env->pools), &cut);
	assert_int_equal(cut.idle, 1);
	const int rc = command(env, sql, &err);
	assert_int_equal(rc, -ERROR_DATABASE_DOWN);
	assert_string_equal(err.code, code);
	assert_int_equal(pg_verdict(env->conn, rc), POOL_DESTROY);
	give_back(env, rc);
	expect_replaced(env, cut.closed);
	lend(env);
	must(env, "SELECT 1");
}

static void
read_only_server_replaces_the_write_pool(void **state)
{
	struct env *env = env_of(state);

	must(env, "CREATE TABLE t (i integer)");
	must_replace_all(env,
		"SET default_transaction_read_only = on;"
		"COMMIT; INSERT INTO t VALUES (1)",
		"25006");
}

static void
shutdown_by_the_administrator_replaces_the_pool(void **state)
{
	must_replace_all(env_of(state),
		"SELECT pg_terminate_backend(pg_backend_pid())", "57P01");
}

static void
broken_protocol_replaces_the_pool(void **state)
{
	/* a COPY is more than this client understands: it breaks off */
	must_replace_all(env_of(state), "COPY (SELECT 1) TO STDOUT", "");
}

static void
changed_plan_costs_the_connection_not_the_pool(void **state)
{
	struct env *env = env_of(state);
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	struct error err = { 0 };
	static const struct pg_statement all = {
		.name = "all",
		.sql = "SELECT * FROM t",
	};

	must(env, "CREATE TABLE t (i integer)");
	assert_int_equal(
		pg_execute(env->conn, &env->wait, &all, NULL, &result, &err),
		0);
	must(env, "ALTER TABLE t ADD j integer");
	const int rc =
		pg_execute(env->conn, &env->wait, &all, NULL, &result, &err);
	assert_int_equal(rc, -ERROR_DATABASE_ERROR);
	assert_int_equal(pg_verdict(env->conn, rc), POOL_DESTROY);
}

static void
without_a_replica_reads_use_the_write_pool(void **state)
{
	const struct env *env = env_of(state);

	assert_false(pg_pools_has_replica(env->pools));
	assert_ptr_equal(pg_read_pool(env->pools), pg_write_pool(env->pools));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
		T(sessions_limit_what_a_stopped_owner_can_block),
		cmocka_unit_test(host_that_never_answers_costs_its_share_only),
		cmocka_unit_test(dead_server_is_named_without_the_password),
		cmocka_unit_test(malformed_uri_is_a_configuration_error),
		cmocka_unit_test(start_may_insist_on_a_connection),
		T(statement_is_prepared_once_and_answers_in_binary),
		T(arrays_arrive_as_they_were_put),
		T(empty_array_is_an_array),
		T(refused_statement_leaves_the_connection_usable),
		T(first_error_of_several_statements_counts),
		T(open_transaction_is_never_reused),
		T(deadline_ends_the_wait_and_the_connection),
		T(waiting_call_is_woken_through_its_descriptor),
		T(big_statement_and_big_answer_pass_without_blocking),
		T(read_only_server_replaces_the_write_pool),
		T(shutdown_by_the_administrator_replaces_the_pool),
		T(broken_protocol_replaces_the_pool),
		T(changed_plan_costs_the_connection_not_the_pool),
		T(without_a_replica_reads_use_the_write_pool),
	};

	log_set_level(LOG_LEVEL_OFF);
	return cmocka_run_group_tests_name(
		"pg", tests, pg_fixture_start, pg_fixture_stop);
}
