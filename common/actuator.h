/* SPDX-License-Identifier: MIT */
/*
 * actuator - /actuator as a Spring Boot operator knows it: health, info,
 * metrics, prometheus (loggers and the rest join it later).
 *
 * Health components report what background threads last saw; asking them
 * never borrows from a pool and never blocks.
 */
#ifndef COMMON_ACTUATOR_H
#define COMMON_ACTUATOR_H

#include "common/http.h"

#include <stdbool.h>

struct actuator;
struct json_t;
struct metrics;
struct settings;

enum health { HEALTH_UP, HEALTH_DOWN, HEALTH_OUT_OF_SERVICE, HEALTH_UNKNOWN };

/* `details` is a JSON object to fill; any thread of the server. */
typedef enum health health_fn(void *arg, struct json_t *details);

struct actuator *actuator_new(struct metrics *metrics, const char *daemon,
	const char *show_details);
void actuator_free(struct actuator *actuator);

/* Live: management.show-details. */
void actuator_configure(struct actuator *actuator, const char *show_details);

/* Before the server starts.  `name` is static: "redis", "db", "kafka". */
void actuator_health(struct actuator *actuator, const char *name,
	health_fn *fn, void *arg);
/* The two probe groups; each may be set once. */
void actuator_liveness(struct actuator *actuator, health_fn *fn, void *arg);
void actuator_readiness(struct actuator *actuator, health_fn *fn, void *arg);

/*
 * The routes below /actuator; append them to the daemon's table.  Handlers
 * find the actuator through http_request_app(): the app's struct must begin
 * with a `struct actuator *`.
 */
extern const struct http_route actuator_routes[];
extern const size_t actuator_n_routes;

#endif
