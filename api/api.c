/* SPDX-License-Identifier: MIT */
#include "api/api.h"

#include "api/admission.h"
#include "api/api_health.h"
#include "api/console.h"
#include "api/event_board.h"
#include "api/instance.h"
#include "api/issue.h"
#include "api/levers.h"
#include "api/outbox.h"
#include "api/pipeline.h"
#include "api/producer.h"
#include "api/rebuild.h"
#include "api/reconcile.h"
#include "api/relay.h"
#include "api/routes.h"
#include "api/scripts.h"
#include "api/upkeep.h"
#include "api/worker.h"
#include "common/actuator.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/http.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/migration.h"
#include "common/pg.h"
#include "common/process.h"
#include "common/redis.h"

#include <assert.h>
#include <sys/param.h>

/*
 * DESIGN
 *
 * Started from the bottom up, so that whatever a part may call is there;
 * stopped from the top down, so that nothing is called after its end:
 *
 *	metrics, actuator < pools < producer, outbox < workers, instance,
 *	rebuild, upkeep, reconcile, relay < HTTP servers (whose loops own the
 *	pipelines)
 *
 * The workers end before the loops do, because the loops take their results;
 * the producer ends after the loops, because the last replies of Redis still
 * send.  A failed start takes the same way back: every stop accepts a part
 * that was never started.
 */

/* Between looks at what is still in flight while we drain. */
#define DRAIN_STEP_NS (10 * NS_PER_MS)
/* Of server.shutdown-timeout, this much is kept for Kafka and the pools. */
#define FLUSH_SHARE 3
#define POOL_DRAIN_NS (1 * NS_PER_S)

const struct settings *
api_settings(const struct api *api)
{
	return atomic_load(&api->settings);
}

/* ---- start ---- */

static unsigned
default_threads(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return (unsigned)MAX(cores, 2);
}

static struct http_config
http_config(struct api *api, const struct settings *settings)
{
	const bool split = settings->management_port != 0 &&
			   settings->management_port != settings->server_port;
	struct http_config config = http_config_of(settings);

	if (settings->server_threads != 0)
		config.threads = (unsigned)settings->server_threads;
	else
		config.threads = default_threads();
	config.serve = split ? HTTP_SERVE_BUSINESS : HTTP_SERVE_ALL;
	config.metrics = api->metrics;
	config.app = api;
	config.start_loop = loop_start;
	config.turn = loop_turn;
	config.next_deadline_ns = loop_next_deadline_ns;
	config.stop_loop = loop_stop;
	config.routes = routes(&config.n_routes);
	return config;
}

static int
start_servers(
	struct api *api, const struct settings *settings, struct error *err)
{
	struct http_config config = http_config(api, settings);
	bool split = config.serve == HTTP_SERVE_BUSINESS;
	struct http_server *server;

	actuator_links(api->actuator, config.routes, config.n_routes);
	int rc = http_server_start(&config, &server, err);
	if (rc != 0)
		return rc;
	atomic_store(&api->server, server);
	if (!split)
		return 0;
	config.port = (uint16_t)settings->management_port;
	config.threads = 1;
	config.thread_name = "management";
	config.serve = HTTP_SERVE_MANAGEMENT;
	config.start_loop = NULL;
	config.turn = NULL;
	config.next_deadline_ns = NULL;
	config.stop_loop = NULL;
	return http_server_start(&config, &api->management, err);
}

static int
start_backends(
	struct api *api, const struct settings *settings, struct error *err)
{
	api->shards = redis_shards_new(
		settings, scripts, SCRIPTS_COUNT, api->metrics);
	redis_shards_doubt(api->shards);
	pipelines_configure(settings);
	int rc = pg_pools_new(
		settings, "coupon-api", api->metrics, &api->pg, err);
	if (rc != 0)
		return rc;
	api->loader = (struct event_loader){ api->shards, api->pg, NULL };
	api->outbox = outbox_new(api->shards, api->metrics);
	const struct producer_config config = {
		.settings = settings,
		.persisted = outbox_remove,
		.arg = api->outbox,
		.metrics = api->metrics,
	};
	return producer_new(&config, &api->producer, err);
}

static void
start_rebuild(struct api *api, const struct settings *settings)
{
	const struct instance_config instance = {
		.pg = api->pg,
		.shards = api->shards,
		.producer = api->producer,
		.is_answered_since = loops_are_answered_since,
		.arg = &api->loops,
	};

	api->instance = instance_start(&instance);
	const struct rebuild_config rebuild = {
		.shards = api->shards,
		.pg = api->pg,
		.producer = api->producer,
		.settings = settings,
		.instance_id = instance_id(api->instance),
		.metrics = api->metrics,
	};
	api->rebuild = rebuild_start(&rebuild);
	api->loader.rebuild = api->rebuild;
}

static void
start_threads(struct api *api, const struct settings *settings)
{
	api->issue_meters = issue_meters_new(api->metrics);
	api->admission = admission_new(settings, api->metrics);
	api->worker = worker_new((unsigned)settings->worker_threads,
		(size_t)settings->worker_queue_size, api->metrics);
	api->board = event_board_new(&api->loader);
	start_rebuild(api, settings);
	api->migration = migration_start(pg_write_pool(api->pg));
	const struct upkeep_config upkeep = {
		.loader = &api->loader,
		.settings = settings,
		.instance_id = instance_id(api->instance),
		.migration = api->migration,
		.seen_highest = loops_highest_seen,
		.arg = &api->loops,
		.metrics = api->metrics,
	};
	api->upkeep = upkeep_start(&upkeep);
	const struct reconcile_config reconcile = {
		.shards = api->shards,
		.pg = api->pg,
		.rebuild = api->rebuild,
		.settings = settings,
		.instance_id = instance_id(api->instance),
		.metrics = api->metrics,
	};
	api->reconcile = reconcile_start(&reconcile);
	const struct relay_config relay = {
		.shards = api->shards,
		.producer = api->producer,
		.breaker = admission_breaker(api->admission),
		.settings = settings,
		.metrics = api->metrics,
	};
	api->relay = relay_start(&relay);
}

int
api_start(const struct settings *settings, struct reload *reload,
	struct api **ret, struct error *err)
{
	struct api *api = calloc(1, sizeof(*api));

	if (api == NULL)
		return error_set(err, ERROR_NO_MEMORY, "no memory to start");
	atomic_init(&api->settings, settings);
	loops_init(&api->loops);
	api->metrics = metrics_new();
	process_metrics_register(api->metrics);
	api->actuator = actuator_new(
		api->metrics, "api", settings->management_show_details);
	actuator_reload(api->actuator, reload);
	console_init(settings);
	api_health_register(api);
	int rc = start_backends(api, settings, err);
	if (rc == 0) {
		start_threads(api, settings);
		levers_register(api);
		rc = start_servers(api, settings, err);
	}
	if (rc != 0) {
		api_stop(&api);
		return rc;
	}
	*ret = api;
	return 0;
}

static void
configure_server(struct http_server *server, const struct settings *settings)
{
	http_server_configure(server, settings->server_request_timeout_ns,
		(unsigned)settings->server_access_log_sample);
}

void
api_configure(struct api *api, const struct settings *settings)
{
	atomic_store(&api->settings, settings);
	redis_shards_configure(api->shards, settings);
	pipelines_configure(settings);
	pg_pools_configure(api->pg, settings);
	admission_configure(api->admission, settings);
	relay_configure(api->relay, settings);
	reconcile_configure(api->reconcile, settings);
	actuator_configure(api->actuator, settings->management_show_details,
		settings->logging_level);
	configure_server(atomic_load(&api->server), settings);
	if (api->management != NULL)
		configure_server(api->management, settings);
}

/* ---- stop ---- */

/* Not only until nothing is in flight: a client may be sending already. */
static void
wait_until_drained(struct http_server *server, int64_t deadline_ns)
{
	while (!http_server_is_drained(server) && clock_now_ns() < deadline_ns)
		(void)lifecycle_wait(clock_now_ns() + DRAIN_STEP_NS);
}

static void
wait_drain_delay(int64_t deadline_ns)
{
	while (clock_now_ns() < deadline_ns)
		(void)lifecycle_wait(deadline_ns);
}

/* The management port, which says that we are draining, stays meanwhile; its
 * liveness looks at the server, so it goes first. */
static void
stop_servers(struct api *api)
{
	http_server_stop(api->management);
	api->management = NULL;
	http_server_stop(atomic_load(&api->server));
	atomic_store(&api->server, NULL);
}

/* Whoever sends to Kafka besides the loops, and who speaks for all. */
static void
stop_senders(struct api *api)
{
	reconcile_stop(api->reconcile);
	upkeep_stop(api->upkeep);
	migration_free(api->migration);
	relay_stop(api->relay);
	rebuild_stop(api->rebuild);
	instance_stop(api->instance);
	api->reconcile = NULL;
	api->upkeep = NULL;
	api->migration = NULL;
	api->relay = NULL;
	api->rebuild = NULL;
	api->instance = NULL;
}

bool
api_drain(struct api *api)
{
	const struct settings *settings = api_settings(api);
	struct http_server *server = atomic_load(&api->server);
	int64_t timeout_ns = settings->server_shutdown_timeout_ns;

	LOG_INFO("draining",
		LOG_INT("in_flight", http_server_in_flight(server)));
	atomic_store(&api->draining, true);
	http_server_drain(server);
	wait_drain_delay(clock_now_ns() + settings->server_drain_delay_ns);
	int64_t deadline_ns = clock_now_ns() + timeout_ns;
	http_server_quiesce(server);
	wait_until_drained(server, deadline_ns - timeout_ns / FLUSH_SHARE);
	size_t left = http_server_in_flight(server);

	worker_stop(api->worker);
	stop_servers(api);
	stop_senders(api);
	size_t unsent = producer_stop(api->producer, deadline_ns);
	LOG_INFO("drained", LOG_INT("unanswered", left));
	/* As good as sent: they are in the outbox, for the relay of any api. */
	if (unsent > 0)
		LOG_WARN("not acknowledged by Kafka in time, left to the relay",
			LOG_INT("messages", unsent));
	return left == 0;
}

static void
stop_threads(struct api *api)
{
	if (api->worker != NULL)
		worker_stop(api->worker);
	stop_servers(api);
	stop_senders(api);
	if (api->producer != NULL)
		(void)producer_stop(api->producer, clock_now_ns());
}

static void
free_pools(struct api *api)
{
	int64_t deadline_ns = clock_now_ns() + POOL_DRAIN_NS;

	if (api->pg != NULL && pg_pools_drain(api->pg, deadline_ns))
		pg_pools_free(api->pg);
	if (api->shards != NULL && redis_shards_drain(api->shards, deadline_ns))
		redis_shards_free(api->shards);
}

void
api_stop(struct api **api_ref)
{
	struct api *api = *api_ref;

	*api_ref = NULL;
	stop_threads(api);
	producer_free(api->producer);
	outbox_free(api->outbox);
	worker_free(api->worker);
	event_board_free(api->board);
	admission_free(api->admission);
	issue_meters_free(api->issue_meters);
	free_pools(api);
	actuator_free(api->actuator);
	metrics_free(api->metrics);
	loops_fini(&api->loops);
	free(api);
}
