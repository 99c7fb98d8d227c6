/* SPDX-License-Identifier: MIT */
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pool_metrics.h"
#include "common/tests/pool_fixture.h"
#include "common/tests/unit.h"

struct pair {
	struct fixture f;
	struct metrics *metrics;
	struct pool_metrics *m;
};

static void
start(struct pair *p, enum pool_metrics_style style, const char *tag)
{
	fixture_init(&p->f);
	p->f.config.leak_threshold_ns = 2 * NS_PER_S;
	p->metrics = metrics_new();
	p->m = pool_metrics_new(p->metrics, style, tag);
	p->f.observer = *pool_metrics_observer(p->m);
	fixture_start(&p->f, 0);
	pool_metrics_attach(p->m, p->f.pool);
}

static void
finish(struct pair *p)
{
	pool_metrics_detach(p->m);
	fixture_fini(&p->f);
	pool_metrics_free(p->m);
	metrics_free(p->metrics);
}

static void
assert_line(struct pair *p, const char *line)
{
	size_t len;
	char *text = metrics_prometheus(p->metrics, false, NULL, &len);

	if (strstr(text, line) == NULL)
		fail_msg("no '%s' in:\n%s", line, text);
	free(text);
}

static void
every_series_exists_from_the_start(void **state)
{
	struct pair p;

	(void)state;
	start(&p, POOL_METRICS_HIKARI, "postgres");
	assert_line(&p, "\nhikaricp_connections{pool=\"postgres\"} 0");
	assert_line(&p, "\nhikari_connections{pool=\"postgres\"} 0");
	assert_line(&p, "\nhikaricp_connections_active{pool=\"postgres\"} 0");
	assert_line(&p, "\nhikaricp_connections_max{pool=\"postgres\"} 2");
	assert_line(&p,
		"\nhikaricp_connections_timeout_total{pool=\"postgres\"} 0");
	assert_line(&p, "hikaricp_connections_acquire_seconds_count{"
			"pool=\"postgres\"} 0");
	assert_line(&p, "hikaricp_connections_usage_seconds_count{"
			"pool=\"postgres\"} 0");
	assert_line(&p, "hikaricp_connections_creation_seconds_count{"
			"pool=\"postgres\"} 0");
	assert_line(&p, "hikari_connections_rejected_total{"
			"pool=\"postgres\",reason=\"QUEUE_FULL\"} 0");
	assert_line(&p, "hikaricp_connections_evictions_total{"
			"pool=\"postgres\",reason=\"max-lifetime\"} 0");
	finish(&p);
}

static void
gauges_follow_the_pool(void **state)
{
	struct pair p;
	struct pool_waiter waiters[3];
	struct error err;

	(void)state;
	start(&p, POOL_METRICS_REDIS, "redis");
	for (size_t i = 0; i < 3; i++)
		fixture_queue(&p.f, &waiters[i]);
	fixture_settle(&p.f);
	fixture_advance_ms(&p.f, 250);
	assert_line(&p, "redis_connection{pool=\"redis\"} 2");
	assert_line(&p, "redis_connection_active{pool=\"redis\"} 2");
	assert_line(&p, "redis_connection_idle{pool=\"redis\"} 0");
	assert_line(&p, "redis_connection_pending{pool=\"redis\"} 1");
	assert_line(&p,
		"redis_connection_oldest_wait_seconds{pool=\"redis\"} 0.25");
	assert_line(&p,
		"redis_connection_creation_seconds_count{pool=\"redis\"} 2");

	assert_true(pool_cancel(p.f.pool, &waiters[2], &err));
	assert_line(&p, "redis_connection_timeout_total{pool=\"redis\"} 1");
	assert_line(&p, "redis_connection_rejected_total{"
			"pool=\"redis\",reason=\"EXHAUSTED\"} 1");
	assert_line(
		&p, "redis_connection_acquire_seconds_count{pool=\"redis\"} 3");
	for (size_t i = 0; i < 2; i++) {
		assert_ptr_equal(fixture_answer(&p.f), &waiters[i]);
		fixture_return(&p.f, waiters[i].entry, POOL_DESTROY);
	}
	fixture_settle(&p.f);
	assert_line(&p, "redis_connection_evictions_total{"
			"pool=\"redis\",reason=\"destroyed\"} 2");
	assert_line(
		&p, "redis_connection_usage_seconds_count{pool=\"redis\"} 2");
	finish(&p);
}

static void
a_connection_held_too_long_counts_once(void **state)
{
	struct pair p;
	struct pool_waiter waiter;

	(void)state;
	start(&p, POOL_METRICS_HIKARI, "postgres");
	fixture_queue(&p.f, &waiter);
	fixture_settle(&p.f);
	assert_line(&p, "hikaricp_connections_leaks_total{"
			"pool=\"postgres\"} 0");
	fixture_advance_ms(&p.f, 3000);
	fixture_settle(&p.f);
	fixture_advance_ms(&p.f, 3000);
	fixture_settle(&p.f);
	assert_line(&p, "hikaricp_connections_leaks_total{"
			"pool=\"postgres\"} 1");
	assert_ptr_equal(fixture_answer(&p.f), &waiter);
	fixture_return(&p.f, waiter.entry, POOL_REUSE);
	assert_line(&p, "hikaricp_connections_leaks_total{"
			"pool=\"postgres\"} 1");
	finish(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_series_exists_from_the_start),
		cmocka_unit_test(gauges_follow_the_pool),
		cmocka_unit_test(a_connection_held_too_long_counts_once),
	};

	log_set_level(LOG_LEVEL_OFF);
	return cmocka_run_group_tests_name("pool_metrics", tests, NULL, NULL);
}
