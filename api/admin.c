/* SPDX-License-Identifier: MIT */
#include "api/admin.h"

#include "api/api.h"
#include "api/dispatch.h"
#include "api/event_store.h"
#include "api/issue_verdict.h"
#include "api/reply.h"
#include "api/worker.h"
#include "common/audit.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/http.h"
#include "common/json.h"
#include "common/log.h"
#include "common/text.h"

#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>

struct admin_query {
	struct http_request *req;
	const struct event_loader *loader;
	bool creates;
	struct event_creation creation; /* creates */
	struct event_request request;   /* changes */
	struct worker_job job;
	/* What came of it. */
	enum event_change change;
	struct coupon coupon;
	struct event_figures figures;
	bool has_figures;
};

/* ---- on a worker ---- */

/* Best effort: the upkeep publishes again what fails here. */
static void
publish(struct admin_query *query, int64_t deadline_ns)
{
	const struct event_loader *loader = query->loader;
	struct error err;

	if (event_publish(loader, &query->coupon, deadline_ns, &err) != 0) {
		LOG_WARN("event not published to Redis, trying again later",
			LOG_INT("coupon", query->coupon.id), LOG_ERR(&err));
		return;
	}
	query->has_figures = event_figures_read(loader, query->coupon.id,
				     deadline_ns, &query->figures, &err) == 0;
}

static int
run(struct worker_job *job, struct error *err)
{
	struct admin_query *query = container_of(job, struct admin_query, job);
	const struct store_call call = { query->loader->pg, job->deadline_ns };
	int rc = query->creates ? event_store_create(&call, &query->creation,
					  &query->change, &query->coupon, err)
				: event_store_change(&call, &query->request,
					  &query->change, &query->coupon, err);

	if (rc != 0 || query->change == EVENT_NOT_FOUND)
		return rc;
	publish(query, job->deadline_ns);
	return 0;
}

/* ---- back on the loop ---- */

static void
reply_event(struct admin_query *query)
{
	struct coupon_view view;
	char location[64];
	bool created = query->creates && query->change == EVENT_CHANGED;

	(void)snprintf(location, sizeof(location), "/api/coupons/%" PRId64,
		query->coupon.id);
	if (query->creates)
		http_reply_header(query->req, "Location", location);
	coupon_view_init(&view, &query->coupon,
		query->has_figures ? &query->figures : NULL, clock_wall_ms());
	http_reply_json(query->req, created ? 201 : 200,
		coupon_to_json(&query->coupon, &view));
}

static void
reply_invalid_state(struct admin_query *query, const char *note)
{
	const struct problem_detail detail = { .note = note };

	http_reply_problem(query->req, PROBLEM_INVALID_STATE, &detail);
}

static void
reply_failed(struct admin_query *query)
{
	const struct error *err = &query->job.err;
	/* A statement whose answer was lost may have been carried out. */
	bool unknown =
		query->job.started && (err->kind == ERROR_TIMEOUT ||
					      err->kind == ERROR_DATABASE_DOWN);

	LOG_WARN("admin request failed", LOG_ERR(err));
	reply_unavailable(query->req, database_reason(err->kind),
		unknown ? "UNKNOWN" : "REFUSED");
}

static const char *
action_of(const struct admin_query *query)
{
	static const char *const names[] = {
		[EVENT_ACTION_OPEN] = "open event",
		[EVENT_ACTION_CLOSE] = "close event",
		[EVENT_ACTION_TOTAL] = "event total",
	};

	return query->creates ? "create event" : names[query->request.action];
}

static void
audit_change(const struct admin_query *query)
{
	char target[24], result[64];

	*text_put_int(target, query->coupon.id) = '\0';
	(void)snprintf(result, sizeof(result),
		"version %" PRId64 ", total %" PRId64, query->coupon.version,
		query->coupon.total);
	audit_request(query->req, action_of(query), target, result);
}

static void
done(struct worker_job *job)
{
	struct admin_query *query = container_of(job, struct admin_query, job);

	if (job->rc != 0) {
		reply_failed(query);
		return;
	}
	switch (query->change) {
	case EVENT_CHANGED:
		latches_clear(); /* there may be more stock, or an event */
		audit_change(query);
		reply_event(query);
		break;
	case EVENT_UNCHANGED:
		reply_event(query);
		break;
	case EVENT_NOT_FOUND:
		reply_not_found(query->req, PROBLEM_COUPON_NOT_FOUND);
		break;
	case EVENT_CLOSED:
		reply_invalid_state(query, "The event is closed for good.");
		break;
	case EVENT_TOTAL_LOWERED:
		reply_invalid_state(
			query, "A total never goes below the present one.");
		break;
	}
}

/* ---- requests ---- */

/* NULL: it was answered 503. */
static struct admin_query *
query_new(struct http_request *req)
{
	const struct api *api = http_request_app(req);
	struct admin_query *query = http_request_alloc(req, sizeof(*query));

	if (query == NULL) {
		reply_unavailable(req, "BUSY", "REFUSED");
		return NULL;
	}
	query->req = req;
	query->loader = &api->loader;
	query->job.run = run;
	query->job.done = done;
	return query;
}

static void
start(struct admin_query *query)
{
	struct error err;

	if (dispatch_job(query->req, &query->job, &err) != 0)
		reply_unavailable(
			query->req, unavailable_reason(err.kind), "REFUSED");
}

static const struct json_range name_bytes = { 1, COUPON_NAME_SIZE - 1 };
static const struct json_range total_range = { 1, INT32_MAX };

static int
member_time(const json_t *body, const char *name, int64_t *ret_ms,
	struct error *err)
{
	const char *text;
	int rc = json_member_text(
		body, name, (struct json_range){ 1, 64 }, &text, err);

	if (rc != 0)
		return rc;
	if (clock_parse_rfc3339(text, ret_ms) != 0 || *ret_ms < 0)
		return error_set(err, ERROR_BAD_INPUT,
			"%s must be a time like 2026-11-22T14:02:00Z.", name);
	return 0;
}

static int
read_members(const json_t *body, struct event_creation *ret, struct error *err)
{
	const char *name;
	int rc = json_member_text(body, "name", name_bytes, &name, err);

	if (rc == 0 && !coupon_name_is_valid(name))
		rc = error_set(err, ERROR_BAD_INPUT,
			"name must have 1 to %d characters.",
			COUPON_NAME_CHARS_MAX);
	if (rc == 0)
		rc = json_member_int(
			body, "total", total_range, &ret->total, err);
	if (rc == 0)
		rc = member_time(body, "opensAt", &ret->opens_at_ms, err);
	if (rc == 0)
		rc = member_time(body, "closesAt", &ret->closes_at_ms, err);
	if (rc == 0 && ret->opens_at_ms >= ret->closes_at_ms)
		rc = error_set(err, ERROR_BAD_INPUT,
			"opensAt must lie before closesAt.");
	if (rc == 0)
		(void)snprintf(ret->name, sizeof(ret->name), "%s", name);
	return rc;
}

/*
 * What makes a repeated creation the same: the client's key, else everything
 * that was asked for.
 */
static bool
set_key(struct event_creation *creation, const char *header)
{
	unsigned char digest[16];
	char hex[2 * sizeof(digest) + 1];
	char key[REQUEST_ID_MAX + 1];

	if (header != NULL && !idempotency_key_parse(header, key))
		return false;
	if (header != NULL) {
		(void)snprintf(
			creation->key, sizeof(creation->key), "key:%s", key);
		return true;
	}
	/* The key itself is still zero, as is the rest of `name`. */
	(void)crypto_generichash(digest, sizeof(digest),
		(const unsigned char *)creation, sizeof(*creation), NULL, 0);
	(void)sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest));
	(void)snprintf(creation->key, sizeof(creation->key), "body:%s", hex);
	return true;
}

static int
parse_creation(
	struct http_request *req, struct event_creation *ret, struct error *err)
{
	size_t len;
	const char *text = http_request_body(req, &len);
	json_t *body;
	int rc = json_body_parse(text, len, &body, err);

	if (rc != 0)
		return rc;
	rc = read_members(body, ret, err);
	json_decref(body);
	if (rc == 0 &&
		!set_key(ret, http_request_header(req, "Idempotency-Key")))
		rc = error_set(err, ERROR_BAD_INPUT, IDEMPOTENCY_KEY_RULE);
	return rc;
}

void
coupon_post(struct http_request *req)
{
	struct admin_query *query = query_new(req);
	struct error err;

	if (query == NULL)
		return;
	query->creates = true;
	if (parse_creation(req, &query->creation, &err) != 0)
		reply_bad_request(req, err.msg);
	else
		start(query);
}

/* NULL: it was answered. */
static struct admin_query *
change_new(struct http_request *req, enum event_action action)
{
	struct admin_query *query = query_new(req);

	if (query == NULL)
		return NULL;
	query->request.action = action;
	if (parse_id(http_request_path_param(req, "id"),
		    &query->request.coupon_id) == 0)
		return query;
	reply_bad_request(req, ID_RULE);
	return NULL;
}

void
coupon_open_post(struct http_request *req)
{
	struct admin_query *query = change_new(req, EVENT_ACTION_OPEN);

	if (query != NULL)
		start(query);
}

void
coupon_close_post(struct http_request *req)
{
	struct admin_query *query = change_new(req, EVENT_ACTION_CLOSE);

	if (query != NULL)
		start(query);
}

static int
parse_total(struct http_request *req, int64_t *ret, struct error *err)
{
	size_t len;
	const char *text = http_request_body(req, &len);
	json_t *body;
	int rc = json_body_parse(text, len, &body, err);

	if (rc != 0)
		return rc;
	rc = json_member_int(body, "total", total_range, ret, err);
	json_decref(body);
	return rc;
}

void
coupon_total_put(struct http_request *req)
{
	struct admin_query *query = change_new(req, EVENT_ACTION_TOTAL);
	struct error err;

	if (query == NULL)
		return;
	if (parse_total(req, &query->request.total, &err) != 0)
		reply_bad_request(req, err.msg);
	else
		start(query);
}
