/* SPDX-License-Identifier: MIT */
/*
 * actuator - /actuator as a Spring Boot operator knows it: health, info,
 * metrics, prometheus, loggers, refresh, configprops, threaddump,
 * scheduledtasks; and pools, the levers of our own.
 *
 * Health components report what background threads last saw; asking them
 * never borrows from a pool and never blocks.  Set up by one thread before
 * the server starts; afterwards any thread.
 */
#ifndef COMMON_ACTUATOR_H
#define COMMON_ACTUATOR_H

#include "common/http.h"

#include <stdbool.h>
#include <stdint.h>

struct actuator;
struct json_t;
struct metrics;
struct pool;
struct reload;

enum health { HEALTH_UP, HEALTH_DOWN, HEALTH_OUT_OF_SERVICE, HEALTH_UNKNOWN };

/* `details` is a JSON object to fill; any thread of the server. */
typedef enum health health_fn(void *arg, struct json_t *details);

/* `metrics` and `daemon` ("api") are borrowed.  Aborts when out of memory. */
struct actuator *actuator_new(
	struct metrics *metrics, const char *daemon, const char *show_details);
void actuator_free(struct actuator *actuator);

/* Live: management.show-details, "never", "when-authorized" or "always"; and
 * logging.level, which a cleared log level goes back to. */
void actuator_configure(struct actuator *actuator, const char *show_details,
	const char *logging_level);

#define ACTUATOR_COMPONENTS_MAX 16
/* Before the server starts.  `name` is static: "redis", "db", "kafka". */
void actuator_health(
	struct actuator *actuator, const char *name, health_fn *fn, void *arg);
/* The two probe groups; each may be set once.  In /actuator/health they are
 * the components livenessState and readinessState. */
void actuator_liveness(struct actuator *actuator, health_fn *fn, void *arg);
void actuator_readiness(struct actuator *actuator, health_fn *fn, void *arg);

/* Before the server starts, all borrowed: what POST /actuator/refresh runs. */
void actuator_reload(struct actuator *actuator, struct reload *reload);

#define ACTUATOR_POOLS_MAX 4
/* A pool to look into and to act on; `name` is static: "redis". */
void actuator_pool(
	struct actuator *actuator, const char *name, struct pool *pool);

/* What happens now and then in the background, as it stands. */
struct actuator_task {
	int64_t interval_ns;  /* 0: when there is cause */
	int64_t last_age_ns;  /* since its last run ended; -1: none has */
	int64_t last_took_ns; /* -1: not measured */
	char error[360];      /* of the last run; "": it went well */
};

/* `details` is a JSON object to fill; any thread of the server. */
typedef void task_fn(
	void *arg, struct actuator_task *ret, struct json_t *details);

#define ACTUATOR_TASKS_MAX 8
/* Listed in this order by /actuator/scheduledtasks. */
void actuator_task(
	struct actuator *actuator, const char *name, task_fn *fn, void *arg);

/*
 * The daemon's whole table (borrowed): what in it lies below /actuator is
 * listed by GET /actuator.  Without this call, only actuator_routes are.
 */
void actuator_links(struct actuator *actuator, const struct http_route *routes,
	size_t n_routes);

/* As Spring answers: application/vnd.spring-boot.actuator.v3+json, or
 * application/json to who asks for that.  Steals the reference. */
void actuator_reply(
	struct http_request *req, unsigned status, struct json_t *json);

/* A status alone: Spring's 404 and 204 have no body. */
void actuator_reply_empty(struct http_request *req, unsigned status);

/* Spring's 400; `path` is what was asked for. */
void actuator_reply_bad(
	struct http_request *req, const char *detail, const char *path);

/*
 * The routes below /actuator; append them to the daemon's table.  Handlers
 * find the actuator through http_request_app(): the app's struct must begin
 * with a `struct actuator *`.
 */
#define ACTUATOR_GET (HTTP_MANAGEMENT | HTTP_NO_DEADLINE)
#define ACTUATOR_POST (ACTUATOR_GET | HTTP_ADMIN)
extern const struct http_route actuator_routes[];
extern const size_t actuator_n_routes;

#endif
