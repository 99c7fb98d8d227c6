/* SPDX-License-Identifier: MIT */
#include "common/audit.h"

#include "common/http.h"
#include "common/log.h"

static void
write_line(const char *by, const char *client_id, const char *action,
	const char *target, const char *result)
{
	const struct log_field fields[LOG_FIELDS_MAX] = {
		LOG_STR("action", action),
		LOG_STR("target", target),
		LOG_STR("result", result),
		LOG_STR("by", by),
		LOG_STR("client_id", client_id),
	};

	log_write(NULL, LOG_LEVEL_WARN, "changed by an operator", fields);
}

void
audit(const char *by, const char *action, const char *target,
	const char *result)
{
	write_line(by, "", action, target, result);
}

void
audit_request(const struct http_request *req, const char *action,
	const char *target, const char *result)
{
	char remote[HTTP_REMOTE_SIZE];

	http_request_remote(req, remote);
	write_line(remote, http_request_client_id(req), action, target, result);
}
