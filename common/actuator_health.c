/* SPDX-License-Identifier: MIT */
/*
 * actuator_health - /actuator/health, its components and the probe groups.
 */
#include "common/actuator_internal.h"

#include <assert.h>
#include <jansson.h>

#define LIVENESS "livenessState"
#define READINESS "readinessState"

/* Sorted, as the components of the answer are. */
void
actuator_health(
	struct actuator *actuator, const char *name, health_fn *fn, void *arg)
{
	size_t at = actuator->n_components++;

	assert(at < ACTUATOR_COMPONENTS_MAX);
	for (; at > 0 && strcmp(actuator->components[at - 1].name, name) > 0;
		at--)
		actuator->components[at] = actuator->components[at - 1];
	actuator->components[at] = (struct actuator_component){ name, fn, arg };
}

void
actuator_liveness(struct actuator *actuator, health_fn *fn, void *arg)
{
	assert(!actuator->has_liveness);
	actuator->has_liveness = true;
	actuator_health(actuator, LIVENESS, fn, arg);
}

void
actuator_readiness(struct actuator *actuator, health_fn *fn, void *arg)
{
	assert(!actuator->has_readiness);
	actuator->has_readiness = true;
	actuator_health(actuator, READINESS, fn, arg);
}

static const char *
status_name(enum health health)
{
	switch (health) {
	case HEALTH_UP:
		return "UP";
	case HEALTH_DOWN:
		return "DOWN";
	case HEALTH_OUT_OF_SERVICE:
		return "OUT_OF_SERVICE";
	case HEALTH_UNKNOWN:
		break;
	}
	return "UNKNOWN";
}

static unsigned
http_status(enum health health)
{
	return health == HEALTH_DOWN || health == HEALTH_OUT_OF_SERVICE ? 503
									: 200;
}

/* {"status": "UP", "details": {...}}, without the details when empty. */
static json_t *
ask(const struct actuator_component *component, enum health *ret)
{
	json_t *details = json_object();
	json_t *json;

	*ret = component->fn(component->arg, details);
	json = json_pack("{s:s}", "status", status_name(*ret));
	if (json_object_size(details) > 0)
		(void)json_object_set(json, "details", details);
	json_decref(details);
	return json;
}

/* Spring's order of severity. */
static enum health
worse(enum health a, enum health b)
{
	static const unsigned char rank[] = {
		[HEALTH_UNKNOWN] = 0,
		[HEALTH_UP] = 1,
		[HEALTH_OUT_OF_SERVICE] = 2,
		[HEALTH_DOWN] = 3,
	};

	return rank[a] >= rank[b] ? a : b;
}

static bool
shows_details(const struct actuator *actuator, const struct http_request *req)
{
	switch (atomic_load(&actuator->show)) {
	case SHOW_NEVER:
		return false;
	case SHOW_WHEN_AUTHORIZED:
		return http_request_is_admin(req);
	case SHOW_ALWAYS:
		break;
	}
	return true;
}

static json_t *
groups(const struct actuator *actuator)
{
	json_t *names = json_array();

	if (actuator->has_liveness)
		(void)json_array_append_new(names, json_string("liveness"));
	if (actuator->has_readiness)
		(void)json_array_append_new(names, json_string("readiness"));
	return names;
}

void
actuator_get_health(struct http_request *req)
{
	const struct actuator *actuator = actuator_of(req);
	enum health overall = HEALTH_UNKNOWN;
	json_t *components = json_object();

	for (size_t i = 0; i < actuator->n_components; i++) {
		const struct actuator_component *c = &actuator->components[i];
		enum health health;

		(void)json_object_set_new(components, c->name, ask(c, &health));
		overall = worse(overall, health);
	}
	json_t *json = json_pack("{s:s, s:o}", "status", status_name(overall),
		"groups", groups(actuator));
	if (shows_details(actuator, req))
		(void)json_object_set(json, "components", components);
	json_decref(components);
	actuator_reply(req, http_status(overall), json);
}

static const struct actuator_component *
find(const struct actuator *actuator, const char *name)
{
	for (size_t i = 0; i < actuator->n_components; i++) {
		if (strcmp(actuator->components[i].name, name) == 0)
			return &actuator->components[i];
	}
	return NULL;
}

/* A group for everybody, its status alone; a component with its details for
 * who may see them, and nothing for others. */
void
actuator_get_component(struct http_request *req)
{
	const struct actuator *actuator = actuator_of(req);
	const char *path = http_request_path_param(req, "path");
	const struct actuator_component *component = NULL;
	bool group = true;
	enum health health;

	if (strcmp(path, "liveness") == 0) {
		component = find(actuator, LIVENESS);
	} else if (strcmp(path, "readiness") == 0) {
		component = find(actuator, READINESS);
	} else if (shows_details(actuator, req)) {
		component = find(actuator, path);
		group = false;
	}
	if (component == NULL) {
		actuator_reply_empty(req, 404);
		return;
	}
	json_t *json = ask(component, &health);
	if (group)
		(void)json_object_del(json, "details");
	actuator_reply(req, http_status(health), json);
}
