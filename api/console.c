/* SPDX-License-Identifier: MIT */
#include "api/console.h"

#include "api/api.h"
#include "api/console_files.h"
#include "common/actuator.h"
#include "common/config.h"
#include "common/log.h"
#include "common/version.h"

#include <ctype.h>
#include <jansson.h>

/* clang-format off */
static http_handler get_page, get_slash, get_file, get_settings;

const struct http_route console_routes[] = {
	{ "GET", "/console", get_page, ACTUATOR_GET },
	{ "GET", "/console/", get_slash, ACTUATOR_GET },
	{ "GET", "/console/settings", get_settings, ACTUATOR_GET },
	{ "GET", "/console/{*path}", get_file, ACTUATOR_GET },
};
/* clang-format on */
const size_t console_n_routes = ARRAY_SIZE(console_routes);

static const struct settings *
settings_of(const struct http_request *req)
{
	const struct api *api = http_request_app(req);

	return api_settings(api);
}

/* True when it was: 404, as if the api had no console. */
static bool
refused_as_off(struct http_request *req)
{
	if (settings_of(req)->console_enabled)
		return false;
	http_reply_problem(req, PROBLEM_NOT_FOUND, NULL);
	return true;
}

/* ---- where the consumers are ---- */

#define URL_MAX 256
#define URLS_MAX 32

/* ":8081", "http://consumer-0:8081": nothing that could end a directive. */
static bool
is_url(const char *url)
{
	const char *rest = url;

	if (*url == ':')
		rest = url + 1;
	else if (strncmp(url, "http://", 7) == 0)
		rest = url + 7;
	else if (strncmp(url, "https://", 8) == 0)
		rest = url + 8;
	else
		return false;
	for (const char *at = rest; *at != '\0'; at++) {
		if (!isalnum((unsigned char)*at) && strchr(".-:_", *at) == NULL)
			return false;
	}
	return *rest != '\0';
}

/* The next item of the comma-separated list, *list behind it. */
static bool
next_url(const char **list, char url[URL_MAX])
{
	*list += strspn(*list, ", ");
	size_t len = strcspn(*list, ", ");

	(void)snprintf(url, URL_MAX, "%.*s", (int)len, *list);
	*list += len;
	return len > 0;
}

static json_t *
urls_json(const struct settings *settings)
{
	const char *list = settings->console_consumer_urls;
	json_t *json = json_array();
	char url[URL_MAX];

	while (next_url(&list, url) && json_array_size(json) < URLS_MAX) {
		if (is_url(url))
			(void)json_array_append_new(json, json_string(url));
	}
	return json;
}

/* ---- the page ---- */

/* The name in "name:8080", when it can stand in a policy; else "". */
static void
host_name(const struct http_request *req, char *buf, size_t size)
{
	const char *host = http_request_header(req, "Host");
	size_t len = 0;

	if (host == NULL)
		host = "";
	while (isalnum((unsigned char)host[len]) || host[len] == '.' ||
		host[len] == '-')
		len++;
	if (host[len] != '\0' && host[len] != ':')
		len = 0; /* IPv6: a policy has no word for it */
	(void)snprintf(buf, size, "%.*s", (int)len, host);
}

#define POLICY_SIZE (1024 + URLS_MAX * URL_MAX)

static void
make_policy(const struct http_request *req, char policy[POLICY_SIZE])
{
	const char *list = settings_of(req)->console_consumer_urls;
	char host[URL_MAX];
	char url[URL_MAX];
	int len = snprintf(policy, POLICY_SIZE,
		"default-src 'none'; script-src 'self'; style-src 'self'; "
		"img-src 'self'; base-uri 'none'; form-action 'none'; "
		"frame-ancestors 'none'; require-trusted-types-for 'script'; "
		"trusted-types 'none'; connect-src 'self'");

	host_name(req, host, sizeof(host));
	for (int n = 0; n < URLS_MAX && next_url(&list, url); n++) {
		if (!is_url(url) || (*url == ':' && *host == '\0'))
			continue;
		len += snprintf(policy + len, (size_t)(POLICY_SIZE - len),
			" %s%s", *url == ':' ? host : "", url);
	}
}

static void
reply_file(struct http_request *req, const struct console_file *file)
{
	const struct console_body *body = console_file_body(
		file, http_request_header(req, "Accept-Encoding"));

	http_reply_header(req, "Cache-Control", "no-cache");
	http_reply_header(req, "ETag", body->etag);
	http_reply_header(req, "Vary", "Accept-Encoding");
	http_reply_header(req, "X-Content-Type-Options", "nosniff");
	http_reply_header(req, "Cross-Origin-Resource-Policy", "same-origin");
	if (console_body_is_known(
		    body, http_request_header(req, "If-None-Match"))) {
		http_reply(req, 304, NULL, "", 0);
		return;
	}
	if (body == &file->gzip)
		http_reply_header(req, "Content-Encoding", "gzip");
	http_reply_static(req, 200, file->type, body->bytes, body->len);
}

static void
get_page(struct http_request *req)
{
	char policy[POLICY_SIZE];

	if (refused_as_off(req))
		return;
	make_policy(req, policy);
	http_reply_header(req, "Content-Security-Policy", policy);
	http_reply_header(req, "X-Frame-Options", "DENY");
	http_reply_header(req, "Referrer-Policy", "no-referrer");
	http_reply_header(req, "Cross-Origin-Opener-Policy", "same-origin");
	http_reply_header(req, "Permissions-Policy",
		"camera=(), geolocation=(), microphone=()");
	reply_file(req, console_file_find("index.html"));
}

static void
get_slash(struct http_request *req)
{
	if (refused_as_off(req))
		return;
	http_reply_header(req, "Location", "../console");
	http_reply(req, 308, NULL, "", 0);
}

static void
get_file(struct http_request *req)
{
	const struct console_file *file =
		console_file_find(http_request_path_param(req, "path"));

	if (refused_as_off(req))
		return;
	if (file == NULL)
		http_reply_problem(req, PROBLEM_NOT_FOUND, NULL);
	else
		reply_file(req, file);
}

/* With the token in the request it says whether that is the right one. */
static void
get_settings(struct http_request *req)
{
	const struct settings *settings = settings_of(req);

	if (refused_as_off(req))
		return;
	http_reply_header(req, "Cache-Control", "no-store");
	http_reply_json(req, 200,
		json_pack("{s:s, s:o, s:b, s:b}", "version", COUPON_VERSION,
			"consumers", urls_json(settings), "levers",
			*settings->admin_token != '\0', "admin",
			http_request_is_admin(req)));
}

void
console_init(const struct settings *settings)
{
	const char *list = settings->console_consumer_urls;
	char url[URL_MAX];

	console_files_init();
	while (next_url(&list, url)) {
		if (!is_url(url))
			LOG_WARN("console.consumer-urls: neither :PORT nor "
				 "http://HOST:PORT, ignoring",
				LOG_STR("url", url));
	}
}
