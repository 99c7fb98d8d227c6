/* SPDX-License-Identifier: MIT */
/*
 * actuator_internal - what common/actuator*.c share.
 */
#ifndef COMMON_ACTUATOR_INTERNAL_H
#define COMMON_ACTUATOR_INTERNAL_H

#include "common/actuator.h"
#include "common/log.h"

#include <stdatomic.h>

enum show_details { SHOW_NEVER, SHOW_WHEN_AUTHORIZED, SHOW_ALWAYS };

struct actuator_component {
	const char *name;
	health_fn *fn;
	void *arg;
};

struct actuator_named_pool {
	const char *name;
	struct pool *pool;
};

struct actuator_named_task {
	const char *name;
	task_fn *fn;
	void *arg;
};

struct actuator {
	struct metrics *metrics;
	const char *daemon;
	/* What clearing the level goes back to. */
	_Atomic enum log_level first_level;
	_Atomic enum show_details show;
	/* By name; immutable once the server runs, like all below. */
	struct actuator_component components[ACTUATOR_COMPONENTS_MAX];
	size_t n_components;
	bool has_liveness;
	bool has_readiness;
	struct reload *reload; /* NULL: none */
	struct actuator_named_pool pools[ACTUATOR_POOLS_MAX];
	size_t n_pools;
	struct actuator_named_task tasks[ACTUATOR_TASKS_MAX];
	size_t n_tasks;
	const struct http_route *routes;
	size_t n_routes;
};

struct actuator *actuator_of(const struct http_request *req);

/* 200 with malloc'ed JSON, which it takes ownership of; 503 when NULL. */
void actuator_reply_text(struct http_request *req, char *text);

/* Handlers */
void actuator_get_links(struct http_request *req);
void actuator_get_health(struct http_request *req);
void actuator_get_component(struct http_request *req);
void actuator_get_info(struct http_request *req);
void actuator_get_names(struct http_request *req);
void actuator_get_metric(struct http_request *req);
void actuator_get_prometheus(struct http_request *req);
void actuator_get_loggers(struct http_request *req);
void actuator_get_logger(struct http_request *req);
void actuator_post_logger(struct http_request *req);
void actuator_post_refresh(struct http_request *req);
void actuator_post_env(struct http_request *req);
void actuator_delete_env(struct http_request *req);
void actuator_get_configprops(struct http_request *req);
void actuator_get_configprops_of(struct http_request *req);
void actuator_get_pools(struct http_request *req);
void actuator_get_pool(struct http_request *req);
void actuator_post_pool(struct http_request *req);
void actuator_get_threads(struct http_request *req);
void actuator_get_tasks(struct http_request *req);

#endif
