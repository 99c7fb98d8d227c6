/* SPDX-License-Identifier: MIT */
#include "api/api.h"
#include "api/dispatch.h"
#include "api/issue_verdict.h"
#include "api/paging.h"
#include "api/queries.h"
#include "api/reply.h"
#include "api/status.h"
#include "api/worker.h"
#include "common/http.h"

#include <inttypes.h>
#include <jansson.h>

/* ---- one request's status: Redis, then PostgreSQL ---- */

struct status_query {
	struct http_request *req;
	struct pg_pools *pg;
	struct user_coupon key;
	char user[24];
	struct event_keys keys;
	struct redis_command command;
	struct worker_job job;
	bool redis_answered;
	enum error_kind redis_error; /* otherwise */
	struct status_reply redis;
	struct user_coupon row;
};

static void
answer_status(struct status_query *query, const struct status *status,
	const char *reason)
{
	switch (status->kind) {
	case STATUS_PENDING:
	case STATUS_ISSUED:
	case STATUS_REJECTED:
		http_reply_json(query->req, 200, status_to_json(status));
		break;
	case STATUS_NONE:
		reply_not_found(query->req, PROBLEM_USER_COUPON_NOT_FOUND);
		break;
	case STATUS_FENCED:
		reply_unavailable(query->req, "FENCED", "REFUSED");
		break;
	case STATUS_UNKNOWN:
		reply_unavailable(query->req, reason, "REFUSED");
		break;
	}
}

/* `rc` is how PostgreSQL answered, `kind` its error. */
static void
conclude(struct status_query *query, int rc, enum error_kind kind)
{
	const struct status_facts facts = {
		.redis = query->redis_answered ? &query->redis : NULL,
		.row = rc == 0 ? &query->row : NULL,
		.database_down = rc != 0 && rc != -ERROR_NOT_FOUND,
	};
	struct status status;

	status_resolve(&facts, &query->key, &status);
	answer_status(query, &status,
		facts.database_down ? database_reason(kind)
				    : unavailable_reason(query->redis_error));
}

static int
status_run(struct worker_job *job, struct error *err)
{
	struct status_query *query =
		container_of(job, struct status_query, job);
	const struct store_call call = { query->pg, job->deadline_ns };

	return event_store_status(&call, &query->key, &query->row, err);
}

static void
status_done(struct worker_job *job)
{
	conclude(container_of(job, struct status_query, job), job->rc,
		job->rc != 0 ? job->err.kind : ERROR_NONE);
}

static void
status_on_reply(struct redis_command *command, const struct redisReply *reply,
	const struct error *err)
{
	struct status_query *query =
		container_of(command, struct status_query, command);
	struct error refused;

	query->redis_answered =
		err == NULL && status_reply_parse(reply, &query->redis) == 0;
	query->redis_error = err != NULL ? err->kind : ERROR_REDIS_ERROR;
	int rc = dispatch_job(query->req, &query->job, &refused);
	if (rc != 0)
		conclude(query, rc, refused.kind);
}

/* False: it was answered 400. */
static bool
parse_key(struct http_request *req, struct user_coupon *ret)
{
	const char *request_id = http_request_query(req, "requestId");

	if (parse_id(http_request_path_param(req, "couponId"),
		    &ret->coupon_id) != 0 ||
		parse_id(http_request_path_param(req, "userId"),
			&ret->user_id) != 0) {
		reply_bad_request(req, ID_RULE);
		return false;
	}
	if (request_id == NULL)
		return true;
	size_t len = strlen(request_id);
	if (!request_id_is_valid(request_id, len)) {
		reply_bad_request(
			req, "requestId must match [A-Za-z0-9_-]{1,64}.");
		return false;
	}
	memcpy(ret->request_id, request_id, len + 1);
	return true;
}

void
status_get(struct http_request *req)
{
	struct api_loop *loop = api_loop_of(req);
	struct status_query *query = http_request_alloc(req, sizeof(*query));

	if (query == NULL) {
		reply_unavailable(req, "BUSY", "REFUSED");
		return;
	}
	if (!parse_key(req, &query->key))
		return;
	query->req = req;
	query->pg = loop->api->pg;
	query->job.run = status_run;
	query->job.done = status_done;
	(void)snprintf(query->user, sizeof(query->user), "%" PRId64,
		query->key.user_id);
	const char *const args[] = { query->user, query->key.request_id };
	event_keys_init(&query->keys, query->key.coupon_id);
	command_init(&query->command, SCRIPT_STATUS, &query->keys, args,
		ARRAY_SIZE(args));
	query->command.coupon_id = query->key.coupon_id;
	query->command.deadline_ns = step_deadline_ns(req);
	query->command.done = status_on_reply;
	pipeline_submit(loop->pipeline, &query->command);
}

/* ---- a user's coupons: PostgreSQL ---- */

struct list_query {
	struct http_request *req;
	struct pg_pools *pg;
	int64_t user_id;
	struct paging paging;
	struct worker_job job;
	struct user_coupon_page page;
};

static int
list_run(struct worker_job *job, struct error *err)
{
	struct list_query *query = container_of(job, struct list_query, job);
	const struct store_call call = { query->pg, job->deadline_ns };

	query->page.limit = query->paging.limit + 1;
	return event_store_user_coupons(
		&call, query->user_id, query->paging.after, &query->page, err);
}

static void
list_done(struct worker_job *job)
{
	struct list_query *query = container_of(job, struct list_query, job);
	bool more = query->page.count > query->paging.limit;
	size_t n = more ? query->paging.limit : query->page.count;

	if (job->rc != 0) {
		reply_unavailable(
			query->req, database_reason(job->err.kind), "REFUSED");
		return;
	}
	json_t *items = json_array();
	for (size_t i = 0; i < n; i++) {
		const struct status status = { .kind = STATUS_ISSUED,
			.coupon = query->page.items[i] };
		(void)json_array_append_new(items, status_to_json(&status));
	}
	paging_reply(query->req, &query->paging, items,
		n > 0 ? query->page.items[n - 1].coupon_id : 0, more);
}

void
user_coupons_list(struct http_request *req)
{
	const char *user = http_request_query(req, "userId");
	struct list_query *query = http_request_alloc(req, sizeof(*query));
	struct error err;

	if (query == NULL) {
		reply_unavailable(req, "BUSY", "REFUSED");
		return;
	}
	if (user == NULL || parse_id(user, &query->user_id) != 0) {
		reply_bad_request(
			req, "userId must be an integer from 1 to 2^63-1.");
		return;
	}
	if (!paging_parse(req, CURSOR_USER_COUPONS, &query->paging))
		return;
	query->req = req;
	query->pg = api_loop_of(req)->api->pg;
	query->job.run = list_run;
	query->job.done = list_done;
	int rc = dispatch_job(req, &query->job, &err);
	if (rc != 0)
		reply_unavailable(req, unavailable_reason(err.kind), "REFUSED");
}
