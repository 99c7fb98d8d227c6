/* SPDX-License-Identifier: MIT */
/*
 * actuator_refresh - POST /actuator/refresh and GET /actuator/configprops.
 */
#include "common/actuator_internal.h"
#include "common/reload.h"

void
actuator_reload(struct actuator *actuator, struct reload *reload)
{
	actuator->reload = reload;
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
