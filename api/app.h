/* SPDX-License-Identifier: MIT */
/*
 * app - everything the api daemon owns, started and stopped in order.
 *
 * The struct is open to the handlers of api/: its parts are set before the
 * HTTP threads start and stay until they have ended.
 */
#ifndef API_APP_H
#define API_APP_H

#include "api/event_loader.h"
#include "api/latch.h"
#include "common/compiler.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct actuator;
struct admission;
struct config;
struct error;
struct http_loop;
struct http_request;
struct http_server;
struct issue;
struct issue_meters;
struct metrics;
struct outbox;
struct pg_pools;
struct pipeline;
struct producer;
struct redis_shards;
struct settings;
struct upkeep;
struct worker;

struct app {
	struct actuator *actuator; /* first: actuator_routes look here */
	_Atomic(const struct settings *) settings; /* in force; live ones */
	struct metrics *metrics;
	struct redis_shards *shards;
	struct pg_pools *pg;
	struct event_loader loader; /* of the two above */
	struct outbox *outbox;
	struct producer *producer;
	struct worker *worker;
	struct admission *admission;
	struct issue_meters *issue_meters;
	struct upkeep *upkeep;
	struct http_server *server;
	struct http_server *management; /* NULL: same port */
	_Atomic bool draining;
};

/* What one HTTP loop has for itself; touched by its thread only. */
struct app_loop {
	struct app *app;
	struct http_loop *loop;
	struct pipeline *pipeline;
	struct latch sold_out;
	struct latch unknown;  /* coupons that do not exist, for a moment */
	struct issue *waiting; /* for a rate limiter's permit, by time */
	struct issue *spare;   /* finished issue requests, for reuse */
	unsigned n_spare;
};

/*
 * Start everything; `settings` is borrowed for good.  Waits for no server:
 * what is not there yet is tried again in the background.
 */
int app_start(const struct settings *settings, struct app **ret,
	struct error *err) NODISCARD;

/* New settings are in force (their live part). */
void app_configure(struct app *app, const struct settings *settings);

/*
 * The SIGTERM row of DESIGN 13: readiness goes DOWN, the listener stays for
 * server.drain-delay, then what is in flight gets server.shutdown-timeout.
 * True when everything was answered and flushed.
 */
bool app_drain(struct app *app);

/* After app_drain(); *app becomes NULL. */
void app_stop(struct app **app);

/* Those in force now: the live ones may change from call to call. */
const struct settings *app_settings(const struct app *app);

#endif
