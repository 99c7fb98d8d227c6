/* SPDX-License-Identifier: MIT */
/*
 * consumer - turns accepted requests in Kafka into rows in PostgreSQL.
 *
 * options -> start -> poll the group -> drain -> stop.
 */
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/kafka.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pg.h"
#include "common/reload.h"
#include "consumer/app.h"
#include "consumer/letters.h"
#include "consumer/migration.h"

#define POLL_MS 100
#define MIGRATE_WAIT_NS (60 * NS_PER_S)
#define EXIT_USAGE 2

static int
fail(const char *what, const struct error *err)
{
	LOG_ERROR(what, LOG_ERR(err));
	log_stop();
	return EXIT_FAILURE;
}

static int
migrate(const struct settings *settings)
{
	struct metrics *metrics = metrics_new();
	int64_t deadline_ns = clock_now_ns() + MIGRATE_WAIT_NS;
	struct pg_pools *pools;
	struct error err;
	int applied = 0;
	int rc =
		pg_pools_new(settings, "coupon-migrate", metrics, &pools, &err);

	if (rc == 0) {
		rc = migration_run(
			pg_write_pool(pools), deadline_ns, -1, &applied, &err);
		if (pg_pools_drain(pools, clock_now_ns() + NS_PER_S))
			pg_pools_free(pools);
	}
	metrics_free(metrics);
	if (rc != 0)
		return fail("schema not migrated", &err);
	LOG_INFO("schema is up to date", LOG_INT("applied", applied));
	log_stop();
	return EXIT_SUCCESS;
}

static void
start_log(const struct settings *settings)
{
	enum log_level level = LOG_LEVEL_INFO;

	(void)log_level_parse(settings->logging_level, &level);
	log_start(level, strcmp(settings->logging_format, "json") == 0
				 ? LOG_FORMAT_JSON
				 : LOG_FORMAT_LOGFMT);
}

static void
configure(void *arg, const struct settings *settings)
{
	app_configure(arg, settings);
}

static void
serve(struct app *app, struct reload *reload)
{
	for (;;) {
		switch (lifecycle_wait(clock_now_ns())) {
		case LIFECYCLE_STOP:
			return;
		case LIFECYCLE_RELOAD:
			reload_run(reload, configure, app);
			break;
		case LIFECYCLE_TICK:
			break;
		}
		app_poll(app, POLL_MS);
	}
}

static int
run(struct config *config)
{
	const struct settings *settings = config_settings(config);
	struct reload *reload = reload_new(config);
	struct app *app;
	struct error err;

	if (app_start(settings, reload, &app, &err) != 0) {
		reload_free(reload);
		return fail("start failed", &err);
	}
	LOG_INFO("consumer started");
	serve(app, reload);
	reload_stop(reload);

	settings = config_settings(config);
	LOG_INFO("stopping");
	app_drain(app);
	int64_t drained_ns = clock_now_ns() + settings->server_drain_delay_ns;
	while (clock_now_ns() < drained_ns)
		app_poll(app, POLL_MS);
	app_stop(app, clock_now_ns() + settings->server_shutdown_timeout_ns);
	reload_free(reload);
	LOG_INFO("stopped");
	log_stop();
	return EXIT_SUCCESS;
}

static int
check(const struct settings *settings)
{
	struct error err;

	if (kafka_check(settings, &err) != 0) {
		(void)fprintf(stderr, "consumer: %s\n", err.msg);
		return EXIT_USAGE;
	}
	puts("configuration is valid");
	return EXIT_SUCCESS;
}

static int
act(enum config_action action, struct config *config)
{
	const struct settings *settings = config_settings(config);

	if (action == CONFIG_CHECK)
		return check(settings);
	lifecycle_init((uint64_t)settings->server_max_connections +
		       (uint64_t)settings->datasource_maximum_pool_size);
	start_log(settings);
	return action == CONFIG_MIGRATE ? migrate(settings) : run(config);
}

int
main(int argc, char **argv)
{
	struct config_command command = { .rest = argc };
	struct error err;
	int rc = config_load(DAEMON_CONSUMER, argc, argv, &command, &err);
	char **rest = argv + command.rest;
	bool letters = rc == 0 && command.action == CONFIG_RUN &&
		       command.rest < argc &&
		       strcmp(*rest, "--dead-letters") == 0;

	if (rc == 0 && command.action != CONFIG_EXIT && command.rest < argc &&
		!letters)
		rc = error_set(&err, ERROR_CONFIG_INVALID,
			"%s: unknown option, see --help", *rest);
	int status = EXIT_SUCCESS;
	if (rc != 0) {
		(void)fprintf(stderr, "consumer: %s\n", err.msg);
		status = EXIT_USAGE;
	} else if (letters) {
		status = letters_main(config_settings(command.config),
			argc - command.rest - 1, rest + 1);
	} else if (command.action != CONFIG_EXIT) {
		status = act(command.action, command.config);
	}
	config_free(command.config);
	return status;
}
