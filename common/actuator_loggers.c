/* SPDX-License-Identifier: MIT */
/*
 * actuator_loggers - /actuator/loggers: the one logger there is, ROOT.
 */
#include "common/actuator_internal.h"
#include "common/audit.h"

#include <ctype.h>
#include <jansson.h>

#define ROOT_LOGGER "ROOT"

static json_t *
level_json(enum log_level level)
{
	char name[16];
	size_t len = 0;

	for (const char *c = log_level_name(level);
		*c != '\0' && len + 1 < sizeof(name); c++)
		name[len++] = (char)toupper((unsigned char)*c);
	name[len] = '\0';
	return json_string(name);
}

static json_t *
root_json(void)
{
	enum log_level level = log_get_level();

	return json_pack("{s:o, s:o}", "configuredLevel", level_json(level),
		"effectiveLevel", level_json(level));
}

void
actuator_get_loggers(struct http_request *req)
{
	json_t *levels = json_array();

	for (int level = LOG_LEVEL_OFF; level <= LOG_LEVEL_TRACE; level++)
		(void)json_array_append_new(
			levels, level_json((enum log_level)level));
	actuator_reply(req, 200,
		json_pack("{s:o, s:{s:o}, s:{}}", "levels", levels, "loggers",
			ROOT_LOGGER, root_json(), "groups"));
}

static bool
names_the_root(const struct http_request *req)
{
	return strcmp(http_request_path_param(req, "name"), ROOT_LOGGER) == 0;
}

void
actuator_get_logger(struct http_request *req)
{
	if (names_the_root(req))
		actuator_reply(req, 200, root_json());
	else
		actuator_reply_empty(req, 404);
}

/* {"configuredLevel": "DEBUG"}; null or nothing goes back to the first one. */
static bool
parse_level(const struct http_request *req, enum log_level first,
	enum log_level *ret)
{
	size_t len;
	const char *body = http_request_body(req, &len);
	json_t *json = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
	json_t *level = json_object_get(json, "configuredLevel");
	bool valid = json_is_object(json);

	if (level == NULL || json_is_null(level))
		*ret = first;
	else
		valid = json_is_string(level) &&
			log_level_parse(json_string_value(level), ret);
	json_decref(json);
	return valid;
}

void
actuator_post_logger(struct http_request *req)
{
	enum log_level before = log_get_level();
	enum log_level level;
	char result[32];

	if (!names_the_root(req)) {
		actuator_reply_empty(req, 404);
		return;
	}
	if (!parse_level(req, actuator_of(req)->first_level, &level)) {
		actuator_reply_bad(req, "Parameter mapping failure",
			"/actuator/loggers/" ROOT_LOGGER);
		return;
	}
	/* Written at the more talkative of the two levels. */
	(void)snprintf(result, sizeof(result), "%s to %s",
		log_level_name(before), log_level_name(level));
	log_set_level(level > before ? level : before);
	audit_request(req, "log level", ROOT_LOGGER, result);
	log_set_level(level);
	actuator_reply_empty(req, 204);
}
