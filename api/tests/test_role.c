/* SPDX-License-Identifier: MIT */
#include "api/role.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/pg.h"
#include "common/pool_admin.h"
#include "common/schema.h"
#include "common/tests/pg_fixture.h"
#include "common/tests/unit.h"

struct env {
	struct pg_fixture_pools pg;
	struct role first, second; /* of two apis */
};

static int
setup(void **state)
{
	static struct env env;
	const struct pg_wait wait = { clock_now_ns() + 20 * NS_PER_S, -1 };
	struct error err = { 0 };
	int applied;

	*state = NULL;
	if (!pg_fixture_is_there())
		return 0;
	pg_fixture_pools_open(&env.pg);
	if (schema_apply(pg_write_pool(env.pg.pools), &wait, &applied, &err) !=
		0)
		fail_msg("%s", err.msg);
	env.first = (struct role){
		.pg = env.pg.pools, .name = "reconciler", .holder = "one"
	};
	env.second = env.first;
	env.second.holder = "two";
	*state = &env;
	return 0;
}

static int
teardown(void **state)
{
	struct env *env = *state;

	if (env != NULL)
		pg_fixture_pools_close(&env->pg);
	return 0;
}

/* In every test that has one: skips it without a server. */
static struct env *
env_of(void **state)
{
	pg_fixture_need();
	return *state;
}

static bool
take(struct role *role)
{
	struct error err = { 0 };

	if (role_take(role, &err) != 0)
		fail_msg("%s", err.msg);
	return role->mine;
}

static int
keep_now(struct role *role, struct error *err)
{
	role->renew_at_ns = 0;
	return role_keep(role, err);
}

static void
let_the_lease_run_out(struct env *env)
{
	const struct pg_wait wait = { clock_now_ns() + 20 * NS_PER_S, -1 };
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	struct pool *pool = pg_write_pool(env->pg.pools);
	struct pool_entry *entry;
	struct error err = { 0 };

	if (pool_acquire(pool, "test", wait.deadline_ns, &entry, &err) != 0 ||
		pg_command(entry->resource, &wait,
			"UPDATE api_role SET expires_at = now() - interval"
			" '1 ms'",
			&result, &err) != 0)
		fail_msg("%s", err.msg);
	pool_release(pool, &entry, POOL_REUSE);
}

static void
who_has_it_keeps_it_from_pass_to_pass(void **state)
{
	struct env *env = env_of(state);

	assert_true(take(&env->first));
	assert_false(take(&env->second));
	assert_true(take(&env->first));
	assert_false(take(&env->second));
	env->second.name = "publisher"; /* another role */
	assert_true(take(&env->second));
}

static void
who_died_is_succeeded_and_hears_of_it(void **state)
{
	struct env *env = env_of(state);
	struct error err;

	assert_true(take(&env->first));
	assert_int_equal(keep_now(&env->first, &err), 0);
	let_the_lease_run_out(env);
	assert_true(take(&env->second));
	assert_int_equal(role_keep(&env->first, &err), 0); /* not asked yet */
	assert_int_equal(keep_now(&env->first, &err), -ERROR_CANCELLED);
	assert_false(env->first.mine);
}

static void
who_leaves_is_succeeded_at_once(void **state)
{
	struct env *env = env_of(state);

	assert_true(take(&env->first));
	role_leave(&env->second); /* has nothing to leave */
	assert_false(take(&env->second));
	role_leave(&env->first);
	assert_true(take(&env->second));
}

static void
who_cannot_ask_goes_on_while_the_lease_lasts(void **state)
{
	struct env *env = env_of(state);
	struct error err;

	assert_true(take(&env->first));
	pool_suspend(pg_write_pool(env->pg.pools));
	assert_int_equal(keep_now(&env->first, &err), 0);
	env->first.ends_at_ns =
		clock_now_ns(); /* and then another may have it */
	assert_int_equal(keep_now(&env->first, &err), -ERROR_CANCELLED);
	assert_false(env->first.mine);
	pool_resume(pg_write_pool(env->pg.pools));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
		T(who_has_it_keeps_it_from_pass_to_pass),
		T(who_died_is_succeeded_and_hears_of_it),
		T(who_leaves_is_succeeded_at_once),
		T(who_cannot_ask_goes_on_while_the_lease_lasts),
	};

	log_set_level(LOG_LEVEL_OFF);
	return cmocka_run_group_tests_name(
		"role", tests, pg_fixture_start, pg_fixture_stop);
}
