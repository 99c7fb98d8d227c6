/* SPDX-License-Identifier: MIT */
/*
 * http_kit - what the HTTP kit costs over constant.c: the same answer through
 * common/http.h, with JSON, deadline and metrics but no Redis.
 *
 *	http_kit PORT THREADS [MODE]
 *
 * MODE: `sync` answers in the handler (default), `turn` at the end of the
 * turn, as a reply of Redis would come, `late` 50 ms later.
 */
#include "common/clock.h"
#include "common/error.h"
#include "common/http.h"
#include "common/json.h"
#include "common/lifecycle.h"
#include "common/metrics.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATE_NS (50 * NS_PER_MS)

struct waiting {
	struct waiting *next;
	struct http_request *req;
	int64_t due_ns;
};

struct loop_state {
	struct http_loop *loop;
	struct waiting *first, **end;
};

static int64_t delay_ns = -1;

static void
reply(struct http_request *req)
{
	static const char body[] =
		"{\"requestId\":\"01JD5Z8QK4W7Y3M2N6P9R1S0TA\","
		"\"status\":\"PENDING\",\"seq\":12345}";

	http_reply_header(req, "Location",
		"/api/user-coupons/1/1000000000042?"
		"requestId=01JD5Z8QK4W7Y3M2N6P9R1S0TA");
	http_reply(req, 202, "application/json", body, sizeof(body) - 1);
}

static void
on_post(struct http_request *req)
{
	struct error err;
	json_t *json;
	size_t len;
	const char *body = http_request_body(req, &len);
	int64_t coupon_id, user_id;

	if (json_body_parse(body, len, &json, &err) < 0) {
		http_reply_problem(req, PROBLEM_BAD_REQUEST,
			&(struct problem_detail){ .note = err.msg });
		return;
	}
	int rc = json_member_id(json, "couponId", &coupon_id, &err);
	if (rc == 0)
		rc = json_member_id(json, "userId", &user_id, &err);
	json_decref(json);
	if (rc < 0) {
		http_reply_problem(req, PROBLEM_BAD_REQUEST,
			&(struct problem_detail){ .note = err.msg });
		return;
	}
	if (delay_ns < 0) {
		reply(req);
		return;
	}
	struct loop_state *state = http_loop_user(http_request_loop(req));
	struct waiting *waiting = http_request_alloc(req, sizeof(*waiting));
	if (waiting == NULL)
		abort();
	waiting->req = req;
	waiting->due_ns = http_loop_now_ns(state->loop) + delay_ns;
	*state->end = waiting;
	state->end = &waiting->next;
}

static void *
start_loop(void *app, struct http_loop *loop)
{
	struct loop_state *state = calloc(1, sizeof(*state));

	(void)app;
	if (state == NULL)
		abort();
	state->loop = loop;
	state->end = &state->first;
	return state;
}

static void
turn(void *user)
{
	struct loop_state *state = user;

	while (state->first != NULL &&
		state->first->due_ns <= http_loop_now_ns(state->loop)) {
		struct waiting *waiting = state->first;

		state->first = waiting->next;
		if (state->first == NULL)
			state->end = &state->first;
		reply(waiting->req);
	}
}

static int64_t
next_deadline_ns(void *user)
{
	const struct loop_state *state = user;

	return state->first == NULL ? INT64_MAX : state->first->due_ns;
}

static const struct http_route routes[] = {
	{ "POST", "/api/user-coupons/issue-async", on_post, HTTP_JSON_BODY },
};

int
main(int argc, char **argv)
{
	struct error err;
	struct http_server *server;

	if (argc < 3) {
		(void)fprintf(stderr, "usage: http_kit PORT THREADS [MODE]\n");
		return 2;
	}
	if (argc > 3 && strcmp(argv[3], "turn") == 0)
		delay_ns = 0;
	if (argc > 3 && strcmp(argv[3], "late") == 0)
		delay_ns = LATE_NS;
	lifecycle_init(20000);
	const struct http_config config = {
		.address = "127.0.0.1",
		.port = (uint16_t)strtol(argv[1], NULL, 10),
		.threads = (unsigned)strtol(argv[2], NULL, 10),
		.max_connections = 20000,
		.idle_timeout_s = 60,
		.max_body_size = 4096,
		.request_timeout_ns = NS_PER_S,
		.thread_name = "http",
		.routes = routes,
		.n_routes = sizeof(routes) / sizeof(routes[0]),
		.metrics = metrics_new(),
		.start_loop = start_loop,
		.turn = turn,
		.next_deadline_ns = next_deadline_ns,
	};
	if (http_server_start(&config, &server, &err) < 0) {
		(void)fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	while (lifecycle_wait(INT64_MAX) != LIFECYCLE_STOP)
		continue;
	http_server_stop(server);
	return 0;
}
