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

struct actuator {
	struct metrics *metrics;
	const char *daemon;
	enum log_level first_level; /* what clearing the level goes back to */
	_Atomic enum show_details show;
	/* By name; immutable once the server runs, like all below. */
	struct actuator_component components[ACTUATOR_COMPONENTS_MAX];
	size_t n_components;
	bool has_liveness;
	bool has_readiness;
	const struct http_route *routes;
	size_t n_routes;
};

struct actuator *actuator_of(const struct http_request *req);

/* 200 with malloc'ed JSON, which it takes ownership of; 503 when NULL. */
void actuator_reply_text(struct http_request *req, char *text);

/* A status alone: Spring's 404 and 204 have no body. */
void actuator_reply_empty(struct http_request *req, unsigned status);

/* Spring's 400; `path` is what was asked for. */
void actuator_reply_bad(
	struct http_request *req, const char *detail, const char *path);

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

#endif
