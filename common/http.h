/* SPDX-License-Identifier: MIT */
/*
 * http - the HTTP server both daemons serve with: its threads and its
 * routes.
 *
 * A server is a fixed number of threads; each runs one libmicrohttpd daemon
 * in external-epoll mode on the shared port (SO_REUSEPORT) and one event loop
 * that other file descriptors can join.  A request belongs to its loop's
 * thread from the first byte to the last: handlers run there, replies are
 * given there, nothing is locked.  Work for other threads comes back with
 * http_loop_post().
 */
#ifndef COMMON_HTTP_H
#define COMMON_HTTP_H

#include "common/compiler.h"
#include "common/http_loop.h"
#include "common/http_request.h"

#include <stddef.h>
#include <stdint.h>

struct error;
struct metrics;
struct http_server;
struct settings;

/* ---- routes ---- */

enum http_route_flags {
	HTTP_ADMIN = 1 << 0,       /* needs the admin token */
	HTTP_MANAGEMENT = 1 << 1,  /* see enum http_serve */
	HTTP_JSON_BODY = 1 << 2,   /* a body of type application/json */
	HTTP_NO_DEADLINE = 1 << 3, /* no request-timeout (management) */
};

struct http_route {
	const char *method; /* "GET" (serves HEAD too), "POST" ... */
	/* "/api/coupons/{id}"; "{*rest}" takes the rest */
	const char *template;
	http_handler *handler;
	unsigned flags;
};

/* ---- server ---- */

/*
 * Which routes a server has.  With a management port of its own the daemon
 * starts two servers on one table, _BUSINESS and _MANAGEMENT.
 */
enum http_serve {
	HTTP_SERVE_ALL,
	HTTP_SERVE_BUSINESS,   /* those not HTTP_MANAGEMENT */
	HTTP_SERVE_MANAGEMENT, /* only those */
};

/* Strings and routes are borrowed for the server's life. */
struct http_config {
	const char *address;
	uint16_t port;
	unsigned threads; /* >= 1 */
	unsigned max_connections;
	unsigned idle_timeout_s;
	size_t max_body_size;
	int64_t request_timeout_ns; /* http_server_configure() changes it */
	unsigned access_log_sample;
	const char *admin_token;         /* NULL: admin routes answer 404 */
	const char *cors_origins;        /* management.cors-allowed-origins */
	const char *thread_name;         /* "http" -> http-0, http-1 ... */
	const struct http_route *routes; /* borrowed */
	size_t n_routes;
	enum http_serve serve;
	struct metrics *metrics; /* http.server.requests goes here */
	void *app;               /* http_request_app() */
	/* Per loop, on its thread; may be NULL. */
	void *(*start_loop)(void *app, struct http_loop *loop);
	/* End of each turn, after all ready requests were handled. */
	void (*turn)(void *loop_user);
	/* When the turn must end at the latest (deadlines of the user), or
	 * INT64_MAX. */
	int64_t (*next_deadline_ns)(void *loop_user);
	/* The last call: fail what is in flight, unwatch, free. */
	void (*stop_loop)(void *loop_user);
};

/* What the settings say; one thread "http", everything served, no routes. */
struct http_config http_config_of(const struct settings *settings);

/*
 * Bind, start the threads, return when all listen.  ERROR_SYSTEM when the
 * port is taken: err->msg names it and the process that has it.
 */
int http_server_start(const struct http_config *config,
	struct http_server **ret, struct error *err) NODISCARD;

/* Live: request timeout and access log sampling. */
void http_server_configure(struct http_server *server,
	int64_t request_timeout_ns, unsigned access_log_sample);

/* From now on every answer says Connection: close. */
void http_server_drain(struct http_server *server);

/* Stop accepting within 200 ms; what is queued until then is still taken.
 * Connections that are idle for a second are closed. */
void http_server_quiesce(struct http_server *server);

/* After both: no listener and no connection is left. */
bool http_server_is_drained(const struct http_server *server);

/* Requests accepted and not yet answered. */
size_t http_server_in_flight(const struct http_server *server);

/* How long the slowest loop has been busy with one turn: liveness. */
int64_t http_server_stalled_ns(const struct http_server *server);

/*
 * Ends the threads; what is in flight, or came unread, is answered 503
 * DRAINING.  Whoever posts
 * to the loops or holds requests elsewhere (workers) must have ended before;
 * what they have posted is still run.  NULL is a no-op.
 */
void http_server_stop(struct http_server *server);

#endif
