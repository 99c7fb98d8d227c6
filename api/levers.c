/* SPDX-License-Identifier: MIT */
#include "api/levers.h"

#include "api/admission.h"
#include "api/api.h"
#include "api/breaker.h"
#include "common/actuator.h"
#include "common/audit.h"
#include "common/clock.h"
#include "common/config.h"

#include <ctype.h>
#include <jansson.h>

#define NAME "coupon-issue" /* the one breaker and limiter there is */
#define TRANSITION "STATE_TRANSITION"

/* clang-format off */
static http_handler get_breakers, post_breaker, get_events, get_limiters;

const struct http_route levers_routes[] = {
	{ "GET", "/actuator/circuitbreakers", get_breakers, ACTUATOR_GET },
	{ "POST", "/actuator/circuitbreakers/{name}", post_breaker,
		ACTUATOR_POST | HTTP_JSON_BODY },
	{ "GET", "/actuator/circuitbreakerevents", get_events, ACTUATOR_GET },
	{ "GET", "/actuator/circuitbreakerevents/{name}", get_events,
		ACTUATOR_GET },
	{ "GET", "/actuator/circuitbreakerevents/{name}/{eventType}",
		get_events, ACTUATOR_GET },
	{ "GET", "/actuator/ratelimiters", get_limiters, ACTUATOR_GET },
};
/* clang-format on */
const size_t levers_n_routes = ARRAY_SIZE(levers_routes);

static struct api *
api_of(const struct http_request *req)
{
	return http_request_app(req);
}

/* "HALF_OPEN" */
#define STATE_SIZE 16
static void
state_text(enum breaker_state state, char buf[STATE_SIZE])
{
	(void)snprintf(buf, STATE_SIZE, "%s", breaker_state_name(state));
	for (char *at = buf; *at != '\0'; at++)
		*at = (char)toupper((unsigned char)*at);
}

/* ---- GET /actuator/circuitbreakers ---- */

/* "-1.0%" while there are too few calls, as Resilience4j. */
static json_t *
percent_json(double percent)
{
	return json_sprintf("%.1f%%", percent);
}

static json_t *
snapshot_json(const struct breaker_snapshot *s, const struct settings *settings)
{
	char state[STATE_SIZE];

	state_text(s->state, state);
	return json_pack("{s:o, s:o, s:o, s:o, s:i, s:i, s:i, s:i, s:I, s:s, "
			 "s:I, s:I}",
		"failureRate", percent_json(s->failure_rate), "slowCallRate",
		percent_json(s->slow_rate), "failureRateThreshold",
		percent_json((
			double)settings->circuitbreaker_failure_rate_threshold),
		"slowCallRateThreshold",
		percent_json((double)settings
				     ->circuitbreaker_slow_call_rate_threshold),
		"bufferedCalls", (int)s->buffered, "failedCalls",
		(int)s->failed, "slowCalls", (int)s->slow, "slowFailedCalls",
		(int)s->slow_failed, "notPermittedCalls",
		(json_int_t)s->not_permitted, "state", state, "inStateMs",
		(json_int_t)(s->in_state_ns / NS_PER_MS), "lateResults",
		(json_int_t)s->late_results);
}

static json_t *
breaker_json(struct api *api, enum breaker_state *ret_state)
{
	struct breaker_snapshot snapshot;

	breaker_snapshot(
		admission_breaker(api->admission), clock_now_ns(), &snapshot);
	*ret_state = snapshot.state;
	return snapshot_json(&snapshot, api_settings(api));
}

static void
get_breakers(struct http_request *req)
{
	enum breaker_state state;
	json_t *json = breaker_json(api_of(req), &state);

	actuator_reply(req, 200,
		json_pack("{s:{s:o}}", "circuitBreakers", NAME, json));
}

/* Resilience4j's words.  That they count for nothing in the whole is its
 * rule too: an open breaker does its work. */
static const char *
health_text(enum breaker_state state)
{
	switch (state) {
	case BREAKER_CLOSED:
		return "UP";
	case BREAKER_OPEN:
	case BREAKER_FORCED_OPEN:
		return "CIRCUIT_OPEN";
	case BREAKER_HALF_OPEN:
		return "CIRCUIT_HALF_OPEN";
	case BREAKER_DISABLED:
		break;
	}
	return "UNKNOWN";
}

enum health
levers_breaker_health(void *arg, struct json_t *details)
{
	enum breaker_state state;
	json_t *json = breaker_json(arg, &state);

	(void)json_object_set_new(details, NAME,
		json_pack("{s:s, s:o}", "status", health_text(state), "details",
			json));
	return state == BREAKER_CLOSED ? HEALTH_UP : HEALTH_UNKNOWN;
}

/* ---- POST /actuator/circuitbreakers/{name} ---- */

static const struct {
	const char *update;
	enum breaker_state state;
} updates[] = {
	{ "CLOSE", BREAKER_CLOSED },
	{ "FORCE_OPEN", BREAKER_FORCED_OPEN },
	{ "DISABLE", BREAKER_DISABLED },
};

static bool
parse_update(const struct http_request *req, enum breaker_state *ret)
{
	size_t len;
	const char *body = http_request_body(req, &len);
	json_t *json = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
	const char *update =
		json_string_value(json_object_get(json, "updateState"));
	bool known = false;

	for (size_t i = 0; update != NULL && i < ARRAY_SIZE(updates); i++) {
		if (strcmp(updates[i].update, update) != 0)
			continue;
		*ret = updates[i].state;
		known = true;
	}
	json_decref(json);
	return known;
}

static void
post_breaker(struct http_request *req)
{
	struct api *api = api_of(req);
	enum breaker_state state;
	char text[STATE_SIZE];

	if (strcmp(http_request_path_param(req, "name"), NAME) != 0) {
		actuator_reply_empty(req, 404);
		return;
	}
	if (!parse_update(req, &state)) {
		actuator_reply_bad(req, "Parameter mapping failure",
			"/actuator/circuitbreakers/" NAME);
		return;
	}
	breaker_force(admission_breaker(api->admission), state, clock_now_ns());
	state_text(state, text);
	audit_request(req, "circuit breaker", NAME, text);
	actuator_reply(req, 200,
		json_pack("{s:s, s:s, s:s}", "circuitBreakerName", NAME,
			"currentState", text, "message",
			NAME " state has been changed successfully"));
}

/* ---- GET /actuator/circuitbreakerevents ---- */

static json_t *
event_json(const struct breaker_transition *event, int64_t now_ns)
{
	char from[STATE_SIZE], to[STATE_SIZE];
	char time[CLOCK_RFC3339_SIZE];

	state_text(event->from, from);
	state_text(event->to, to);
	clock_format_rfc3339(
		clock_wall_ms() - (now_ns - event->at_ns) / NS_PER_MS, time);
	return json_pack("{s:s, s:s, s:s, s:n, s:n, s:o}", "circuitBreakerName",
		NAME, "type", TRANSITION, "creationTime", time, "errorMessage",
		"durationInMs", "stateTransition",
		json_sprintf("%s_TO_%s", from, to));
}

/* "" is every name, and every type. */
static bool
is_asked_for(
	const struct http_request *req, const char *param, const char *value)
{
	const char *wanted = http_request_path_param(req, param);

	return *wanted == '\0' || strcmp(wanted, value) == 0;
}

static void
get_events(struct http_request *req)
{
	struct breaker *breaker = admission_breaker(api_of(req)->admission);
	struct breaker_transition events[BREAKER_HISTORY_MAX];
	json_t *json = json_array();
	size_t n = 0;

	if (is_asked_for(req, "name", NAME) &&
		is_asked_for(req, "eventType", TRANSITION))
		n = breaker_transitions(breaker, events);
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(
			json, event_json(&events[i], clock_now_ns()));
	actuator_reply(
		req, 200, json_pack("{s:o}", "circuitBreakerEvents", json));
}

/* ---- GET /actuator/ratelimiters ---- */

/* Resilience4j lists names only; what they stand for is a member of ours. */
static void
get_limiters(struct http_request *req)
{
	struct api *api = api_of(req);
	const struct settings *settings = api_settings(api);
	struct limiter_figures now = admission_limiter_figures(api->admission);
	char period[32];

	clock_format_duration(settings->ratelimiter_limit_refresh_period_ns,
		period, sizeof(period));
	actuator_reply(req, 200,
		json_pack("{s:[s], s:{s:{s:b, s:I, s:s, s:I, s:I}}}",
			"rateLimiters", NAME, "details", NAME, "enabled",
			settings->ratelimiter_enabled, "limitForPeriod",
			(json_int_t)settings->ratelimiter_limit_for_period,
			"limitRefreshPeriod", period, "availablePermissions",
			(json_int_t)now.available, "waiting",
			(json_int_t)now.waiting));
}
