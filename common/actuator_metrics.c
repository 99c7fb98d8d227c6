/* SPDX-License-Identifier: MIT */
/*
 * actuator_metrics - /actuator/metrics and /actuator/prometheus.
 */
#include "common/actuator_internal.h"
#include "common/error.h"
#include "common/metrics.h"

/* More than a series has tags. */
#define VALUES_MAX 16

/* All values of a query parameter. */
struct values {
	const char *items[VALUES_MAX + 1]; /* ends with NULL */
	size_t count;                      /* may be more than fit */
};

static void
add_value(void *arg, const char *value)
{
	struct values *values = arg;

	if (values->count < VALUES_MAX)
		values->items[values->count] = value;
	values->count++;
}

void
actuator_get_names(struct http_request *req)
{
	actuator_reply_text(req, metrics_names_json(actuator_of(req)->metrics));
}

static void
reply_bad_metric(struct http_request *req, const char *name, const char *detail)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "/actuator/metrics/%s", name);
	actuator_reply_bad(req, detail, path);
}

void
actuator_get_metric(struct http_request *req)
{
	const char *name = http_request_path_param(req, "requiredMetricName");
	struct values tags = { 0 };
	struct error err;
	char *text;
	int rc;

	http_request_query_each(req, "tag", add_value, &tags);
	if (tags.count > VALUES_MAX) {
		reply_bad_metric(req, name, "Too many tag parameters");
		return;
	}
	rc = metrics_one_json(
		actuator_of(req)->metrics, name, tags.items, &text, &err);
	if (rc == 0)
		actuator_reply_text(req, text);
	else if (rc == -ERROR_BAD_INPUT)
		reply_bad_metric(req, name, err.msg);
	else
		actuator_reply_empty(req, rc == -ERROR_NOT_FOUND ? 404 : 503);
}

/* ---- prometheus ---- */

/* "a", "b,c" -> "a,b,c": NULL when there is none, or no memory. */
static const char *
join(struct http_request *req, const struct values *values)
{
	size_t size = 1;
	char *joined;

	for (size_t i = 0; values->items[i] != NULL; i++)
		size += strlen(values->items[i]) + 1;
	joined = size > 1 ? http_request_alloc(req, size) : NULL;
	for (size_t i = 0; joined != NULL && values->items[i] != NULL; i++) {
		(void)strncat(joined, values->items[i], size);
		(void)strncat(joined, ",", size);
	}
	return joined;
}

void
actuator_get_prometheus(struct http_request *req)
{
	const char *accept = http_request_header(req, "Accept");
	bool openmetrics =
		accept != NULL &&
		strcasestr(accept, "application/openmetrics-text") != NULL;
	struct values names = { 0 };
	size_t len;

	http_request_query_each(req, "includedNames", add_value, &names);
	char *text = metrics_prometheus(actuator_of(req)->metrics, openmetrics,
		join(req, &names), &len);
	if (text == NULL) {
		actuator_reply_empty(req, 503);
		return;
	}
	http_reply_owned(req, 200,
		openmetrics ? "application/openmetrics-text;version=1.0.0;"
			      "charset=utf-8"
			    : "text/plain;version=0.0.4;charset=utf-8",
		text, len);
}
