/* SPDX-License-Identifier: MIT */
#include "consumer/app.h"

#include "common/actuator.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/migration.h"
#include "common/pg.h"
#include "common/process.h"
#include "common/redis.h"
#include "consumer/deadletter.h"
#include "consumer/events.h"
#include "consumer/group.h"
#include "consumer/guard.h"
#include "consumer/health.h"

#include <jansson.h>

/* Usually 20 ms; a partition that finds no table would complain in vain. */
#define MIGRATION_WAIT_NS NS_PER_S
#define LETTERS_WAIT_NS NS_PER_S
/* Of a start that failed: Kafka lets nobody leave a group before it has formed
 * it, some 3 s (group.initial.rebalance.delay.ms). */
#define GIVE_UP_NS (5 * NS_PER_S)

struct app {
	struct actuator *actuator; /* first: actuator_routes want it */
	struct metrics *metrics;
	struct pg_pools *pg;
	struct redis_shards *redis;
	struct deadletter *letters;
	struct migration *migration;
	struct group *group;
	struct http_server *server;
	struct consumer_health health;
};

/* ---- what the writer asks ---- */

static int
send_letters(void *ctx, struct batch *batch, const struct pg_wait *wait,
	struct error *err)
{
	struct app *app = ctx;

	return deadletter_send(
		app->letters, batch, wait->deadline_ns, wait->cancel_fd, err);
}

static bool
event_may_exist(void *ctx, int64_t coupon_id)
{
	struct app *app = ctx;

	return events_may_exist(app->redis, coupon_id);
}

/* ---- start ---- */

static int
start_server(
	struct app *app, const struct settings *settings, struct error *err)
{
	struct http_config config = http_config_of(settings);

	if (settings->management_port != 0)
		config.port = (uint16_t)settings->management_port;
	config.routes = actuator_routes;
	config.n_routes = actuator_n_routes;
	config.metrics = app->metrics;
	config.app = app;
	return http_server_start(&config, &app->server, err);
}

static int
start_group(struct app *app, const struct settings *settings, struct error *err)
{
	const struct group_config config = {
		.settings = settings,
		.metrics = app->metrics,
		.pool = pg_write_pool(app->pg),
		.writer = { .ctx = app,
			.send_letters = send_letters,
			.event_may_exist = event_may_exist },
	};

	return group_new(&config, &app->group, err);
}

/* What the operator may look into and act on. */
static void
poll_task(void *arg, struct actuator_task *ret, json_t *details)
{
	struct app *app = arg;
	struct group_status status;

	group_status(app->group, &status);
	ret->last_age_ns = status.unpolled_ns;
	(void)json_object_set_new(
		details, "lag", json_integer((json_int_t)status.lag));
	(void)json_object_set_new(details, "hungPartitions",
		json_integer((json_int_t)status.hung));
}

static void
register_levers(struct app *app)
{
	actuator_pool(app->actuator, "postgres", pg_write_pool(app->pg));
	actuator_pool(
		app->actuator, "redis", redis_shards_pool_at(app->redis, 0));
	actuator_task(app->actuator, "group poll", poll_task, app);
}

static int
start_all(struct app *app, const struct settings *settings, struct error *err)
{
	int rc = pg_pools_new(
		settings, "coupon-consumer", app->metrics, &app->pg, err);

	if (rc != 0)
		return rc;
	app->redis = redis_shards_new(settings, NULL, 0, app->metrics);
	app->migration = migration_start(pg_write_pool(app->pg));
	rc = deadletter_new(settings, &app->letters, err);
	if (rc == 0) {
		(void)migration_await(
			app->migration, clock_now_ns() + MIGRATION_WAIT_NS);
		rc = start_group(app, settings, err);
	}
	if (rc != 0)
		return rc;
	consumer_health_init(&app->health, app->group, pg_write_pool(app->pg),
		app->redis, settings);
	consumer_health_register(&app->health, app->actuator);
	register_levers(app);
	return start_server(app, settings, err);
}

int
app_start(const struct settings *settings, struct reload *reload,
	struct app **ret, struct error *err)
{
	struct app *app = calloc(1, sizeof(*app));

	if (app == NULL)
		return error_set(err, ERROR_NO_MEMORY, "start");
	app->metrics = metrics_new();
	process_metrics_register(app->metrics);
	app->actuator = actuator_new(
		app->metrics, "consumer", settings->management_show_details);
	actuator_reload(app->actuator, reload);
	int rc = start_all(app, settings, err);
	if (rc != 0) {
		app_stop(app, clock_now_ns() + GIVE_UP_NS);
		return rc;
	}
	*ret = app;
	return 0;
}

/* ---- run ---- */

void
app_poll(struct app *app, int timeout_ms)
{
	group_poll(app->group, timeout_ms);
}

void
app_configure(struct app *app, const struct settings *settings)
{
	actuator_configure(app->actuator, settings->management_show_details,
		settings->logging_level);
	pg_pools_configure(app->pg, settings);
	redis_shards_configure(app->redis, settings);
	group_configure(app->group, settings);
	consumer_health_configure(&app->health, settings);
	http_server_configure(app->server, settings->server_request_timeout_ns,
		(unsigned)settings->server_access_log_sample);
}

void
app_drain(struct app *app)
{
	consumer_health_drain(&app->health);
}

/* ---- stop: the reverse order, probes last ---- */

static void
stop_pools(struct app *app, int64_t deadline_ns)
{
	if (app->redis != NULL && redis_shards_drain(app->redis, deadline_ns))
		redis_shards_free(app->redis);
	if (app->pg != NULL && pg_pools_drain(app->pg, deadline_ns))
		pg_pools_free(app->pg);
}

void
app_stop(struct app *app, int64_t deadline_ns)
{
	struct guard guard;

	guard_start(&guard, deadline_ns, "shutting down", EXIT_FAILURE);
	migration_free(app->migration);
	if (app->server != NULL)
		http_server_drain(app->server);
	group_leave(app->group, deadline_ns);
	http_server_stop(app->server); /* whose probes look at the group */
	group_free(app->group);
	deadletter_free(app->letters, clock_now_ns() + LETTERS_WAIT_NS);
	stop_pools(app, deadline_ns);
	actuator_free(app->actuator);
	metrics_free(app->metrics);
	free(app);
	guard_end(&guard);
}
