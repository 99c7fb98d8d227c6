/* SPDX-License-Identifier: MIT */
#include "api/api.h"
#include "api/dispatch.h"
#include "api/event_store.h"
#include "api/issue_verdict.h"
#include "api/paging.h"
#include "api/queries.h"
#include "api/reply.h"
#include "api/worker.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/http.h"

#include <assert.h>
#include <jansson.h>
#include <sys/param.h>

/*
 * DESIGN
 *
 * A worker reads the events from PostgreSQL, then the loop asks Redis for the
 * figures of all of them at once through its pipeline; the last reply makes
 * the answer.  In this order, so that every counted row has its number in the
 * figures.  An event whose figures do not come is shown from its row alone,
 * marked stale.
 */

struct event_item {
	struct coupon_query *query;
	struct event_keys keys;
	struct redis_command command;
	struct event_figures figures;
	bool has_figures;
};

struct coupon_query {
	struct http_request *req;
	struct pg_pools *pg;
	bool is_list;
	int64_t coupon_id;    /* of one */
	struct paging paging; /* of a list */
	struct worker_job job;
	struct coupon_page page;
	struct event_item *items; /* for each of the page; malloc'ed */
	size_t n_items;
	size_t n_waiting; /* replies to come */
};

static json_t *
item_to_json(const struct coupon *coupon, const struct event_item *item)
{
	struct coupon_view view;

	coupon_view_init(&view, coupon,
		item->has_figures ? &item->figures : NULL, clock_wall_ms());
	return coupon_to_json(coupon, &view);
}

static void
query_free(struct coupon_query *query)
{
	free(query->items);
	free(query);
}

static void
reply(struct coupon_query *query)
{
	const struct coupon *coupons = query->page.items;
	size_t n = query->n_items;

	if (!query->is_list) {
		http_reply_json(query->req, 200,
			item_to_json(&coupons[0], &query->items[0]));
		query_free(query);
		return;
	}
	json_t *items = json_array();
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(
			items, item_to_json(&coupons[i], &query->items[i]));
	paging_reply(query->req, &query->paging, items,
		n > 0 ? coupons[n - 1].id : 0, query->page.count > n);
	query_free(query);
}

static void
on_figures(struct redis_command *command, const struct redisReply *redis_reply,
	const struct error *err)
{
	struct event_item *item =
		container_of(command, struct event_item, command);
	struct coupon_query *query = item->query;

	item->has_figures = err == NULL && event_figures_parse(redis_reply,
						   &item->figures) == 0;
	assert(query->n_waiting > 0);
	if (--query->n_waiting == 0)
		reply(query);
}

static void
ask_redis(struct coupon_query *query)
{
	struct api_loop *loop = api_loop_of(query->req);

	query->n_waiting = query->n_items;
	for (size_t i = 0; i < query->n_items; i++) {
		struct event_item *item = &query->items[i];
		int64_t coupon_id = query->page.items[i].id;

		item->query = query;
		event_keys_init(&item->keys, coupon_id);
		command_init(&item->command, SCRIPT_EVENT_READ, &item->keys,
			NULL, 0);
		item->command.coupon_id = coupon_id;
		item->command.deadline_ns = step_deadline_ns(query->req);
		item->command.done = on_figures;
		pipeline_submit(loop->pipeline, &item->command);
	}
}

static int
run(struct worker_job *job, struct error *err)
{
	struct coupon_query *query =
		container_of(job, struct coupon_query, job);
	const struct store_call call = { query->pg, job->deadline_ns };

	if (query->is_list) {
		query->page.limit = query->paging.limit + 1;
		return event_store_list(
			&call, query->paging.after, &query->page, err);
	}
	query->page.count = 1;
	query->paging.limit = 1;
	return event_store_get(
		&call, query->coupon_id, &query->page.items[0], err);
}

static void
done(struct worker_job *job)
{
	struct coupon_query *query =
		container_of(job, struct coupon_query, job);
	size_t n = MIN(query->page.count, query->paging.limit);

	if (job->rc == -ERROR_NOT_FOUND) {
		reply_not_found(query->req, PROBLEM_COUPON_NOT_FOUND);
		query_free(query);
		return;
	}
	if (job->rc == 0)
		query->items = calloc(MAX(n, 1), sizeof(query->items[0]));
	if (query->items == NULL) {
		reply_unavailable(query->req,
			database_reason(
				job->rc != 0 ? job->err.kind : ERROR_NO_MEMORY),
			"REFUSED");
		query_free(query);
		return;
	}
	query->n_items = n;
	if (n == 0)
		reply(query);
	else
		ask_redis(query);
}

/* Takes ownership of the query, which says what is asked for. */
static void
start(struct coupon_query *query, struct http_request *req)
{
	struct error err;

	query->req = req;
	query->pg = api_loop_of(req)->api->pg;
	query->job.run = run;
	query->job.done = done;
	if (dispatch_job(req, &query->job, &err) == 0)
		return;
	reply_unavailable(req, unavailable_reason(err.kind), "REFUSED");
	query_free(query);
}

void
coupon_get(struct http_request *req)
{
	struct coupon_query *query = calloc(1, sizeof(*query));

	if (query == NULL) {
		reply_unavailable(req, "BUSY", "REFUSED");
		return;
	}
	if (parse_id(http_request_path_param(req, "id"), &query->coupon_id) !=
		0) {
		reply_bad_request(req, ID_RULE);
		query_free(query);
		return;
	}
	start(query, req);
}

void
coupons_list(struct http_request *req)
{
	struct coupon_query *query = calloc(1, sizeof(*query));

	if (query == NULL) {
		reply_unavailable(req, "BUSY", "REFUSED");
		return;
	}
	query->is_list = true;
	if (!paging_parse(req, CURSOR_COUPONS, &query->paging)) {
		query_free(query);
		return;
	}
	start(query, req);
}
