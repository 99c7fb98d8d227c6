/* SPDX-License-Identifier: MIT */
#include "common/http_request_internal.h"
#include "common/json.h"
#include "common/log.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define COPY_MAX 16384 /* longer bodies do not go through the arena */
#define PROBLEM_SIZE 2048
#define DETAIL_SIZE 512 /* a sentence and an error's msg */

void
http_reply_header(struct http_request *req, const char *name, const char *value)
{
	if (req->n_reply_headers == HTTP_REPLY_HEADERS_MAX)
		return;
	struct http_pair pair = {
		.name = http_request_copy(req, name, strlen(name)),
		.value = http_request_copy(req, value, strlen(value)),
	};
	if (pair.name != NULL && pair.value != NULL)
		req->reply_headers[req->n_reply_headers++] = pair;
}

static void
log_access(struct http_request *req, int64_t took_ns)
{
	struct http_loop *loop = req->loop;
	unsigned every = atomic_load_explicit(
		&loop->server->access_log_sample, memory_order_relaxed);

	if (every == 0 || ++loop->since_access_log < every)
		return;
	loop->since_access_log = 0;
	LOG_INFO("request", LOG_STR("method", http_request_method(req)),
		LOG_STR("path", req->path), LOG_INT("status", req->status),
		LOG_INT("us", took_ns / NS_PER_US),
		LOG_INT("body_bytes", req->body_len),
		LOG_STR("client_id", http_request_client_id(req)),
		LOG_STR("traceparent", http_request_traceparent(req)));
}

/* Takes the response, NULL included (out of memory: the client is cut). */
static void
commit(struct http_request *req, unsigned status, struct MHD_Response *response,
	const char *content_type)
{
	const struct http_server *server = req->loop->server;
	const struct http_route *route = req->match.route;
	int64_t took_ns = clock_now_ns() - req->arrived_ns;

	if (route != NULL && (route->flags & HTTP_MANAGEMENT) != 0)
		http_cors_apply(req);
	if (content_type != NULL)
		(void)MHD_add_response_header(
			response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
	for (unsigned i = 0; i < req->n_reply_headers; i++)
		(void)MHD_add_response_header(response,
			req->reply_headers[i].name,
			req->reply_headers[i].value);
	if (req->close ||
		atomic_load_explicit(&server->draining, memory_order_relaxed))
		(void)MHD_add_response_header(
			response, MHD_HTTP_HEADER_CONNECTION, "close");
	req->status = status;
	http_meters_record(req, took_ns);
	log_access(req, took_ns);
	if (!http_request_answer(req, status, response))
		MHD_destroy_response(response);
}

/* Never NULL: a server that cannot allocate 200 bytes had better restart. */
static struct MHD_Response *
make_response(size_t len, const char *body, enum MHD_ResponseMemoryMode mode)
{
	/* The parameter is not const, but with these modes only read. */
	struct MHD_Response *response =
		MHD_create_response_from_buffer(len, (void *)body, mode);

	if (response == NULL)
		abort();
	return response;
}

void
http_reply(struct http_request *req, unsigned status, const char *content_type,
	const char *body, size_t len)
{
	const char *copy =
		len <= COPY_MAX ? http_request_copy(req, body, len) : NULL;
	struct MHD_Response *response =
		copy != NULL ? make_response(len, copy, MHD_RESPMEM_PERSISTENT)
			     : make_response(len, body, MHD_RESPMEM_MUST_COPY);

	commit(req, status, response, content_type);
}

void
http_reply_static(struct http_request *req, unsigned status,
	const char *content_type, const char *body, size_t len)
{
	commit(req, status, make_response(len, body, MHD_RESPMEM_PERSISTENT),
		content_type);
}

void
http_reply_owned(struct http_request *req, unsigned status,
	const char *content_type, char *body, size_t len)
{
	commit(req, status, make_response(len, body, MHD_RESPMEM_MUST_FREE),
		content_type);
}

void
http_reply_json(struct http_request *req, unsigned status, json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	if (text == NULL) {
		http_refuse(req, PROBLEM_INTERNAL_ERROR, NULL);
		return;
	}
	http_reply_owned(req, status, "application/json", text, strlen(text));
}

/* ---- problems ---- */

static void
add_headers(struct http_request *req, enum problem problem, int retry_after_s)
{
	char text[ROUTER_ALLOW_SIZE];

	if (retry_after_s > 0) {
		(void)snprintf(text, sizeof(text), "%d", retry_after_s);
		http_reply_header(req, "Retry-After", text);
	}
	if (problem == PROBLEM_METHOD_NOT_ALLOWED) {
		router_format_allow(req->match.allow, text);
		http_reply_header(req, "Allow", text);
	} else if (problem == PROBLEM_UNAUTHORIZED) {
		http_reply_header(req, "WWW-Authenticate", "Bearer");
	}
}

static void
add_member(struct json_text *text, const char *name, const char *value)
{
	if (value != NULL)
		json_text_member(text, name, value);
}

/*
 * A note is English, for the caller's programmer; whoever asked for Korean
 * reads it behind the sentence.
 */
static void
add_detail(struct json_text *text, const struct problem_info *info,
	const char *note, enum problem_language language)
{
	char both[DETAIL_SIZE];

	if (language == PROBLEM_EN) {
		add_member(
			text, "detail", note == NULL ? info->detail_en : note);
	} else if (note == NULL) {
		add_member(text, "detail", info->detail_ko);
	} else {
		(void)snprintf(
			both, sizeof(both), "%s (%s)", info->detail_ko, note);
		add_member(text, "detail", both);
	}
}

/* One line for what went wrong on our side. */
static void
log_failure(struct http_request *req, const struct problem_info *info,
	const struct problem_detail *detail)
{
	if (info->status < 500 || !log_is_enabled(LOG_LEVEL_WARN))
		return;
	LOG_WARN("request failed", LOG_STR("method", http_request_method(req)),
		LOG_STR("path", req->path), LOG_INT("status", info->status),
		LOG_STR("code", info->code), LOG_STR("reason", detail->reason),
		LOG_STR("outcome", detail->outcome),
		LOG_STR("request_id", detail->request_id),
		LOG_STR("client_id", http_request_client_id(req)),
		LOG_STR("traceparent", http_request_traceparent(req)));
}

void
http_reply_problem(struct http_request *req, enum problem problem,
	const struct problem_detail *detail)
{
	static const struct problem_detail none;
	const struct problem_info *info = problem_info(problem);
	char buf[PROBLEM_SIZE];
	struct json_text text;

	if (detail == NULL)
		detail = &none;

	json_text_init(&text, buf, sizeof(buf));
	add_member(&text, "type", info->type);
	add_member(&text, "title", info->title);
	json_text_number(&text, "status", info->status);
	add_member(&text, "code", info->code);
	add_detail(&text, info, detail->note,
		problem_language(req->headers.accept_language));
	add_member(&text, "requestId", detail->request_id);
	add_member(&text, "outcome", detail->outcome);
	add_member(&text, "reason", detail->reason);
	/* Last: the only one of any length, left out when it is too long. */
	add_member(&text, "instance", req->path);
	add_headers(req, problem, detail->retry_after_s);
	log_failure(req, info, detail);
	http_reply(req, info->status, "application/problem+json", buf,
		json_text_end(&text));
}

void
http_refuse(struct http_request *req, enum problem problem, const char *note)
{
	http_reply_problem(req, problem,
		&(struct problem_detail){
			.note = note,
			.retry_after_s =
				problem == PROBLEM_RATE_LIMITED ? 60 : 0,
		});
}
