/* SPDX-License-Identifier: MIT */
/*
 * http_cors - which pages of other origins may read a management answer: the
 * api's console, which shows the consumer's figures.
 *
 * Plain GETs only.  Nothing here answers a preflight, so no such page sends a
 * token, a JSON body or another method; and no answer depends on a cookie.
 */
#include "common/http_request_internal.h"

#include <string.h>

#define SAME_HOST "same-host"

/* The length of "name" or "[::1]" at the start of "name:port". */
static size_t
host_len(const char *authority)
{
	const char *bracket = *authority == '[' ? strchr(authority, ']') : NULL;

	return bracket != NULL ? (size_t)(bracket + 1 - authority)
			       : strcspn(authority, ":");
}

/* "http://db1:8080" asks for something at "db1:8081". */
static bool
is_same_host(const char *origin, const char *host)
{
	const char *scheme_end = strstr(origin, "://");

	if (scheme_end == NULL || host == NULL)
		return false;
	const char *authority = scheme_end + 3;
	size_t len = host_len(authority);

	return len > 0 && len == host_len(host) &&
	       strncasecmp(authority, host, len) == 0;
}

/* Is it an item of the comma-separated list, or what "same-host" stands for? */
static bool
is_allowed(const char *allowed, const char *origin, const char *host)
{
	size_t origin_len = strlen(origin);

	for (const char *item = allowed; *item != '\0';) {
		item += strspn(item, ", ");
		size_t len = strcspn(item, ", ");

		if (len == origin_len && strncasecmp(item, origin, len) == 0)
			return true;
		if (len == strlen(SAME_HOST) &&
			strncmp(item, SAME_HOST, len) == 0 &&
			is_same_host(origin, host))
			return true;
		item += len;
	}
	return false;
}

void
http_cors_apply(struct http_request *req)
{
	const char *allowed = req->loop->server->config.cors_origins;

	if (allowed == NULL || *allowed == '\0' || req->mhd == NULL ||
		(req->method != HTTP_GET && req->method != HTTP_HEAD))
		return;
	http_reply_header(req, "Vary", "Origin");
	const char *origin = http_request_header(req, "Origin");
	if (origin != NULL &&
		is_allowed(allowed, origin, http_request_header(req, "Host")))
		http_reply_header(req, "Access-Control-Allow-Origin", origin);
}
