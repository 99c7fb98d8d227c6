/* SPDX-License-Identifier: MIT */
/* The end of a server: draining, closing the listener, stopping. */
#include "common/clock.h"
#include "common/tests/http_app.h"
#include "common/tests/http_client.h"
#include "common/tests/unit.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST "Host: test\r\n"

static void
draining_ends_connections_with_their_reply(void **state UNUSED)
{
	struct app app;
	struct client busy, fresh;
	struct client_reply reply;
	char value[32];

	struct http_config config = app_config();
	config.idle_timeout_s = 60;
	app_start(&app, config);
	client_open(&busy, app.port);
	client_get(&busy, "/thread");
	http_server_drain(app.server);
	assert_true(client_read(&busy, &reply));
	assert_string_equal(reply.body, "posted");
	assert_string_equal(
		client_header(&reply, "Connection", value, sizeof(value)),
		"close");
	assert_true(client_sees_end(&busy, 1000));
	/* the listener is open still */
	client_open(&fresh, app.port);
	client_get(&fresh, "/hello");
	assert_true(client_read(&fresh, &reply));
	assert_true(client_sees_end(&fresh, 1000));
	client_close(&busy);
	client_close(&fresh);
	app_stop(&app);
}

/* It may be one of many of its client's, whose turn comes seconds later. */
static void
a_quiet_connection_is_kept_as_long_as_the_listener(void **state UNUSED)
{
	struct app app;
	struct client used, unused;
	struct client_reply reply;

	struct http_config config = app_config();
	config.idle_timeout_s = 60;
	app_start(&app, config);
	client_open(&used, app.port);
	client_open(&unused, app.port);
	http_server_drain(app.server);
	assert_false(client_sees_end(&used, 1500));
	client_get(&used, "/hello");
	assert_true(client_read(&used, &reply));
	assert_string_equal(reply.body, "hello");
	assert_true(client_sees_end(&used, 1000));
	http_server_quiesce(app.server);
	assert_true(client_sees_end(&unused, 1000));
	client_close(&used);
	client_close(&unused);
	app_stop(&app);
}

enum { N_STORMS = 6 };

struct storm {
	pthread_t thread;
	uint16_t port;
	_Atomic bool *over;
	_Atomic unsigned answered;
	unsigned lost; /* connected, asked, and got no answer */
};

static void *
connect_and_ask(void *arg)
{
	struct storm *storm = arg;

	while (!atomic_load(storm->over)) {
		struct client_reply reply;
		struct client client;
		const struct sockaddr_in addr = {
			.sin_family = AF_INET,
			.sin_port = htons(storm->port),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		};

		client.len = 0;
		client.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		struct pollfd pfd = { .fd = client.fd, .events = POLLOUT };
		(void)connect(client.fd, (const struct sockaddr *)&addr,
			sizeof(addr));
		int error = 0;
		socklen_t len = sizeof(error);
		if (poll(&pfd, 1, 300) == 1 &&
			getsockopt(client.fd, SOL_SOCKET, SO_ERROR, &error,
				&len) == 0 &&
			error == 0) {
			client_get(&client, "/hello");
			if (client_read(&client, &reply))
				storm->answered++;
			else
				storm->lost++;
		}
		client_close(&client);
	}
	return NULL;
}

static unsigned
answers(struct storm storms[N_STORMS])
{
	unsigned sum = 0;

	for (size_t i = 0; i < N_STORMS; i++)
		sum += storms[i].answered;
	return sum;
}

static void
closing_the_listener_resets_no_connection(void **state UNUSED)
{
	struct app app;
	struct storm storms[N_STORMS];
	_Atomic bool over = false;

	struct http_config config = app_config();
	config.request_timeout_ns = 10 * NS_PER_S;
	app_start(&app, config);
	for (size_t i = 0; i < ARRAY_SIZE(storms); i++) {
		storms[i] = (struct storm){ .port = app.port, .over = &over };
		pthread_create(
			&storms[i].thread, NULL, connect_and_ask, &storms[i]);
	}
	while (answers(storms) <= 50)
		client_pause(10);
	http_server_drain(app.server);
	http_server_quiesce(app.server);
	client_pause(500);
	atomic_store(&over, true);
	for (size_t i = 0; i < ARRAY_SIZE(storms); i++) {
		pthread_join(storms[i].thread, NULL);
		assert_int_equal(storms[i].lost, 0);
	}
	app_stop(&app);
}

/* The kernel completes connections while the loop is busy. */
static void
closing_the_listener_takes_what_is_queued(void **state UNUSED)
{
	struct app app;
	struct client blocker, queued[20];
	struct client_reply reply;

	struct http_config config = app_config();
	config.threads = 1;
	config.request_timeout_ns = 10 * NS_PER_S;
	app_start(&app, config);
	client_open(&blocker, app.port);
	client_get(&blocker, "/block");
	while (http_server_stalled_ns(app.server) < 20 * NS_PER_MS)
		client_pause(1);
	for (size_t i = 0; i < ARRAY_SIZE(queued); i++)
		client_open(&queued[i], app.port);
	http_server_quiesce(app.server);
	for (size_t i = 0; i < ARRAY_SIZE(queued); i++) {
		client_get(&queued[i], "/hello");
		assert_true(client_read(&queued[i], &reply));
		assert_string_equal(reply.body, "hello");
		client_close(&queued[i]);
	}
	client_close(&blocker);
	app_stop(&app);
}

/*
 * Clients are taken until each loop has seen it; then neither taken nor reset,
 * for a fifth of a second: whoever is not given a CPU meanwhile misses that.
 */
static bool
drops_newcomers(void)
{
	struct app app;

	app_start(&app, app_config());
	http_server_quiesce(app.server);
	const struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(app.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct pollfd pfd = { .events = POLLOUT };
	int answered;

	do {
		pfd.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(
			pfd.fd, (const struct sockaddr *)&addr, sizeof(addr));
		answered = poll(&pfd, 1, 50);
		close(pfd.fd);
	} while (answered != 0 && (pfd.revents & (POLLERR | POLLHUP)) == 0);
	app_stop(&app);
	return answered == 0;
}

static void
a_closing_listener_takes_no_more(void **state UNUSED)
{
	int tries = 10;

	while (!drops_newcomers())
		assert_int_not_equal(--tries, 0);
}

static void *
stop_server(void *arg)
{
	app_stop(arg);
	return NULL;
}

static void
stopping_answers_what_is_left(void **state UNUSED)
{
	struct app app;
	struct client client, half;
	struct client_reply reply;
	pthread_t thread;

	struct http_config config = app_config();
	config.request_timeout_ns = 60 * NS_PER_S;
	config.idle_timeout_s = 60;
	app_start(&app, config);
	client_open(&client, app.port);
	client_open(&half, app.port);
	client_get(&client, "/never");
	client_print(&half,
		"POST /plain HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nx");
	client_pause(100);
	assert_int_equal(http_server_in_flight(app.server), 2);
	pthread_create(&thread, NULL, stop_server, &app);
	assert_true(client_read(&client, &reply));
	assert_int_equal(reply.status, 503);
	assert_non_null(strstr(reply.body, "\"reason\":\"DRAINING\""));
	assert_true(client_sees_end(&half, 2000));
	pthread_join(thread, NULL);
	client_close(&client);
	client_close(&half);
}

static struct http_config
one_loop(void)
{
	struct http_config config = app_config();

	config.threads = 1;
	config.request_timeout_ns = 10 * NS_PER_S;
	return config;
}

static struct client late;
static _Atomic int64_t send_at_ns; /* 0: not */

/* After a turn has read what there was, before the next looks whom to cut. */
static void
send_when_due(void *user UNUSED)
{
	int64_t at_ns = atomic_load(&send_at_ns);

	if (at_ns == 0 || clock_now_ns() < at_ns)
		return;
	atomic_store(&send_at_ns, 0);
	client_get(&late, "/hello");
}

static void
a_request_that_meets_the_cut_is_answered(void **state UNUSED)
{
	struct app app;
	struct client_reply reply;

	struct http_config config = one_loop();
	config.turn = send_when_due;
	app_start(&app, config);
	client_open(&late, app.port);
	int64_t before_ns = clock_now_ns();
	client_get(&late, "/hello");
	assert_true(client_read(&late, &reply));
	/* quiet since then, so cut a second later: after this turn */
	atomic_store(&send_at_ns, before_ns + NS_PER_S);
	http_server_drain(app.server);
	http_server_quiesce(app.server);
	assert_true(client_read(&late, &reply));
	assert_string_equal(reply.body, "hello");
	assert_true(client_sees_end(&late, 1000));
	client_close(&late);
	app_stop(&app);
}

static void
send_while_stopping(void *user)
{
	client_get(&late, "/hello");
	free(user);
}

static void
stopping_answers_what_came_unread(void **state UNUSED)
{
	struct app app;
	struct client_reply reply;
	pthread_t thread;

	struct http_config config = one_loop();
	config.stop_loop = send_while_stopping;
	app_start(&app, config);
	client_open(&late, app.port);
	client_get(&late, "/hello");
	assert_true(client_read(&late, &reply));
	pthread_create(&thread, NULL, stop_server, &app);
	assert_true(client_read(&late, &reply));
	assert_int_equal(reply.status, 503);
	assert_non_null(strstr(reply.body, "\"reason\":\"DRAINING\""));
	pthread_join(thread, NULL);
	client_close(&late);
}

enum { CROWD = 16 };
static struct client crowd[CROWD];

static void
all_send_while_stopping(void *user)
{
	for (int i = 0; i < CROWD; i++)
		client_get(&crowd[i], "/hello");
	free(user);
}

/* Half of them wait for an answer, half send while it stops. */
static void
retries_of_those_who_met_the_end_are_spread(void **state UNUSED)
{
	struct app app;
	struct client waiting[CROWD];
	struct client_reply reply;
	pthread_t thread;
	int told[2][4] = { { 0 } };

	struct http_config config = one_loop();
	config.stop_loop = all_send_while_stopping;
	app_start(&app, config);
	for (int i = 0; i < CROWD; i++) {
		client_open(&waiting[i], app.port);
		client_get(&waiting[i], "/never");
		client_open(&crowd[i], app.port);
		client_get(&crowd[i], "/hello");
		assert_true(client_read(&crowd[i], &reply));
	}
	pthread_create(&thread, NULL, stop_server, &app);
	for (int i = 0; i < CROWD; i++) {
		assert_true(client_read(&waiting[i], &reply));
		assert_in_range(client_retry_after(&reply), 1, 3);
		told[0][client_retry_after(&reply)]++;
		assert_true(client_read(&crowd[i], &reply));
		assert_in_range(client_retry_after(&reply), 1, 3);
		told[1][client_retry_after(&reply)]++;
	}
	pthread_join(thread, NULL);
	for (int s = 1; s <= 3; s++)
		assert_true(told[0][s] < CROWD && told[1][s] < CROWD);
	for (int i = 0; i < CROWD; i++) {
		client_close(&waiting[i]);
		client_close(&crowd[i]);
	}
}

static void
a_server_is_drained_when_the_last_connection_is_gone(void **state UNUSED)
{
	struct app app;
	struct client client;
	struct client_reply reply;

	app_start(&app, app_config());
	client_open(&client, app.port);
	client_get(&client, "/hello");
	assert_true(client_read(&client, &reply));
	http_server_drain(app.server);
	http_server_quiesce(app.server);
	assert_false(http_server_is_drained(app.server));
	client_get(&client, "/hello"); /* its last answer */
	assert_true(client_read(&client, &reply));
	assert_true(client_sees_end(&client, 1000));
	client_close(&client);
	while (!http_server_is_drained(app.server))
		client_pause(1);
	app_stop(&app);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(draining_ends_connections_with_their_reply),
		cmocka_unit_test(
			a_quiet_connection_is_kept_as_long_as_the_listener),
		cmocka_unit_test(closing_the_listener_resets_no_connection),
		cmocka_unit_test(closing_the_listener_takes_what_is_queued),
		cmocka_unit_test(a_closing_listener_takes_no_more),
		cmocka_unit_test(stopping_answers_what_is_left),
		cmocka_unit_test(a_request_that_meets_the_cut_is_answered),
		cmocka_unit_test(stopping_answers_what_came_unread),
		cmocka_unit_test(retries_of_those_who_met_the_end_are_spread),
		cmocka_unit_test(
			a_server_is_drained_when_the_last_connection_is_gone),
	};

	return cmocka_run_group_tests_name("http_drain", tests, NULL, NULL);
}
