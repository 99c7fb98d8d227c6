/* SPDX-License-Identifier: MIT */
/*
 * consumer - turns accepted requests in Kafka into rows in PostgreSQL.
 *
 * options -> start -> poll the group -> drain -> stop.
 */
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/reload.h"
#include "common/startup.h"
#include "consumer/app.h"
#include "consumer/letters.h"

#define POLL_MS 100

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

static void
stop(struct app *app, const struct settings *settings)
{
	int64_t drained_ns = clock_now_ns() + settings->server_drain_delay_ns;

	LOG_INFO("stopping");
	app_drain(app);
	while (clock_now_ns() < drained_ns)
		app_poll(app, POLL_MS);
	app_stop(app, clock_now_ns() + settings->server_shutdown_timeout_ns);
}

static int
run(struct config *config)
{
	const struct settings *settings = config_settings(config);
	struct reload *reload;
	struct app *app;
	struct error err;

	lifecycle_init((uint64_t)settings->server_max_connections +
		       (uint64_t)settings->datasource_maximum_pool_size);
	startup_log(settings);
	reload = reload_new(config);
	if (app_start(settings, reload, &app, &err) != 0) {
		reload_free(reload);
		return startup_failed(&err);
	}
	LOG_INFO("consumer started");
	serve(app, reload);
	reload_stop(reload);
	stop(app, config_settings(config));
	reload_free(reload);
	LOG_INFO("stopped");
	log_stop();
	return STARTUP_DONE;
}

int
main(int argc, char **argv)
{
	static const struct startup startup = {
		.daemon = DAEMON_CONSUMER,
		.name = "consumer",
		.run = run,
		.command = "--dead-letters",
		.run_command = letters_main,
	};

	return startup_main(&startup, argc, argv);
}
