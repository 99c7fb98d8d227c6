/* SPDX-License-Identifier: MIT */
/*
 * actuator_refresh - POST /actuator/refresh and GET /actuator/configprops.
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
