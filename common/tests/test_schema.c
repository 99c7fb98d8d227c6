/* SPDX-License-Identifier: MIT */
#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/migration.h"
#include "common/pg.h"
#include "common/pool_admin.h"
#include "common/schema.h"
#include "common/tests/pg_fixture.h"
#include "common/tests/unit.h"

#include <glob.h>
#include <pthread.h>

static int
setup(void **state)
{
	static struct pg_fixture_pools env;

	*state = NULL;
	if (!pg_fixture_is_there())
		return 0;
	pg_fixture_pools_open(&env);
	*state = &env;
	return 0;
}

static int
teardown(void **state)
{
	if (*state != NULL)
		pg_fixture_pools_close(*state);
	return 0;
}

/* In every test that has one: skips it without a server. */
static struct pg_fixture_pools *
env_of(void **state)
{
	pg_fixture_need();
	return *state;
}

struct attempt {
	struct pg_fixture_pools *env;
	int rc, applied;
	struct error err;
};

static void *
migrate(void *arg)
{
	struct attempt *attempt = arg;
	struct pool *pool = pg_write_pool(attempt->env->pools);
	const struct pg_wait wait = { clock_now_ns() + 20 * NS_PER_S, -1 };
	struct pool_entry *entry;

	attempt->rc = pool_acquire(
		pool, "migrate", wait.deadline_ns, &entry, &attempt->err);
	if (attempt->rc != 0)
		return NULL;
	attempt->rc = schema_migrate(
		entry->resource, &wait, &attempt->applied, &attempt->err);
	pool_release(pool, &entry, pg_verdict(entry->resource, attempt->rc));
	return NULL;
}

static void
run_sql(struct pg_fixture_pools *env, const char *sql)
{
	struct pool *pool = pg_write_pool(env->pools);
	const struct pg_wait wait = { clock_now_ns() + 20 * NS_PER_S, -1 };
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	struct pool_entry *entry;
	struct error err = { 0 };

	assert_int_equal(
		pool_acquire(pool, "sql", wait.deadline_ns, &entry, &err), 0);
	if (pg_command(entry->resource, &wait, sql, &result, &err) != 0)
		fail_msg("%s", err.msg);
	pool_release(pool, &entry, pg_verdict(entry->resource, 0));
}

static void
every_file_is_embedded(void **state)
{
	glob_t files;

	(void)state;
	assert_int_equal(glob("common/schema/[0-9]*.sql", 0, NULL, &files), 0);
	assert_int_equal(files.gl_pathc, schema_version());
	globfree(&files);
}

static void
migrations_are_applied_once(void **state)
{
	struct attempt first = { .env = env_of(state) },
		       second = { .env = env_of(state) };

	migrate(&first);
	assert_int_equal(first.rc, 0);
	assert_int_equal(first.applied, schema_version());
	migrate(&second);
	assert_int_equal(second.rc, 0);
	assert_int_equal(second.applied, 0);
	run_sql(env_of(state), "SELECT total FROM coupon");
}

static void
daemons_that_start_together_share_the_work(void **state)
{
	struct attempt attempts[3];
	pthread_t threads[3];
	int applied = 0;

	for (int i = 0; i < 3; i++) {
		attempts[i] = (struct attempt){ .env = env_of(state) };
		assert_int_equal(pthread_create(&threads[i], NULL, migrate,
					 &attempts[i]),
			0);
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		if (attempts[i].rc != 0)
			fail_msg("%s", attempts[i].err.msg);
		applied += attempts[i].applied;
	}
	assert_int_equal(applied, schema_version());
}

static void
newer_schema_is_refused(void **state)
{
	struct attempt attempt = { .env = env_of(state) };

	migrate(&attempt);
	assert_int_equal(attempt.rc, 0);
	run_sql(env_of(state), "INSERT INTO schema_migration (version, name)"
			       " VALUES (9999, 'future')");
	migrate(&attempt);
	assert_int_equal(attempt.rc, -ERROR_CONFIG_INVALID);
	assert_non_null(strstr(attempt.err.msg, "version 9999"));
}

static void
failed_migration_leaves_nothing(void **state)
{
	struct attempt attempt = { .env = env_of(state) };

	run_sql(env_of(state), "CREATE TABLE issue_rejection (i integer)");
	migrate(&attempt);
	assert_int_equal(attempt.rc, -ERROR_DATABASE_ERROR);
	run_sql(env_of(state),
		"CREATE TABLE coupon (i integer)"); /* not there */
}

static void
a_migration_goes_on_until_it_is_done(void **state)
{
	struct pg_fixture_pools *env = env_of(state);
	struct pool *pool = pg_write_pool(env->pools);

	run_sql(env, "CREATE TABLE issue_rejection (i integer)");
	struct migration *migration = migration_start(pool);
	while (!migration_was_tried(migration))
		(void)migration_await(migration, clock_now_ns() + NS_PER_MS);
	assert_false(migration_await(migration, clock_now_ns()));
	run_sql(env, "DROP TABLE issue_rejection");
	assert_true(migration_await(migration, clock_now_ns() + 10 * NS_PER_S));
	migration_free(migration);
	run_sql(env, "SELECT id FROM coupon");
}

static void
a_migration_ends_when_asked_to(void **state)
{
	struct pg_fixture_pools *env = env_of(state);
	struct pool *pool = pg_write_pool(env->pools);

	pool_suspend(pool); /* it waits for a connection, for long */
	struct migration *migration = migration_start(pool);
	assert_false(
		migration_await(migration, clock_now_ns() + 50 * NS_PER_MS));
	migration_free(migration);
	pool_resume(pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
		cmocka_unit_test(every_file_is_embedded),
		T(migrations_are_applied_once),
		T(daemons_that_start_together_share_the_work),
		T(newer_schema_is_refused),
		T(failed_migration_leaves_nothing),
		T(a_migration_goes_on_until_it_is_done),
		T(a_migration_ends_when_asked_to),
	};

	log_set_level(LOG_LEVEL_OFF);
	return cmocka_run_group_tests_name(
		"schema", tests, pg_fixture_start, pg_fixture_stop);
}
