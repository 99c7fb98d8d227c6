/* SPDX-License-Identifier: MIT */
/*
 * What a handler reads from its request.  All strings are the request's own
 * copies: they outlive the client's connection.
 */
#include "common/http_request_internal.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

struct http_loop *
http_request_loop(const struct http_request *req)
{
	return req->loop;
}

void *
http_request_app(const struct http_request *req)
{
	return req->loop->server->config.app;
}

const char *
http_request_method(const struct http_request *req)
{
	return http_method_name(req->method);
}

const char *
http_request_path_param(const struct http_request *req, const char *name)
{
	size_t len = strlen(name);

	for (unsigned i = 0; i < req->match.n_params; i++) {
		const struct router_param *param = &req->match.params[i];

		if (param->name_len == len &&
			memcmp(param->name, name, len) == 0)
			return req->params[i];
	}
	return "";
}

const char *
http_request_query(const struct http_request *req, const char *name)
{
	for (unsigned i = 0; i < req->n_query; i++) {
		if (strcmp(req->query[i].name, name) == 0)
			return req->query[i].value;
	}
	return NULL;
}

void
http_request_query_each(const struct http_request *req, const char *name,
	void (*fn)(void *arg, const char *value), void *arg)
{
	for (unsigned i = 0; i < req->n_query; i++) {
		if (strcmp(req->query[i].name, name) == 0)
			fn(arg, req->query[i].value);
	}
}

/* The arena is not part of what `const` promises. */
static const char *
keep(const struct http_request *req, const char *value)
{
	return http_request_copy(
		(struct http_request *)req, value, strlen(value));
}

const char *
http_request_header(const struct http_request *req, const char *name)
{
	const char *value = req->mhd == NULL
				    ? NULL
				    : MHD_lookup_connection_value(
					      req->mhd, MHD_HEADER_KIND, name);

	return value == NULL ? NULL : keep(req, value);
}

const char *
http_request_body(const struct http_request *req, size_t *ret_len)
{
	*ret_len = req->body_len;
	return req->body == NULL ? "" : req->body;
}

int64_t
http_request_deadline_ns(const struct http_request *req)
{
	return req->deadline_ns;
}

int64_t
http_request_arrived_ns(const struct http_request *req)
{
	return req->arrived_ns;
}

bool
http_request_is_admin(const struct http_request *req)
{
	return http_admin_check(req) == HTTP_ADMIN_OK;
}

void
http_request_remote(const struct http_request *req, char buf[HTTP_REMOTE_SIZE])
{
	const union MHD_ConnectionInfo *info =
		req->mhd == NULL ? NULL
				 : MHD_get_connection_info(req->mhd,
					   MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	if (info == NULL ||
		getnameinfo(info->client_addr, sizeof(struct sockaddr_in6), buf,
			HTTP_REMOTE_SIZE, NULL, 0, NI_NUMERICHOST) != 0)
		buf[0] = '\0';
}

const char *
http_request_client_id(const struct http_request *req)
{
	const char *value = req->headers.request_id;

	if (value == NULL || !http_is_client_id(value))
		return "";
	value = keep(req, value);
	return value == NULL ? "" : value;
}

const char *
http_request_traceparent(const struct http_request *req)
{
	const char *value = req->headers.traceparent;

	return value == NULL || !http_is_traceparent(value) ? NULL
							    : keep(req, value);
}

void
http_request_set_user(struct http_request *req, void *user)
{
	req->user = user;
}

void *
http_request_user(const struct http_request *req)
{
	return req->user;
}

void
http_request_on_deadline(struct http_request *req, http_handler *fn)
{
	req->on_deadline = fn;
}
