/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * libmicrohttpd calls http_intake_access() when the headers are there, for
 * each piece of the body, when the request is complete, and then again and
 * again until a reply is queued.
 *
 * A reply queued at the first call closes the connection, the body being
 * unread; so only broken framing and a body too long are answered there.  Any
 * other refusal is noted and given when the request is complete, which keeps
 * the connection.  A chunked body that grows too long is read and dropped up
 * to SKIP_MAX, since libmicrohttpd takes no reply in the middle of one.
 *
 * What libmicrohttpd cannot parse never comes here: it answers 400, 414, 431
 * or 505 in its own words (no problem+json) and closes the connection.
 */
#include "common/http_request_internal.h"
#include "common/jitter.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

#define SKIP_MAX ((size_t)1024 * 1024)
#define BODY_FIRST 256 /* bytes of room, then doubled */

/* The default decodes the path before we could split it into segments. */
size_t
http_intake_unescape(void *cls, struct MHD_Connection *mhd, char *text)
{
	(void)cls;
	(void)mhd;
	return strlen(text);
}

/* ---- headers ---- */

static void
refuse_later(struct http_request *req, enum problem problem, const char *note)
{
	if (req->refusal >= 0)
		return;
	req->refusal = (int)problem;
	req->refusal_note = note;
}

/* *ret is `text` decoded, the request's own. */
static bool
decode(struct http_request *req, const char *text, size_t len, const char **ret)
{
	char *copy = http_request_room(req, len + 1);

	*ret = copy;
	return copy != NULL && http_percent_decode(copy, text, len);
}

static void
take_query(struct http_request *req, const char *name, size_t name_len,
	const char *value, size_t value_len)
{
	if (req->n_query == HTTP_QUERY_MAX) {
		refuse_later(req, PROBLEM_BAD_REQUEST,
			"The query has too many parameters.");
		return;
	}
	struct http_pair *pair = &req->query[req->n_query];
	if (!decode(req, name, name_len, &pair->name) ||
		!decode(req, value == NULL ? "" : value, value_len,
			&pair->value)) {
		refuse_later(req, PROBLEM_BAD_REQUEST,
			"The query is not percent-encoded UTF-8.");
		return;
	}
	req->n_query++;
}

static enum MHD_Result
/* NOLINTNEXTLINE(readability-function-size): libmicrohttpd's signature */
on_value(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
	const char *value, size_t value_len)
{
	struct http_request *req = cls;

	if (kind == MHD_HEADER_KIND)
		http_headers_add(&req->headers, name, name_len,
			value == NULL ? "" : value);
	else
		take_query(req, name, name_len, value, value_len);
	return MHD_YES;
}

static void
check_admin(struct http_request *req)
{
	char remote[HTTP_REMOTE_SIZE];

	switch (http_admin_check(req)) {
	case HTTP_ADMIN_OK:
		break;
	case HTTP_ADMIN_OFF:
		refuse_later(req, PROBLEM_NOT_FOUND, NULL);
		break;
	case HTTP_ADMIN_MISSING:
		refuse_later(req, PROBLEM_UNAUTHORIZED, NULL);
		break;
	case HTTP_ADMIN_WRONG:
		http_request_remote(req, remote);
		LOG_WARN("wrong admin token", LOG_STR("by", remote),
			LOG_STR("path", req->path));
		refuse_later(req, PROBLEM_FORBIDDEN, NULL);
		break;
	case HTTP_ADMIN_LIMITED:
		refuse_later(req, PROBLEM_RATE_LIMITED,
			"Too many wrong admin tokens.");
		break;
	}
}

static bool
is_of_the_right_type(const struct http_request *req)
{
	const char *type = req->headers.content_type;
	unsigned flags = req->match.route->flags;

	if (!(flags & HTTP_JSON_BODY))
		return true;
	return flags & HTTP_MANAGEMENT ? http_is_actuator_json(type)
				       : http_is_json(type);
}

/* Path and method: what it asks for, or why it gets nothing. */
static void
route(struct http_request *req)
{
	const struct router *router = req->loop->server->router;

	if (strcmp(req->path, "*") == 0 && req->method == HTTP_OPTIONS) {
		req->match.allow = router_methods(router);
		return;
	}
	router_find(router, req->method, req->path, &req->match);
	if (req->match.allow == 0) {
		refuse_later(req, PROBLEM_NOT_FOUND, NULL);
		return;
	}
	if (req->match.route == NULL) {
		if (req->method != HTTP_OPTIONS)
			refuse_later(req, PROBLEM_METHOD_NOT_ALLOWED, NULL);
		return;
	}
	for (unsigned i = 0; i < req->match.n_params; i++) {
		const struct router_param *param = &req->match.params[i];

		if (!decode(req, param->value, param->value_len,
			    &req->params[i]))
			refuse_later(req, PROBLEM_BAD_REQUEST,
				"The path is not percent-encoded UTF-8.");
	}
	if (req->match.route->flags & HTTP_ADMIN)
		check_admin(req);
	if (!is_of_the_right_type(req))
		refuse_later(req, PROBLEM_UNSUPPORTED_MEDIA_TYPE, NULL);
}

/* "http://host/path", as sent to proxies, means /path (RFC 9112 3.2.2). */
static const char *
path_of(const char *url)
{
	if (*url == '/')
		return url;
	const char *authority = strstr(url, "://");
	if (authority == NULL)
		return url;
	const char *path = strchr(authority + 3, '/');
	return path == NULL ? "/" : path;
}

static enum MHD_Result settle(struct http_request *req);

static enum MHD_Result
refuse_now(struct http_request *req, enum problem problem, const char *note)
{
	req->close = true;
	http_refuse(req, problem, note);
	return settle(req);
}

static enum MHD_Result
begin(struct http_request *req, const char *url, const char *method,
	const char *version)
{
	req->path = path_of(url);
	req->method = http_method_parse(method);
	MHD_get_connection_values_n(req->mhd,
		MHD_HEADER_KIND | MHD_GET_ARGUMENT_KIND, on_value, req);

	const char *fault = http_headers_fault(&req->headers, version);
	if (fault != NULL)
		return refuse_now(req, PROBLEM_BAD_REQUEST, fault);
	if (req->headers.content_length != NULL) {
		unsigned long long length =
			strtoull(req->headers.content_length, NULL, 10);

		if (length > req->loop->server->config.max_body_size)
			return refuse_now(req, PROBLEM_PAYLOAD_TOO_LARGE, NULL);
	}
	route(req);
	http_request_enlist(req);
	return MHD_YES;
}

/* ---- body ---- */

/* Room for `len` more bytes and a NUL; for what has come, not for what was
 * announced: who announces much and sends little shall cost little. */
static bool
make_room(struct http_request *req, size_t len)
{
	size_t need = req->body_len + len;
	size_t size = need < BODY_FIRST ? BODY_FIRST : 2 * need;

	if (need <= req->body_size)
		return true;
	if (size > req->loop->server->config.max_body_size)
		size = req->loop->server->config.max_body_size;
	char *body = http_request_room(req, size + 1);
	if (body == NULL)
		return false;
	if (req->body_len > 0)
		memcpy(body, req->body, req->body_len);
	req->body = body;
	req->body_size = size;
	return true;
}

static enum MHD_Result
take_body(struct http_request *req, const char *data, size_t len)
{
	size_t max = req->loop->server->config.max_body_size;

	if (req->body_skipped > 0 || len > max - req->body_len) {
		req->body_skipped += len;
		refuse_later(req, PROBLEM_PAYLOAD_TOO_LARGE, NULL);
		req->close = true;
		return req->body_skipped <= SKIP_MAX ? MHD_YES : MHD_NO;
	}
	if (!make_room(req, len))
		return MHD_NO;
	memcpy(req->body + req->body_len, data, len);
	req->body_len += len;
	req->body[req->body_len] = '\0';
	return MHD_YES;
}

/* ---- the complete request ---- */

static void
answer_options(struct http_request *req)
{
	char allow[ROUTER_ALLOW_SIZE];

	router_format_allow(req->match.allow, allow);
	http_reply_header(req, "Allow", allow);
	http_reply(req, MHD_HTTP_NO_CONTENT, NULL, "", 0);
}

/* Why no handler may have it any more; NULL: one may. */
static const char *
too_late(const struct http_request *req)
{
	if (req->loop->finishing)
		return "DRAINING";
	return req->deadline_ns <= req->loop->now_ns ? "TIMEOUT" : NULL;
}

static void
dispatch(struct http_request *req)
{
	const struct http_route *route = req->match.route;
	const char *reason = too_late(req);

	req->dispatched = true;
	http_conn_busy(req->conn);
	if (req->refusal >= 0) {
		http_refuse(req, (enum problem)req->refusal, req->refusal_note);
	} else if (route == NULL) {
		answer_options(req);
	} else if ((route->flags & HTTP_JSON_BODY) && req->body_len == 0) {
		http_refuse(req, PROBLEM_BAD_REQUEST, "The body is missing.");
	} else if (reason != NULL) {
		http_reply_problem(req, PROBLEM_SERVICE_UNAVAILABLE,
			&(struct problem_detail){
				.reason = reason,
				.outcome = "REFUSED",
				.retry_after_s = jitter_retry_after_s(),
			});
	} else {
		req->held = true;
		route->handler(req);
	}
}

static enum MHD_Result
queue(struct http_request *req)
{
	enum MHD_Result rc =
		MHD_queue_response(req->mhd, req->status, req->response);

	MHD_destroy_response(req->response); /* libmicrohttpd has its own ref */
	req->response = NULL;
	if (req->polls > 0)
		req->loop->late++;
	http_request_unpoll(req);
	return rc;
}

static void
poll_or_suspend(struct http_request *req)
{
	struct http_loop *loop = req->loop;

	if (req->polled && ++req->polls <= HTTP_POLLS_MAX)
		return;
	if (req->polls == 0 && loop->n_polled < HTTP_POLLED_MAX) {
		if (loop->n_polled++ == 0)
			loop->poll_again_ns = loop->now_ns + HTTP_POLL_NS;
		req->polled = true;
		req->polls = 1;
		return;
	}
	http_request_unpoll(req);
	req->suspended = true;
	MHD_suspend_connection(req->mhd);
}

/* Give libmicrohttpd the reply, or let it wait for one. */
static enum MHD_Result
settle(struct http_request *req)
{
	if (req->response != NULL)
		return queue(req);
	poll_or_suspend(req);
	return MHD_YES;
}

enum MHD_Result
/* NOLINTNEXTLINE(readability-function-size): libmicrohttpd's signature */
http_intake_access(void *cls, struct MHD_Connection *mhd, const char *url,
	const char *method, const char *version, const char *data,
	size_t *data_len, void **ctx)
{
	struct http_loop *loop = cls;
	struct http_request *req = *ctx;

	if (req == NULL) {
		const union MHD_ConnectionInfo *info = MHD_get_connection_info(
			mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

		if (info->socket_context == NULL)
			return MHD_NO;
		req = http_request_new(loop, info->socket_context, mhd);
		if (req == NULL)
			return MHD_NO;
		*ctx = req;
		return begin(req, url, method, version);
	}
	if (*data_len > 0) {
		size_t len = *data_len;

		*data_len = 0;
		return take_body(req, data, len);
	}
	if (!req->dispatched)
		dispatch(req);
	return settle(req);
}

void
http_intake_completed(void *cls, struct MHD_Connection *mhd, void **ctx,
	enum MHD_RequestTerminationCode code)
{
	struct http_request *req = *ctx;

	(void)cls;
	(void)mhd;
	(void)code;
	*ctx = NULL;
	if (req != NULL)
		http_request_detach(req);
}
