/* SPDX-License-Identifier: MIT */
#include "common/actuator.h"

#include "common/actuator_internal.h"
#include "common/metrics.h"
#include "common/reload.h"

#include <jansson.h>

/* clang-format off */
#define GET(template, handler) \
	{ "GET", "/actuator" template, handler, ACTUATOR_GET }
#define POST(template, handler, more) \
	{ "POST", "/actuator" template, handler, ACTUATOR_POST | (more) }

const struct http_route actuator_routes[] = {
	GET("", actuator_get_links),
	GET("/health", actuator_get_health),
	GET("/health/{*path}", actuator_get_component),
	GET("/info", actuator_get_info),
	GET("/metrics", actuator_get_names),
	GET("/metrics/{requiredMetricName}", actuator_get_metric),
	GET("/prometheus", actuator_get_prometheus),
	GET("/loggers", actuator_get_loggers),
	GET("/loggers/{name}", actuator_get_logger),
	POST("/loggers/{name}", actuator_post_logger, HTTP_JSON_BODY),
	GET("/configprops", actuator_get_configprops),
	GET("/configprops/{prefix}", actuator_get_configprops_of),
	POST("/refresh", actuator_post_refresh, 0),
	POST("/env", actuator_post_env, HTTP_JSON_BODY),
	{ "DELETE", "/actuator/env", actuator_delete_env, ACTUATOR_POST },
	GET("/threaddump", actuator_get_threads),
	GET("/scheduledtasks", actuator_get_tasks),
	GET("/pools", actuator_get_pools),
	GET("/pools/{name}", actuator_get_pool),
	POST("/pools/{name}/{action}", actuator_post_pool, 0),
};
/* clang-format on */
const size_t actuator_n_routes = ARRAY_SIZE(actuator_routes);

struct actuator *
actuator_new(
	struct metrics *metrics, const char *daemon, const char *show_details)
{
	struct actuator *actuator = calloc(1, sizeof(*actuator));

	if (actuator == NULL)
		abort();
	actuator->metrics = metrics;
	actuator->daemon = daemon;
	actuator_links(actuator, actuator_routes, actuator_n_routes);
	actuator_configure(
		actuator, show_details, log_level_name(log_get_level()));
	return actuator;
}

void
actuator_free(struct actuator *actuator)
{
	if (actuator != NULL && actuator->reload != NULL)
		metrics_collector_remove(
			actuator->metrics, reload_collect, actuator->reload);
	free(actuator);
}

void
actuator_configure(struct actuator *actuator, const char *show_details,
	const char *logging_level)
{
	enum log_level level = LOG_LEVEL_INFO;
	enum show_details show = SHOW_NEVER;

	if (strcmp(show_details, "always") == 0)
		show = SHOW_ALWAYS;
	else if (strcmp(show_details, "when-authorized") == 0)
		show = SHOW_WHEN_AUTHORIZED;
	atomic_store(&actuator->show, show);
	(void)log_level_parse(logging_level, &level);
	atomic_store(&actuator->first_level, level);
}

void
actuator_links(struct actuator *actuator, const struct http_route *routes,
	size_t n_routes)
{
	actuator->routes = routes;
	actuator->n_routes = n_routes;
}

struct actuator *
actuator_of(const struct http_request *req)
{
	struct actuator *const *app = http_request_app(req);

	return *app;
}

/* ---- replies ---- */

static const char *
media_type(const struct http_request *req)
{
	const char *accept = http_request_header(req, "Accept");

	if (accept != NULL && strcasestr(accept, "application/json") != NULL &&
		strcasestr(accept, "actuator.v3+json") == NULL)
		return "application/json";
	return "application/vnd.spring-boot.actuator.v3+json";
}

static void
reply_text(
	struct http_request *req, unsigned status, const char *type, char *text)
{
	if (text == NULL)
		actuator_reply_empty(req, 503); /* out of memory */
	else
		http_reply_owned(req, status, type, text, strlen(text));
}

void
actuator_reply_text(struct http_request *req, char *text)
{
	reply_text(req, 200, media_type(req), text);
}

void
actuator_reply(struct http_request *req, unsigned status, struct json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));

	json_decref(json);
	reply_text(req, status, media_type(req), text);
}

void
actuator_reply_empty(struct http_request *req, unsigned status)
{
	http_reply(req, status, NULL, "", 0);
}

void
actuator_reply_bad(
	struct http_request *req, const char *detail, const char *path)
{
	json_t *json = json_pack("{s:s, s:s, s:i, s:s, s:s}", "type",
		"about:blank", "title", "Bad Request", "status", 400, "detail",
		detail, "instance", path);
	char *text = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	reply_text(req, 400, "application/problem+json", text);
}

/* ---- GET /actuator ---- */

#define ROOT "/actuator"

/* "/actuator/loggers/{name}" -> "loggers-name", "/actuator" -> "self" */
static void
link_name(const char *template, char *buf, size_t size)
{
	const char *rest = template + strlen(ROOT);
	size_t len = 0;

	if (*rest == '\0')
		rest = "/self";
	for (rest++; *rest != '\0' && len + 1 < size; rest++) {
		if (strchr("{}*", *rest) == NULL)
			buf[len++] = (char)(*rest == '/' ? '-' : *rest);
	}
	buf[len] = '\0';
}

static void
add_link(json_t *links, const char *host, const char *template)
{
	char name[128];
	char href[512];

	link_name(template, name, sizeof(name));
	(void)snprintf(href, sizeof(href), "http://%s%s", host, template);
	json_t *link = json_pack("{s:s, s:b}", "href", href, "templated",
		strchr(template, '{') != NULL);
	if (link != NULL) /* NULL: Host is no UTF-8 */
		(void)json_object_set_new(links, name, link);
}

void
actuator_get_links(struct http_request *req)
{
	const struct actuator *actuator = actuator_of(req);
	const char *host = http_request_header(req, "Host");
	json_t *links = json_object();

	if (host == NULL)
		host = "localhost"; /* HTTP/1.0 */
	for (size_t i = 0; i < actuator->n_routes; i++) {
		const char *template = actuator->routes[i].template;
		size_t root_len = strlen(ROOT);

		if (strncmp(template, ROOT, root_len) == 0 &&
			(template[root_len] == '/' ||
				template[root_len] == '\0'))
			add_link(links, host, template);
	}
	actuator_reply(req, 200, json_pack("{s:o}", "_links", links));
}
