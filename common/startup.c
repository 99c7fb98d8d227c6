/* SPDX-License-Identifier: MIT */
#include "common/startup.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/kafka.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pg.h"
#include "common/schema.h"

#include <sodium.h>

#define MIGRATE_TIMEOUT_NS (60 * NS_PER_S)

void
startup_log(const struct settings *settings)
{
	bool json = strcmp(settings->logging_format, "json") == 0;
	enum log_level level = LOG_LEVEL_INFO;

	(void)log_level_parse(settings->logging_level, &level);
	log_start(level, json ? LOG_FORMAT_JSON : LOG_FORMAT_LOGFMT);
}

int
startup_failed(const struct error *err)
{
	LOG_ERROR("cannot start", LOG_ERR(err));
	log_stop();
	return STARTUP_FAILED;
}

/* One sentence: the log is for what runs. */
static int
complain(const struct startup *startup, const struct error *err)
{
	(void)fprintf(stderr, "%s: %s\n", startup->name, err->msg);
	return err->kind == ERROR_CONFIG_INVALID ? STARTUP_USAGE
						 : STARTUP_FAILED;
}

static int
migrate(const struct startup *startup, const struct settings *settings)
{
	const struct pg_wait wait = { clock_now_ns() + MIGRATE_TIMEOUT_NS, -1 };
	struct metrics *metrics = metrics_new();
	struct pg_pools *pools;
	struct error err;
	int applied = 0;

	log_set_level(LOG_LEVEL_OFF);
	int rc =
		pg_pools_new(settings, "coupon-migrate", metrics, &pools, &err);
	if (rc == 0) {
		rc = schema_apply(pg_write_pool(pools), &wait, &applied, &err);
		if (pg_pools_drain(pools, clock_now_ns() + NS_PER_S))
			pg_pools_free(pools);
	}
	metrics_free(metrics);
	if (rc != 0)
		return complain(startup, &err);
	(void)printf("schema version %d, %d migrations applied\n",
		schema_version(), applied);
	return STARTUP_DONE;
}

/* `argv` is what config_load() did not know. */
static int
act(const struct startup *startup, const struct config_command *command,
	int argc, char **argv)
{
	const struct settings *settings = config_settings(command->config);
	struct error err;

	if (command->action == CONFIG_EXIT)
		return STARTUP_DONE;
	if (argc > 0 && startup->command != NULL &&
		strcmp(*argv, startup->command) == 0)
		return startup->run_command(settings, argc - 1, argv + 1);
	if (argc > 0) {
		(void)error_set(&err, ERROR_CONFIG_INVALID,
			"%s: unknown option, see --help", *argv);
		return complain(startup, &err);
	}
	if (command->action == CONFIG_MIGRATE)
		return migrate(startup, settings);
	if (kafka_check(settings, &err) != 0)
		return complain(startup, &err);
	if (command->action == CONFIG_CHECK) {
		(void)puts("configuration is valid");
		return STARTUP_DONE;
	}
	return startup->run(command->config);
}

int
startup_main(const struct startup *startup, int argc, char **argv)
{
	struct config_command command = { .rest = argc };
	struct error err;

	if (sodium_init() < 0)
		return STARTUP_FAILED;
	if (config_load(startup->daemon, argc, argv, &command, &err) != 0)
		return complain(startup, &err);
	int status = act(
		startup, &command, argc - command.rest, argv + command.rest);
	config_free(command.config);
	return status;
}
