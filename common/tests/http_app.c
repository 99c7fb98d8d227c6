/* SPDX-License-Identifier: MIT */
#include "common/tests/http_app.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/tests/unit.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_PORT 20410
#define N_PORTS 80
#define BIG (1024 * 1024)

struct waiting {
	struct http_post post;
	struct http_request *req;
	struct waiting *next;
	int delay_ms;
};

static _Atomic unsigned handled;

static void
reply_text(struct http_request *req, const char *text)
{
	http_reply(req, 200, "text/plain", text, strlen(text));
}

static void
on_hello(struct http_request *req)
{
	atomic_fetch_add(&handled, 1);
	reply_text(req, "hello");
}

static void
on_echo(struct http_request *req)
{
	size_t len;
	const char *body = http_request_body(req, &len);

	atomic_fetch_add(&handled, 1);
	http_reply(req, 200, "application/json", body, len);
}

static void
on_plain(struct http_request *req)
{
	char text[32];
	size_t len;

	(void)http_request_body(req, &len);
	(void)snprintf(text, sizeof(text), "%zu", len);
	reply_text(req, text);
}

static void
on_item(struct http_request *req)
{
	assert_string_equal(http_request_path_param(req, "nothing"), "");
	reply_text(req, http_request_path_param(req, "id"));
}

static void
on_query(struct http_request *req)
{
	const char *value = http_request_query(req, "q");

	if (value == NULL)
		http_reply_problem(req, PROBLEM_NOT_FOUND, NULL);
	else
		reply_text(req, value);
}

/* ---- answers from elsewhere ---- */

static void
answer_posted(struct http_post *post)
{
	struct waiting *waiting = container_of(post, struct waiting, post);

	reply_text(waiting->req, "posted");
	free(waiting);
}

static void *
other_thread(void *arg)
{
	struct waiting *waiting = arg;

	(void)poll(NULL, 0, waiting->delay_ms);
	waiting->post.fn = answer_posted;
	http_loop_post(http_request_loop(waiting->req), &waiting->post);
	return NULL;
}

static void
answer_from_thread(struct http_request *req, int delay_ms)
{
	struct waiting *waiting = calloc(1, sizeof(*waiting));
	pthread_t thread;

	assert_non_null(waiting);
	waiting->req = req;
	waiting->delay_ms = delay_ms;
	assert_int_equal(
		pthread_create(&thread, NULL, other_thread, waiting), 0);
	(void)pthread_detach(thread);
}

static void
on_thread(struct http_request *req)
{
	answer_from_thread(req, 20);
}

static void
on_stubborn(struct http_request *req)
{
	answer_from_thread(req, 500);
}

static void
on_turn(struct http_request *req)
{
	struct waiting **list = http_loop_user(http_request_loop(req));
	struct waiting *waiting = http_request_alloc(req, sizeof(*waiting));

	assert_non_null(waiting);
	waiting->req = req;
	waiting->next = *list;
	*list = waiting;
}

static void
on_never(struct http_request *req)
{
	(void)req;
	atomic_fetch_add(&handled, 1);
}

static void
reply_mine(struct http_request *req)
{
	http_reply_problem(req, PROBLEM_SERVICE_UNAVAILABLE,
		&(struct problem_detail){ .note = http_request_user(req) });
}

static void
on_overdue(struct http_request *req)
{
	static char mine[] = "mine";

	http_request_set_user(req, mine);
	http_request_on_deadline(req, reply_mine);
}

static void
on_big(struct http_request *req)
{
	char *body = malloc(BIG);

	assert_non_null(body);
	memset(body, 'x', BIG);
	http_reply_owned(req, 200, "text/plain", body, BIG);
}

static void
on_block(struct http_request *req)
{
	(void)poll(NULL, 0, 300);
	reply_text(req, "blocked");
}

static void
on_who(struct http_request *req)
{
	const char *trace = http_request_traceparent(req);
	char text[256];

	(void)snprintf(text, sizeof(text), "%s|%s", http_request_client_id(req),
		trace == NULL ? "-" : trace);
	reply_text(req, text);
}

static const struct http_route routes[] = {
	{ "GET", "/hello", on_hello, 0 },
	{ "POST", "/echo", on_echo, HTTP_JSON_BODY },
	{ "POST", "/plain", on_plain, 0 },
	{ "GET", "/items/{id}", on_item, 0 },
	{ "GET", "/query", on_query, 0 },
	{ "GET", "/thread", on_thread, 0 },
	{ "GET", "/turn", on_turn, 0 },
	{ "GET", "/never", on_never, 0 },
	{ "GET", "/overdue", on_overdue, 0 },
	{ "GET", "/stubborn", on_stubborn, 0 },
	{ "GET", "/big", on_big, 0 },
	{ "GET", "/block", on_block, 0 },
	{ "GET", "/who", on_who, 0 },
	{ "PUT", "/secret", on_hello, HTTP_ADMIN },
	{ "GET", "/actuator/state", on_hello,
		HTTP_MANAGEMENT | HTTP_NO_DEADLINE },
};

static void *
start_loop(void *unused, struct http_loop *loop)
{
	(void)unused;
	(void)loop;
	return calloc(1, sizeof(struct waiting *));
}

static void
turn(void *user)
{
	struct waiting **list = user;

	while (*list != NULL) {
		struct waiting *waiting = *list;

		*list = waiting->next;
		reply_text(waiting->req, "turned");
	}
}

static void
stop_loop(void *user)
{
	free(user);
}

struct http_config
app_config(void)
{
	return (struct http_config){
		.address = "127.0.0.1",
		.threads = 2,
		.max_connections = 2000,
		.idle_timeout_s = 1,
		.max_body_size = 4096,
		.request_timeout_ns = 300 * NS_PER_MS,
		.admin_token = "sesame",
		.thread_name = "http",
		.routes = routes,
		.n_routes = ARRAY_SIZE(routes),
		.start_loop = start_loop,
		.turn = turn,
		.stop_loop = stop_loop,
	};
}

void
app_start(struct app *app, struct http_config config)
{
	struct error err;
	unsigned first = (unsigned)getpid();

	app->metrics = metrics_new();
	config.metrics = app->metrics;
	app->server = NULL;
	for (unsigned i = 0; app->server == NULL && i < N_PORTS; i++) {
		config.port = (uint16_t)(FIRST_PORT + (first + i) % N_PORTS);
		app->port = config.port;
		(void)!http_server_start(&config, &app->server, &err);
	}
	if (app->server == NULL)
		fail_msg("%s", err.msg);
}

void
app_stop(struct app *app)
{
	http_server_stop(app->server);
	metrics_free(app->metrics);
}

unsigned
app_handled(void)
{
	return atomic_load(&handled);
}
