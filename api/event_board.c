/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * Everybody looks when it burns, so however many ask, a worker reads at most
 * every REFRESH_NS; who comes meanwhile gets what was read last.  And it
 * never takes its turn before a request: while anybody waits for a connection
 * of a pool, that server is not asked.  Without Redis an event is shown from
 * its row, marked stale; without PostgreSQL the last answer stands, asOf.
 */
#include "api/event_board.h"

#include "api/admin.h"
#include "api/api.h"
#include "api/dispatch.h"
#include "api/event_store.h"
#include "api/issue_verdict.h"
#include "api/reply.h"
#include "api/scripts.h"
#include "api/worker.h"
#include "common/actuator.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/must.h"
#include "common/pg.h"
#include "common/pool_admin.h"
#include "common/redis.h"
#include "common/sync.h"

#include <jansson.h>

#define REFRESH_NS (2 * NS_PER_S)
#define REDIS_WAIT_NS (200 * NS_PER_MS) /* for all events together */

static http_handler get_board;

/* clang-format off */
const struct http_route event_board_routes[] = {
	{ "GET", "/actuator/coupons", get_board, HTTP_MANAGEMENT },
	{ "POST", "/actuator/coupons/{id}/open", coupon_open_post,
		HTTP_MANAGEMENT | HTTP_ADMIN },
	{ "POST", "/actuator/coupons/{id}/close", coupon_close_post,
		HTTP_MANAGEMENT | HTTP_ADMIN },
};
/* clang-format on */
const size_t event_board_n_routes = ARRAY_SIZE(event_board_routes);

struct event_board {
	const struct event_loader *loader;
	struct mutex lock;
	struct locked {        /* only through locked() */
		char *text;    /* the last answer, or NULL */
		int64_t at_ns; /* when it was read */
		bool reading;  /* a worker is at it */
	} locked_;
};

static struct locked *locked(struct event_board *board) REQUIRES(board->lock);

static struct locked *
locked(struct event_board *board)
{
	return &board->locked_;
}

struct reading {
	struct worker_job job;
	struct event_board *board;
	struct http_request *req;
	char *text;
};

/* ---- on a worker ---- */

static bool
is_in_demand(struct pool *pool)
{
	struct pool_snapshot snapshot;

	pool_snapshot(pool, &snapshot);
	return snapshot.waiting > 0 || snapshot.suspended || snapshot.failing;
}

static json_t *
item_json(const struct board_item *item, const struct event_figures *figures)
{
	struct coupon_view view;

	coupon_view_init(&view, &item->coupon, figures, clock_wall_ms());
	json_t *json = coupon_to_json(&item->coupon, &view);
	(void)json_object_set_new(json, "timeToIssue",
		item->timed == 0 ? json_null()
				 : json_pack("{s:I, s:I, s:I}", "count",
					   (json_int_t)item->timed, "p50Ms",
					   (json_int_t)item->p50_ms, "p99Ms",
					   (json_int_t)item->p99_ms));
	return json;
}

static char *
describe(const struct event_loader *loader, const struct board_item *items,
	size_t n)
{
	int64_t deadline_ns = clock_now_ns() + REDIS_WAIT_NS;
	bool ask = !is_in_demand(redis_shards_pool_at(loader->shards, 0));
	char as_of[CLOCK_RFC3339_SIZE];
	json_t *array = json_array();

	clock_format_rfc3339(clock_wall_ms(), as_of);
	for (size_t i = 0; i < n; i++) {
		struct event_figures figures;
		struct error err;

		ask = ask && event_figures_read(loader, items[i].coupon.id,
				     deadline_ns, &figures, &err) == 0;
		(void)json_array_append_new(
			array, item_json(&items[i], ask ? &figures : NULL));
	}
	json_t *json = json_pack("{s:s, s:o}", "asOf", as_of, "items", array);
	char *text = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	return text;
}

static int
run(struct worker_job *job, struct error *err)
{
	struct reading *reading = container_of(job, struct reading, job);
	const struct event_loader *loader = reading->board->loader;
	const struct store_call call = { loader->pg, job->deadline_ns };
	struct board_item items[BOARD_MAX];
	size_t n;

	if (is_in_demand(pg_read_pool(loader->pg)))
		return error_set(err, ERROR_BUSY, "PostgreSQL is in demand");
	int rc = event_store_board(&call, items, &n, err);
	if (rc != 0)
		return rc;
	reading->text = describe(loader, items, n);
	if (reading->text == NULL)
		return error_set(err, ERROR_NO_MEMORY, "no memory");
	return 0;
}

/* ---- on the loop ---- */

static void
reply(struct http_request *req, char *text)
{
	http_reply_header(req, "Cache-Control", "no-store");
	http_reply_owned(req, 200, "application/json", text, strlen(text));
}

/* Ends a reading, with a text or (NULL) without; a copy of the last one. */
static char *
take(struct event_board *board, char *text)
{
	char *before = NULL;

	mutex_lock(&board->lock);
	struct locked *state = locked(board);
	state->reading = false;
	if (text != NULL) {
		before = state->text;
		state->text = text;
		state->at_ns = clock_now_ns();
	}
	char *copy = state->text != NULL ? strdup(state->text) : NULL;
	mutex_unlock(&board->lock);
	free(before);
	return copy;
}

static void
done(struct worker_job *job)
{
	struct reading *reading = container_of(job, struct reading, job);
	char *text = take(reading->board, reading->text);

	if (text != NULL)
		reply(reading->req, text);
	else
		reply_unavailable(reading->req, database_reason(job->err.kind),
			"REFUSED");
	free(reading);
}

/* A copy of what is new enough; NULL: *ret_read says whether to read. */
static char *
look(struct event_board *board, bool *ret_read)
{
	mutex_lock(&board->lock);
	struct locked *state = locked(board);
	bool is_new = state->text != NULL &&
		      clock_now_ns() - state->at_ns < REFRESH_NS;
	bool use = is_new || (state->reading && state->text != NULL);
	char *copy = use ? strdup(state->text) : NULL;
	*ret_read = !use && !state->reading;
	if (*ret_read)
		state->reading = true;
	mutex_unlock(&board->lock);
	return copy;
}

static void
get_board(struct http_request *req)
{
	struct api *api = http_request_app(req);
	struct error err;
	bool read;
	char *text = look(api->board, &read);

	if (text != NULL) {
		reply(req, text);
		return;
	}
	if (!read) {
		reply_unavailable(req, "BUSY", "REFUSED");
		return;
	}
	struct reading *reading = calloc(1, sizeof(*reading));
	if (reading == NULL) {
		free(take(api->board, NULL));
		reply_unavailable(req, "BUSY", "REFUSED");
		return;
	}
	reading->board = api->board;
	reading->req = req;
	reading->job.run = run;
	reading->job.done = done;
	if (dispatch_job(req, &reading->job, &err) != 0) {
		reading->job.err = err;
		done(&reading->job);
	}
}

struct event_board *
event_board_new(const struct event_loader *loader)
{
	struct event_board *board = must(calloc(1, sizeof(*board)));

	board->loader = loader;
	mutex_init(&board->lock);
	return board;
}

void
event_board_free(struct event_board *board)
{
	if (board == NULL)
		return;
	mutex_fini(&board->lock);
	free(board->locked_.text);
	free(board);
}
