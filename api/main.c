/* SPDX-License-Identifier: MIT */
#include "api/api.h"
#include "api/upkeep.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/kafka.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pg.h"
#include "common/reload.h"

#include <sodium.h>

#define MIGRATE_TIMEOUT_NS (60 * NS_PER_S)
/* Besides the clients' sockets: pools, Kafka, logs, libraries. */
#define FILES_OF_OUR_OWN 1000

static int
fail(const char *message, const struct error *err)
{
	(void)fprintf(stderr, "api: %s: %s\n", message, err->msg);
	return EXIT_FAILURE;
}

static void
log_configure(const struct settings *settings)
{
	enum log_level level = LOG_LEVEL_INFO;

	(void)log_level_parse(settings->logging_level, &level);
	log_set_level(level);
}

static void
log_begin(const struct settings *settings)
{
	bool json = strcmp(settings->logging_format, "json") == 0;

	log_start(LOG_LEVEL_INFO, json ? LOG_FORMAT_JSON : LOG_FORMAT_LOGFMT);
	log_configure(settings);
}

/* --migrate */
static int
migrate(const struct settings *settings)
{
	struct metrics *metrics = metrics_new();
	struct pg_pools *pg;
	struct error err;
	int applied;
	int rc = pg_pools_new(settings, "coupon-migrate", metrics, &pg, &err);

	if (rc != 0)
		return fail("datasource", &err);
	rc = upkeep_migrate(pg, MIGRATE_TIMEOUT_NS, &applied, &err);
	if (pg_pools_drain(pg, clock_now_ns() + NS_PER_S))
		pg_pools_free(pg);
	metrics_free(metrics);
	if (rc != 0)
		return fail("migrate", &err);
	(void)printf("applied %d migrations\n", applied);
	return EXIT_SUCCESS;
}

static void
configure(void *arg, const struct settings *settings)
{
	api_configure(arg, settings);
}

static int
run(struct config *config)
{
	const struct settings *settings = config_settings(config);
	struct reload *reload;
	struct api *api;
	struct error err;

	lifecycle_init(
		(uint64_t)settings->server_max_connections + FILES_OF_OUR_OWN);
	log_begin(settings);
	reload = reload_new(config);
	if (api_start(settings, reload, &api, &err) != 0) {
		reload_free(reload);
		log_stop();
		return fail("cannot start", &err);
	}
	LOG_INFO("api started", LOG_INT("port", settings->server_port));
	for (enum lifecycle_event event = LIFECYCLE_TICK;
		event != LIFECYCLE_STOP;) {
		event = lifecycle_wait(INT64_MAX);
		if (event == LIFECYCLE_RELOAD)
			reload_run(reload, configure, api);
	}
	reload_stop(reload);
	bool clean = api_drain(api);
	api_stop(&api);
	reload_free(reload);
	log_stop();
	return clean ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
	struct config_command command;
	struct error err;
	int rc = EXIT_SUCCESS;

	if (sodium_init() < 0)
		return EXIT_FAILURE;
	if (config_load(DAEMON_API, argc, argv, &command, &err) != 0)
		return fail("configuration", &err);
	const struct settings *settings = config_settings(command.config);
	if (command.rest < argc) {
		(void)fprintf(stderr, "api: unknown argument: %s\n",
			argv[command.rest]);
		rc = EXIT_FAILURE;
	} else if (command.action == CONFIG_MIGRATE) {
		rc = migrate(settings);
	} else if (command.action != CONFIG_EXIT &&
		   kafka_check(settings, &err) != 0) {
		rc = fail("configuration", &err);
	} else if (command.action == CONFIG_CHECK) {
		(void)printf("configuration is valid\n");
	} else if (command.action == CONFIG_RUN) {
		rc = run(command.config);
	}
	config_free(command.config);
	return rc;
}
