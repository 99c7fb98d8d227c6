/* SPDX-License-Identifier: MIT */
/* Time and threads: deadlines, slow clients, limits, ports. */
#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/tests/http_app.h"
#include "common/tests/http_client.h"
#include "common/tests/unit.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST "Host: test\r\n"

/* ---- answers from elsewhere ---- */

struct asker {
	pthread_t thread;
	uint16_t port;
	unsigned right;
};

static void *
ask_many(void *arg)
{
	static const char *const paths[] = { "/thread", "/turn", "/hello" };
	static const char *const bodies[] = { "posted", "turned", "hello" };
	struct asker *asker = arg;
	struct client client;
	struct client_reply reply;

	client_open(&client, asker->port);
	for (unsigned i = 0; i < 30; i++) {
		client_get(&client, paths[i % 3]);
		if (client_read(&client, &reply) && reply.status == 200 &&
			strcmp(reply.body, bodies[i % 3]) == 0)
			asker->right++;
	}
	client_close(&client);
	return NULL;
}

static void
answers_come_from_threads_and_from_the_turn(void **state UNUSED)
{
	struct app app;
	struct asker askers[16];

	struct http_config config = app_config();
	config.request_timeout_ns = 10 * NS_PER_S; /* sanitizers are slow */
	app_start(&app, config);
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++) {
		askers[i] = (struct asker){ .port = app.port };
		assert_int_equal(pthread_create(&askers[i].thread, NULL,
					 ask_many, &askers[i]),
			0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++) {
		pthread_join(askers[i].thread, NULL);
		assert_int_equal(askers[i].right, 30);
	}
	app_stop(&app);
}

/* ---- deadlines ---- */

/* They ran out of time together, and must not come back so. */
static void
retries_of_those_who_timed_out_are_spread(void **state UNUSED)
{
	struct app app;
	struct client clients[16];
	struct client_reply reply;
	int told[4] = { 0 };

	app_start(&app, app_config());
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		client_open(&clients[i], app.port);
		client_get(&clients[i], "/never");
	}
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		assert_true(client_read(&clients[i], &reply));
		assert_int_equal(reply.status, 503);
		assert_in_range(client_retry_after(&reply), 1, 3);
		told[client_retry_after(&reply)]++;
		client_close(&clients[i]);
	}
	for (int s = 1; s <= 3; s++)
		assert_true(told[s] < (int)ARRAY_SIZE(clients));
	app_stop(&app);
}

static void
an_unanswered_request_is_answered_at_its_deadline(void **state UNUSED)
{
	struct app app;
	struct client client;
	struct client_reply reply;

	app_start(&app, app_config());
	client_open(&client, app.port);
	int64_t start_ns = clock_now_ns();
	client_get(&client, "/never");
	assert_true(client_read(&client, &reply));
	int64_t took_ns = clock_now_ns() - start_ns;
	assert_int_equal(reply.status, 503);
	assert_non_null(strstr(reply.body, "\"outcome\":\"UNKNOWN\""));
	assert_non_null(strstr(reply.body, "\"reason\":\"TIMEOUT\""));
	assert_true(took_ns >= 300 * NS_PER_MS && took_ns < NS_PER_S);
	client_get(&client, "/overdue");
	assert_true(client_read(&client, &reply));
	assert_int_equal(reply.status, 503);
	assert_non_null(strstr(reply.body, "\"detail\":\"mine\""));
	client_get(&client, "/hello");
	assert_true(client_read(&client, &reply));
	assert_int_equal(reply.status, 200);
	client_close(&client);
	app_stop(&app);
}

static void
a_reply_after_the_deadline_is_dropped(void **state UNUSED)
{
	struct app app;
	struct client client;
	struct client_reply reply;

	app_start(&app, app_config());
	client_open(&client, app.port);
	client_get(&client, "/stubborn");
	assert_true(client_read(&client, &reply));
	assert_int_equal(reply.status, 503);
	client_get(&client, "/hello");
	assert_true(client_read(&client, &reply));
	assert_string_equal(reply.body, "hello");
	client_pause(400); /* its reply comes now, to nobody */
	client_get(&client, "/hello");
	assert_true(client_read(&client, &reply));
	assert_string_equal(reply.body, "hello");
	client_close(&client);
	app_stop(&app);
}

static void
a_client_that_left_hurts_nobody(void **state UNUSED)
{
	static const char *const paths[] = { "/thread", "/never", "/stubborn",
		"/overdue", "/turn", "/big" };
	struct app app;
	struct client_reply reply;

	app_start(&app, app_config());
	for (int i = 0; i < 60; i++) {
		const struct linger reset = { .l_onoff = 1 };
		struct client client;

		client_open(&client, app.port);
		client_get(&client, paths[i % 6]);
		if (i % 12 < 6)
			(void)setsockopt(client.fd, SOL_SOCKET, SO_LINGER,
				&reset, sizeof(reset));
		if (i % 4 == 3)
			client_pause(
				3); /* later than the polling of requests */
		client_close(&client);
	}
	client_pause(700);
	assert_int_equal(http_server_in_flight(app.server), 0);
	client_ask(app.port, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &reply);
	assert_string_equal(reply.body, "hello");
	app_stop(&app);
}

static void
a_request_late_before_its_handler_costs_no_work(void **state UNUSED)
{
	struct app app;
	struct client client;
	struct client_reply reply;

	app_start(&app, app_config());
	client_open(&client, app.port);
	unsigned handled = app_handled();
	client_print(&client,
		"POST /echo HTTP/1.1\r\n" HOST
		"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{");
	client_pause(400);
	client_print(&client, "}");
	assert_true(client_read(&client, &reply));
	assert_int_equal(reply.status, 503);
	assert_non_null(strstr(reply.body, "\"outcome\":\"REFUSED\""));
	assert_int_equal(app_handled(), handled);
	client_close(&client);
	app_stop(&app);
}

static void
the_timeout_changes_while_it_runs(void **state UNUSED)
{
	struct app app;
	struct client slow, quick;
	struct client_reply reply;

	struct http_config config = app_config();
	config.threads = 1;
	config.request_timeout_ns = NS_PER_S;
	app_start(&app, config);
	client_open(&slow, app.port);
	client_open(&quick, app.port);
	client_get(&slow, "/never");
	client_pause(50);
	http_server_configure(app.server, 100 * NS_PER_MS, 1);
	client_get(&quick, "/never");
	int64_t start_ns = clock_now_ns();
	assert_true(client_read(&quick, &reply));
	assert_true(clock_now_ns() - start_ns < 600 * NS_PER_MS);
	assert_true(client_read(&slow, &reply));
	assert_true(clock_now_ns() - start_ns > 700 * NS_PER_MS);
	client_close(&slow);
	client_close(&quick);
	app_stop(&app);
}

/* ---- slow and many clients ---- */

static void
slow_clients_are_cut(void **state UNUSED)
{
	static const char *const starts[] = {
		"",
		"GET /hello HT",
		"GET /hello HTTP/1.1\r\nHost: x\r\nX: ",
		"POST /plain HTTP/1.1\r\n" HOST "Content-Length: 4000\r\n\r\n",
		"POST /plain HTTP/1.1\r\n" HOST
		"Transfer-Encoding: chunked\r\n\r\nFF\r\n",
	};
	struct client clients[ARRAY_SIZE(starts)];
	struct app app;

	app_start(&app, app_config());
	int64_t start_ns = clock_now_ns();
	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		client_open(&clients[i], app.port);
		(void)client_send(&clients[i], starts[i], strlen(starts[i]));
	}
	for (int ms = 0; ms < 900; ms += 100) { /* a byte now and then */
		client_pause(100);
		for (size_t i = 1; i < ARRAY_SIZE(starts); i++)
			(void)client_send(&clients[i], "x", 1);
	}
	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		assert_true(client_sees_end(&clients[i], 3000));
		client_close(&clients[i]);
	}
	int64_t took_ns = clock_now_ns() - start_ns;
	assert_true(took_ns > 900 * NS_PER_MS && took_ns < 3 * NS_PER_S);
	app_stop(&app);
}

static void
a_client_that_does_not_read_is_cut(void **state UNUSED)
{
	struct app app;
	struct client client;

	app_start(&app, app_config());
	client_open(&client, app.port);
	for (int i = 0; i < 20; i++)
		client_get(&client, "/big");
	client_pause(2500);
	assert_int_equal(http_server_in_flight(app.server), 0);
	client_close(&client);
	app_stop(&app);
}

static void
connections_beyond_the_limit_wait(void **state UNUSED)
{
	struct app app;
	struct client first[4], next;
	struct client_reply reply;
	struct pollfd pfd;

	struct http_config config = app_config();
	config.max_connections = 4;
	config.idle_timeout_s = 60;
	config.request_timeout_ns = 2 * NS_PER_S;
	config.threads = 1;
	app_start(&app, config);
	for (size_t i = 0; i < ARRAY_SIZE(first); i++) {
		client_open(&first[i], app.port);
		client_get(&first[i], "/never");
	}
	client_open(&next, app.port);
	client_get(&next, "/hello");
	pfd = (struct pollfd){ .fd = next.fd, .events = POLLIN };
	assert_int_equal(poll(&pfd, 1, 200), 0);
	for (size_t i = 0; i < ARRAY_SIZE(first); i++) {
		assert_true(client_read(&first[i], &reply));
		assert_int_equal(reply.status, 503);
	}
	client_close(&first[0]);
	assert_true(client_read(&next, &reply));
	assert_string_equal(reply.body, "hello");
	client_close(&next);
	for (size_t i = 1; i < ARRAY_SIZE(first); i++)
		client_close(&first[i]);
	app_stop(&app);
}

static void
who_never_finishes_a_request_makes_room(void **state UNUSED)
{
	struct app app;
	struct client slow[4], next;
	struct client_reply reply;

	struct http_config config = app_config();
	config.max_connections = 4;
	config.idle_timeout_s = 60;
	config.threads = 1;
	app_start(&app, config);
	for (size_t i = 0; i < ARRAY_SIZE(slow); i++) {
		client_open(&slow[i], app.port);
		client_print(&slow[i], "GET /hello HTTP/1.1\r\n");
		client_pause(10);
	}
	client_open(&next, app.port);
	client_get(&next, "/hello");
	assert_true(client_read(&next, &reply));
	assert_string_equal(reply.body, "hello");
	/* The oldest went, and nobody else. */
	assert_true(client_sees_end(&slow[0], 1000));
	for (size_t i = 1; i < ARRAY_SIZE(slow); i++) {
		client_print(&slow[i], HOST "\r\n");
		assert_true(client_read(&slow[i], &reply));
		client_close(&slow[i]);
	}
	client_close(&slow[0]);
	client_close(&next);
	app_stop(&app);
}

/* ---- the server as seen from inside ---- */

static void
a_port_in_use_is_named_with_its_process(void **state UNUSED)
{
	struct app app;
	struct http_server *second;
	struct error err;
	char expected[64];

	app_start(&app, app_config());
	struct http_config config = app_config();
	config.port = app.port;
	config.metrics = app.metrics;
	assert_int_equal(
		http_server_start(&config, &second, &err), -ERROR_SYSTEM);
	(void)snprintf(expected, sizeof(expected),
		"port %u is in use by test_http_life (pid %d)", app.port,
		(int)getpid());
	assert_string_equal(err.msg, expected);
	app_stop(&app);
}

static void
management_routes_move_to_their_own_port(void **state UNUSED)
{
	static const char state_request[] =
		"GET /actuator/state HTTP/1.1\r\n" HOST "\r\n";
	static const char hello_request[] =
		"GET /hello HTTP/1.1\r\n" HOST "\r\n";
	struct app business, management;
	struct client_reply reply;

	struct http_config config = app_config();
	config.serve = HTTP_SERVE_BUSINESS;
	app_start(&business, config);
	config.serve = HTTP_SERVE_MANAGEMENT;
	app_start(&management, config);
	client_ask(business.port, state_request, &reply);
	assert_int_equal(reply.status, 404);
	client_ask(business.port, hello_request, &reply);
	assert_int_equal(reply.status, 200);
	client_ask(management.port, state_request, &reply);
	assert_int_equal(reply.status, 200);
	client_ask(management.port, hello_request, &reply);
	assert_int_equal(reply.status, 404);
	app_stop(&business);
	app_stop(&management);
}

static void
requests_are_measured_under_their_template(void **state UNUSED)
{
	struct app app;
	struct client_reply reply;
	size_t len;

	app_start(&app, app_config());
	client_ask(app.port, "GET /items/7 HTTP/1.1\r\n" HOST "\r\n", &reply);
	client_ask(app.port, "GET /items/8 HTTP/1.1\r\n" HOST "\r\n", &reply);
	client_ask(app.port, "GET /nothing HTTP/1.1\r\n" HOST "\r\n", &reply);
	client_ask(
		app.port, "BREW /hello HTTP/1.1\r\n" HOST HOST "\r\n", &reply);
	while (http_server_in_flight(app.server) > 0)
		client_pause(1);
	char *text = metrics_prometheus(app.metrics, false, NULL, &len);
	assert_non_null(text);
#define SERIES(method, outcome, status, uri)                                   \
	"http_server_requests_seconds_count{error=\"none\",exception="         \
	"\"none\",method=\"" method "\",outcome=\"" outcome                    \
	"\",status=\"" status "\",uri=\"" uri "\"} "
	assert_non_null(strstr(
		text, SERIES("GET", "SUCCESS", "200", "/items/{id}") "2"));
	assert_non_null(strstr(
		text, SERIES("GET", "CLIENT_ERROR", "404", "NOT_FOUND") "1"));
	assert_non_null(strstr(
		text, SERIES("UNKNOWN", "CLIENT_ERROR", "400", "UNKNOWN") "1"));
	assert_non_null(
		strstr(text, SERIES("POST", "SUCCESS", "202", "/echo") "0"));
	assert_non_null(
		strstr(text, "http_server_requests_active{server=\"http\"} 0"));
	assert_non_null(strstr(text,
		"http_server_request_timeout_seconds{server=\"http\"} 0.3"));
	free(text);
	app_stop(&app);
}

static void
an_idle_server_is_not_stalled(void **state UNUSED)
{
	struct app app;

	app_start(&app, app_config());
	client_pause(200);
	assert_true(http_server_stalled_ns(app.server) < 100 * NS_PER_MS);
	app_stop(&app);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_come_from_threads_and_from_the_turn),
		cmocka_unit_test(retries_of_those_who_timed_out_are_spread),
		cmocka_unit_test(
			an_unanswered_request_is_answered_at_its_deadline),
		cmocka_unit_test(a_reply_after_the_deadline_is_dropped),
		cmocka_unit_test(a_client_that_left_hurts_nobody),
		cmocka_unit_test(
			a_request_late_before_its_handler_costs_no_work),
		cmocka_unit_test(the_timeout_changes_while_it_runs),
		cmocka_unit_test(slow_clients_are_cut),
		cmocka_unit_test(a_client_that_does_not_read_is_cut),
		cmocka_unit_test(connections_beyond_the_limit_wait),
		cmocka_unit_test(who_never_finishes_a_request_makes_room),
		cmocka_unit_test(a_port_in_use_is_named_with_its_process),
		cmocka_unit_test(management_routes_move_to_their_own_port),
		cmocka_unit_test(requests_are_measured_under_their_template),
		cmocka_unit_test(an_idle_server_is_not_stalled),
	};

	return cmocka_run_group_tests_name("http_life", tests, NULL, NULL);
}
