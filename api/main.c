/* SPDX-License-Identifier: MIT */
/*
 * api - answers coupon requests over HTTP; Redis decides, Kafka carries.
 *
 * options -> start -> wait -> drain -> stop.
 */
#include "api/api.h"
#include "common/config.h"
#include "common/error.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/reload.h"
#include "common/startup.h"

/* Besides the clients' sockets: pools, Kafka, logs, libraries. */
#define FILES_OF_OUR_OWN 1000

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
	startup_log(settings);
	reload = reload_new(config);
	if (api_start(settings, reload, &api, &err) != 0) {
		reload_free(reload);
		return startup_failed(&err);
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
	return clean ? STARTUP_DONE : STARTUP_FAILED;
}

int
main(int argc, char **argv)
{
	static const struct startup startup = {
		.daemon = DAEMON_API,
		.name = "api",
		.run = run,
	};

	return startup_main(&startup, argc, argv);
}
