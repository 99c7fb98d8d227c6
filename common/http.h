/* SPDX-License-Identifier: MIT */
/*
 * http - the HTTP server both daemons serve with: event loops, routes,
 * requests, replies.
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
#include "common/problem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct metrics;
struct json_t;
struct http_loop;
struct http_request;
struct http_server;

/* ---- loops (all but http_loop_post: from the loop's own thread) ---- */

/* `fd` became ready (EPOLLIN ...). */
typedef void http_fd_fn(void *arg, uint32_t events);

/* Watch `fd`; replaces an earlier watch.  events 0 takes it away. */
int http_loop_watch(struct http_loop *loop, int fd, uint32_t events,
	http_fd_fn *fn, void *arg, struct error *err) NODISCARD;
void http_loop_unwatch(struct http_loop *loop, int fd);

/* Run `fn` on the loop's thread soon.  Any thread.  `post` is the caller's
 * memory and is his again when fn runs. */
struct http_post {
	struct http_post *next; /* the loop's */
	void (*fn)(struct http_post *post);
};
void http_loop_post(struct http_loop *loop, struct http_post *post);

/* 0 .. threads-1 */
unsigned http_loop_index(const struct http_loop *loop);

/* clock_now_ns() as of this turn: cheap. */
int64_t http_loop_now_ns(const struct http_loop *loop);

/* What start_loop returned for this loop. */
void *http_loop_user(const struct http_loop *loop);

/* ---- routes ---- */

typedef void http_handler(struct http_request *req);

enum http_route_flags {
	HTTP_ADMIN = 1 << 0,      /* needs the admin token */
	HTTP_MANAGEMENT = 1 << 1, /* on the management port when there is one */
	HTTP_JSON_BODY =
		1 << 2, /* body required: Content-Type application/json */
	HTTP_NO_DEADLINE = 1 << 3, /* no request-timeout (management) */
};

struct http_route {
	const char *method; /* "GET" (serves HEAD too), "POST", "PUT" */
	const char
		*template; /* "/api/coupons/{id}"; "{*rest}" takes the rest */
	http_handler *handler;
	unsigned flags;
};

/* ---- server ---- */

/* Which routes a server has. */
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
	void (*stop_loop)(void *loop_user);
};

/*
 * Bind, start the threads, return when all listen.  ERROR_SYSTEM when the
 * port is taken: err->msg names it and the process that has it.
 */
int http_server_start(const struct http_config *config,
	struct http_server **ret, struct error *err) NODISCARD;

/* Live: request timeout and access log sampling. */
void http_server_configure(struct http_server *server,
	int64_t request_timeout_ns, unsigned access_log_sample);

/* From now on every answer says Connection: close and idle ones are closed. */
void http_server_drain(struct http_server *server);

/* Stop accepting (what is queued is still taken). */
void http_server_quiesce(struct http_server *server);

/* Requests accepted and not yet answered. */
size_t http_server_in_flight(const struct http_server *server);

/* Nanoseconds since the slowest loop last turned: liveness. */
int64_t http_server_stalled_ns(const struct http_server *server);

/* Ends the threads; what is in flight is answered 503 DRAINING.  NULL ok. */
void http_server_stop(struct http_server *server);

/* ---- requests: strings they return live as long as the request ---- */

struct http_loop *http_request_loop(const struct http_request *req);
void *http_request_app(const struct http_request *req);
const char *http_request_method(const struct http_request *req);
/* The value of "{name}" in the template, percent-decoded; never NULL. */
const char *http_request_path_param(
	const struct http_request *req, const char *name);
/* NULL when absent.  Nth of several: http_request_query_each(). */
const char *http_request_query(
	const struct http_request *req, const char *name);
void http_request_query_each(const struct http_request *req, const char *name,
	void (*fn)(void *arg, const char *value), void *arg);
const char *http_request_header(
	const struct http_request *req, const char *name);
/* NUL-terminated behind len bytes. */
const char *http_request_body(const struct http_request *req, size_t *ret_len);
/* clock_now_ns() scale; INT64_MAX for HTTP_NO_DEADLINE routes. */
int64_t http_request_deadline_ns(const struct http_request *req);
int64_t http_request_arrived_ns(const struct http_request *req);
/* True when it carried a valid admin token (also on routes not HTTP_ADMIN). */
bool http_request_is_admin(const struct http_request *req);
/* Sanitised X-Request-Id of the client for the log, or "". */
const char *http_request_client_id(const struct http_request *req);
/* Validated W3C traceparent, or NULL. */
const char *http_request_traceparent(const struct http_request *req);
/* Memory that lives as long as the request, zeroed; NULL when out of it. */
void *http_request_alloc(struct http_request *req, size_t size);

/* The handler's own pointer, for its on_deadline; NULL until set. */
void http_request_set_user(struct http_request *req, void *user);
void *http_request_user(const struct http_request *req);

/*
 * Called once if the deadline passes before a reply, on the loop's thread;
 * must reply.  Without it the kit answers 503 TIMEOUT UNKNOWN.
 */
void http_request_on_deadline(struct http_request *req, http_handler *fn);

/* ---- replies: exactly one per request, in the handler or later ---- */

/* Before the reply.  Both strings are copied. */
void http_reply_header(
	struct http_request *req, const char *name, const char *value);
void http_reply(struct http_request *req, unsigned status,
	const char *content_type, const char *body, size_t len);
/* Takes ownership of the malloc'ed body. */
void http_reply_owned(struct http_request *req, unsigned status,
	const char *content_type, char *body, size_t len);
/* application/json; steals the reference. */
void http_reply_json(
	struct http_request *req, unsigned status, struct json_t *json);

/* application/problem+json in the client's language (common/problem.def). */
struct problem_detail {
	const char *reason;     /* member "reason", or NULL */
	const char *outcome;    /* "REFUSED", "UNKNOWN", or NULL */
	const char *request_id; /* or NULL */
	const char *note;       /* replaces the table's detail, or NULL */
	int retry_after_s;      /* 0: none */
};
void http_reply_problem(struct http_request *req, enum problem problem,
	const struct problem_detail *detail);

#endif
