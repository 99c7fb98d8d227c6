/* SPDX-License-Identifier: MIT */
/*
 * levers - what the operator of an api sees and moves below /actuator beyond
 * what both daemons have: circuit breaker, rate limiter, and the api's pools
 * and background threads.  The JSON of the first two is Resilience4j's.
 */
#ifndef API_LEVERS_H
#define API_LEVERS_H

#include "common/actuator.h"
#include "common/http.h"

#include <stddef.h>

struct api;

extern const struct http_route levers_routes[];
extern const size_t levers_n_routes;

/* The component circuitBreakers; `arg` is the api.  A health_fn. */
enum health levers_breaker_health(void *arg, struct json_t *details);

/* Pools and background threads are running, the servers not yet. */
void levers_register(struct api *api);

#endif
