/* SPDX-License-Identifier: MIT */
/*
 * app - the consumer as a whole: what it is made of, in which order it starts
 * and stops, and what it says of its health.
 */
#ifndef CONSUMER_APP_H
#define CONSUMER_APP_H

#include "common/compiler.h"

#include <stdint.h>

struct app;
struct error;
struct reload;
struct settings;

/* Start everything (`reload` is borrowed); waits neither for Kafka nor for long for PostgreSQL. */
int app_start(const struct settings *settings, struct reload *reload,
	struct app **ret, struct error *err) NODISCARD;

/* From the main thread, again and again: serves the consumer group. */
void app_poll(struct app *app, int timeout_ms);

/* Take over what is live of the settings. */
void app_configure(struct app *app, const struct settings *settings);

/* Not ready any more; everything else goes on. */
void app_drain(struct app *app);

/*
 * Finish the batches, commit, leave the group, free all.  At `deadline_ns`
 * the process ends with status 1.
 */
void app_stop(struct app *app, int64_t deadline_ns);

#endif
