/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * http.server.requests by method, template and status.  A series is found by
 * index, not by name: [place][method][status] holds its timer, made on first
 * use (by whichever loop: the registry hands both the same) or at the start,
 * for those that alerts and the autoscaler read.  A place is a route, or what
 * Spring calls NOT_FOUND (no such path) and UNKNOWN (broken framing).
 */
#include "common/http_request_internal.h"
#include "common/metrics.h"

#include <assert.h>
#include <stdlib.h>

static const struct metric_family families[] METRIC_FAMILY = {
	{
		.name = "http.server.requests",
		.kind = METRIC_TIMER,
		.description = "Requests answered, from headers to reply.",
		.histogram = true,
		.tags = "error, exception, method, outcome, status, uri",
	},
	{
		.name = "http.server.requests.active",
		.kind = METRIC_GAUGE,
		.description = "Requests accepted and not yet answered.",
		.tags = "server",
	},
	{
		.name = "http.server.request.timeout",
		.kind = METRIC_GAUGE,
		.base_unit = "seconds",
		.description = "server.request-timeout: whoever waits longer "
			       "is answered 503.",
		.tags = "server",
	},
	{
		.name = "http.server.connections",
		.kind = METRIC_GAUGE,
		.description = "Connections open; server.max-connections "
			       "bounds them.",
		.tags = "server",
	},
	{
		.name = "http.server.connections.displaced",
		.kind = METRIC_COUNTER,
		.description = "Connections without a request cut at "
			       "server.max-connections, for others to come in.",
		.tags = "server",
	},
};

static const unsigned statuses[] = { 200, 201, 202, 204, 400, 401, 403, 404,
	405, 409, 413, 415, 422, 429, 500, 503 };
#define N_STATUSES ARRAY_SIZE(statuses)

static const enum http_method methods[] = { HTTP_GET, HTTP_HEAD, HTTP_POST,
	HTTP_PUT, HTTP_DELETE, HTTP_PATCH, HTTP_OPTIONS, HTTP_OTHER };
#define N_METHODS ARRAY_SIZE(methods)

struct place {
	const char *uri;
	_Atomic(struct timer *) timers[N_METHODS][N_STATUSES];
};

struct http_meters {
	struct http_server *server;
	struct place *places; /* n_routes, then NOT_FOUND, then UNKNOWN */
};

static size_t
status_index(unsigned status)
{
	for (size_t i = 0; i < N_STATUSES; i++) {
		if (statuses[i] == status)
			return i;
	}
	return N_STATUSES;
}

static size_t
method_index(enum http_method method)
{
	size_t i = 0;

	while (methods[i] != method)
		i++;
	return i;
}

static const char *
outcome(unsigned status)
{
	static const char *const names[] = { "UNKNOWN", "INFORMATIONAL",
		"SUCCESS", "REDIRECTION", "CLIENT_ERROR", "SERVER_ERROR" };

	return names[status / 100 <= 5 ? status / 100 : 0];
}

static struct timer *
find_timer(struct http_meters *meters, const char *uri, enum http_method method,
	unsigned status)
{
	const char digits[] = { (char)('0' + status / 100 % 10),
		(char)('0' + status / 10 % 10), (char)('0' + status % 10),
		'\0' };

	return metrics_timer(meters->server->config.metrics, &families[0],
		METRIC_TAGS({ "error", "none" }, { "exception", "none" },
			{ "method", http_method_name(method) },
			{ "outcome", outcome(status) }, { "status", digits },
			{ "uri", uri }));
}

static struct timer *
timer_at(struct http_meters *meters, struct place *place,
	enum http_method method, unsigned status)
{
	size_t i = status_index(status);

	if (i == N_STATUSES) /* one nobody gives so far */
		return find_timer(meters, place->uri, method, status);
	_Atomic(struct timer *) *slot = &place->timers[method_index(method)][i];
	struct timer *timer = atomic_load_explicit(slot, memory_order_acquire);
	if (timer == NULL) {
		timer = find_timer(meters, place->uri, method, status);
		atomic_store_explicit(slot, timer, memory_order_release);
	}
	return timer;
}

static struct place *
place_of(const struct http_meters *meters, const struct http_request *req)
{
	size_t n_routes = meters->server->config.n_routes;

	if (req->match.route != NULL)
		return &meters->places[req->match.index];
	/* Refused before it was routed, or its path exists for others. */
	bool is_lost = req->match.allow == 0 && req->status == 404;
	return &meters->places[is_lost ? n_routes : n_routes + 1];
}

void
http_meters_record(const struct http_request *req, int64_t ns)
{
	struct http_meters *meters = req->loop->server->meters;

	timer_record(timer_at(meters, place_of(meters, req), req->method,
			     req->status),
		ns);
}

/* What alerts and the autoscaler ask for before it has happened: of users'
 * requests, for a scrape of many idle series costs CPU each time. */
static void
make_common(struct http_meters *meters, struct place *place,
	const struct http_route *route)
{
	enum http_method method = http_method_parse(route->method);
	static const unsigned usual[] = { 200, 400, 503 };
	static const unsigned of_posts[] = { 202, 409, 429 };

	if (route->flags & HTTP_MANAGEMENT)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		(void)timer_at(meters, place, method, usual[i]);
	for (size_t i = 0; i < ARRAY_SIZE(of_posts); i++) {
		if (route->flags & HTTP_JSON_BODY)
			(void)timer_at(meters, place, method, of_posts[i]);
	}
}

static void
collect(void *arg, struct metrics_sink *sink)
{
	const struct http_server *server = arg;
	const double values[] = {
		(double)http_server_in_flight(server),
		(double)atomic_load(&server->request_timeout_ns) / NS_PER_S,
		(double)atomic_load(&server->connections),
		(double)atomic_load(&server->displaced),
	};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		metrics_emit(sink, &families[1 + i],
			METRIC_TAGS({ "server", server->config.thread_name }),
			values[i]);
}

struct http_meters *
http_meters_new(struct http_server *server)
{
	const struct http_config *config = &server->config;
	struct http_meters *meters = calloc(1, sizeof(*meters));

	if (meters == NULL)
		return NULL;
	meters->server = server;
	meters->places =
		calloc(config->n_routes + 2, sizeof(meters->places[0]));
	if (meters->places == NULL) {
		free(meters);
		return NULL;
	}
	for (size_t i = 0; i < config->n_routes; i++) {
		meters->places[i].uri = config->routes[i].template;
		if (http_server_serves(config, &config->routes[i]))
			make_common(
				meters, &meters->places[i], &config->routes[i]);
	}
	meters->places[config->n_routes].uri = "NOT_FOUND";
	meters->places[config->n_routes + 1].uri = "UNKNOWN";
	metrics_collector(config->metrics, collect, server);
	return meters;
}

void
http_meters_free(struct http_meters *meters)
{
	if (meters == NULL)
		return;
	metrics_collector_remove(
		meters->server->config.metrics, collect, meters->server);
	free(meters->places);
	free(meters);
}
