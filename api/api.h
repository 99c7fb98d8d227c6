/* SPDX-License-Identifier: MIT */
/*
 * api - everything the api daemon owns, started and stopped in order.
 *
 * The struct is open to the handlers of api/: its parts are set before the
 * HTTP threads start and stay until they have ended.
 */
#ifndef API_API_H
#define API_API_H

#include "api/event_loader.h"
#include "api/loops.h"
#include "common/compiler.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct actuator;
struct admission;
struct config;
struct error;
struct event_board;
struct http_server;
struct instance;
struct issue_meters;
struct metrics;
struct outbox;
struct pg_pools;
struct producer;
struct relay;
struct rebuild;
struct reconcile;
struct redis_shards;
struct reload;
struct settings;
struct migration;
struct upkeep;
struct worker;

struct api {
	struct actuator *actuator; /* first: actuator_routes look here */
	_Atomic(const struct settings *) settings; /* in force; live ones */
	struct metrics *metrics;
	struct redis_shards *shards;
	struct pg_pools *pg;
	struct event_loader loader; /* of these, and the rebuild */
	struct outbox *outbox;
	struct producer *producer;
	struct worker *worker;
	struct event_board *board;
	struct admission *admission;
	struct issue_meters *issue_meters;
	struct instance *instance;
	struct rebuild *rebuild;
	struct reconcile *reconcile;
	struct migration *migration;
	struct upkeep *upkeep;
	struct relay *relay;
	struct loops loops;
	_Atomic(struct http_server *) server; /* NULL until it is started */
	struct http_server *management;       /* NULL: same port */
	_Atomic bool draining;
	_Atomic bool was_trusted; /* Redis, once: from then on it is ready */
};

/*
 * Start everything; `settings` and `reload` are borrowed for good.  Waits for no server:
 * what is not there yet is tried again in the background.
 */
int api_start(const struct settings *settings, struct reload *reload,
	struct api **ret, struct error *err) NODISCARD;

/* New settings are in force (their live part). */
void api_configure(struct api *api, const struct settings *settings);

/*
 * The SIGTERM row of DESIGN 13: readiness goes DOWN, the listener stays for
 * server.drain-delay, then what is in flight gets server.shutdown-timeout.
 * True when everything was answered; what Kafka does not acknowledge in time
 * is left to the relay.
 */
bool api_drain(struct api *api);

/* After api_drain(); *api becomes NULL. */
void api_stop(struct api **api);

/* Those in force now: the live ones may change from call to call. */
const struct settings *api_settings(const struct api *api);

#endif
