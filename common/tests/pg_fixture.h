/* SPDX-License-Identifier: MIT */
/*
 * pg_fixture - a real PostgreSQL for tests that need one.
 *
 * COUPON_TEST_PG names a server by URI; without it a private one is started
 * below build/ (common/tests/pg_cluster) and ends with the test program.
 * Where neither is to be had, pg_fixture_need() skips the test, visibly.
 * Run from the top of the source tree.
 */
#ifndef COMMON_TESTS_PG_FIXTURE_H
#define COMMON_TESTS_PG_FIXTURE_H

#include <stdbool.h>

struct metrics;
struct pg_pools;
struct settings;

/* Group setup and teardown, for cmocka_run_group_tests(). */
int pg_fixture_start(void **state);
int pg_fixture_stop(void **state);

/* In the test itself: cmocka takes a skip in a setup for a failure. */
void pg_fixture_need(void);
bool pg_fixture_is_there(void);
/* In a new, empty database on each call; valid until the next one. */
const char *pg_fixture_new_database(void);
/* Three connections, short times, nothing else. */
void pg_fixture_settings(struct settings *settings, const char *uri);

/* Pools on a database of their own; for a test's setup and teardown. */
struct pg_fixture_pools {
	struct metrics *metrics;
	struct pg_pools *pools;
};
void pg_fixture_pools_open(struct pg_fixture_pools *pools);
void pg_fixture_pools_close(struct pg_fixture_pools *pools);

#endif
