/* SPDX-License-Identifier: MIT */
/*
 * actuator_refresh - POST /actuator/refresh, POST and DELETE /actuator/env,
 * GET /actuator/configprops.
 */
#include "common/actuator_internal.h"
#include "common/metrics.h"
#include "common/reload.h"

#include <jansson.h>

void
actuator_reload(struct actuator *actuator, struct reload *reload)
{
	actuator->reload = reload;
	metrics_collector(actuator->metrics, reload_collect, reload);
}

void
actuator_post_refresh(struct http_request *req)
{
	struct reload *reload = actuator_of(req)->reload;

	if (reload == NULL)
		actuator_reply_empty(req, 404);
	else
		reload_request(reload, req);
}

/* {"name": KEY, "value": TEXT, NUMBER or BOOLEAN}, as Spring Cloud takes it;
 * *ret_value is malloc'ed. */
static bool
parse_assignment(const json_t *body, const char **ret_key, char **ret_value)
{
	const json_t *value = json_object_get(body, "value");

	*ret_key = json_string_value(json_object_get(body, "name"));
	if (*ret_key == NULL)
		return false;
	if (json_is_string(value))
		*ret_value = strdup(json_string_value(value));
	else if (json_is_integer(value) || json_is_boolean(value))
		*ret_value = json_dumps(value, JSON_ENCODE_ANY);
	else
		return false;
	return *ret_value != NULL;
}

void
actuator_post_env(struct http_request *req)
{
	struct reload *reload = actuator_of(req)->reload;
	size_t len;
	const char *text = http_request_body(req, &len);
	json_t *body = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	const char *key;
	char *value = NULL;

	if (reload == NULL)
		actuator_reply_empty(req, 404);
	else if (parse_assignment(body, &key, &value))
		reload_override(reload, req, key, value);
	else
		actuator_reply_bad(req,
			"Expected {\"name\": ..., \"value\": ...}",
			"/actuator/env");
	free(value);
	json_decref(body);
}

void
actuator_delete_env(struct http_request *req)
{
	struct reload *reload = actuator_of(req)->reload;

	if (reload == NULL)
		actuator_reply_empty(req, 404);
	else
		reload_override(reload, req, NULL, NULL);
}

void
actuator_get_configprops(struct http_request *req)
{
	struct reload *reload = actuator_of(req)->reload;

	if (reload == NULL)
		actuator_reply_empty(req, 404);
	else
		actuator_reply_text(req, reload_configprops(reload));
}

/* {"contexts": {"application": {"beans": {...}}}}: drop the other beans. */
static bool
keep_beans(json_t *json, const char *prefix)
{
	json_t *beans = json_object_get(
		json_object_get(
			json_object_get(json, "contexts"), "application"),
		"beans");
	const char *name;
	json_t *bean;
	void *next;

	json_object_foreach_safe(beans, next, name, bean)
	{
		if (strcmp(name, prefix) != 0)
			(void)json_object_del(beans, name);
	}
	return json_object_size(beans) > 0;
}

void
actuator_get_configprops_of(struct http_request *req)
{
	struct reload *reload = actuator_of(req)->reload;
	char *text = reload != NULL ? reload_configprops(reload) : NULL;
	json_t *json = text != NULL ? json_loads(text, 0, NULL) : NULL;

	free(text);
	if (keep_beans(json, http_request_path_param(req, "prefix"))) {
		actuator_reply(req, 200, json);
		return;
	}
	json_decref(json);
	actuator_reply_empty(req, 404);
}
