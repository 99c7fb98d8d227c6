/* SPDX-License-Identifier: MIT */
/*
 * http_app - a small server to test the HTTP kit with.
 *
 *	GET  /hello             "hello"
 *	POST /echo              the JSON body
 *	POST /plain             the length of the body, of any type
 *	GET  /items/{id}        the id
 *	GET  /query             the parameter q, or 404
 *	GET  /thread            answered by another thread 20 ms later
 *	GET  /turn              answered by the turn hook
 *	GET  /never             never answered by the handler
 *	GET  /overdue           answered by its on_deadline: 503, note "mine"
 *	GET  /stubborn          answered after its deadline, too late
 *	GET  /big               a megabyte
 *	GET  /block             after 300 ms in which the loop does nothing else
 *	GET  /who               client id and traceparent
 *	PUT  /secret            HTTP_ADMIN
 *	GET  /actuator/state    HTTP_MANAGEMENT, HTTP_NO_DEADLINE
 */
#ifndef COMMON_TESTS_HTTP_APP_H
#define COMMON_TESTS_HTTP_APP_H

#include "common/http.h"

#include <stdint.h>

struct app {
	struct http_server *server;
	struct metrics *metrics;
	uint16_t port;
};

/* Two threads, a deadline of 300 ms, idle-timeout 1 s, bodies up to 4096. */
struct http_config app_config(void);

/* On a free port; fails the test otherwise. */
void app_start(struct app *app, struct http_config config);
void app_stop(struct app *app);

/* Requests whose handler was called. */
unsigned app_handled(void);

#endif
