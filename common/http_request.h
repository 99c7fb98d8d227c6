/* SPDX-License-Identifier: MIT */
/*
 * http_request - one request, from the call of its handler to its reply.
 *
 * It belongs to its loop's thread: every function here is for that thread.
 * The handler's side owes exactly one reply, in the handler or later, and
 * may use the request until then, whatever becomes of the client meanwhile;
 * after its reply it must not.  If its deadline passes first, we answer in its
 * place and its own reply, which it owes still, goes nowhere.  Strings handed
 * out live as long as the request.
 */
#ifndef COMMON_HTTP_REQUEST_H
#define COMMON_HTTP_REQUEST_H

#include "common/problem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_loop;
struct http_request;
struct json_t;

typedef void http_handler(struct http_request *req);

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
/* The address it came from, a gateway's perhaps; "" once the client left. */
#define HTTP_REMOTE_SIZE 64
void http_request_remote(
	const struct http_request *req, char buf[HTTP_REMOTE_SIZE]);
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
/* The body is static: it is not copied. */
void http_reply_static(struct http_request *req, unsigned status,
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
	const char *note;       /* English; says more than the table, or NULL */
	int retry_after_s;      /* 0: none */
};
void http_reply_problem(struct http_request *req, enum problem problem,
	const struct problem_detail *detail);

#endif
