/* SPDX-License-Identifier: MIT */
/* What a client gets for which bytes: framing, routing, bodies, problems. */
#include "common/tests/http_app.h"
#include "common/tests/http_client.h"
#include "common/tests/unit.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define HOST "Host: test\r\n"
#define JSON "Content-Type: application/json\r\n"

static struct app app;

static int
start(void **state UNUSED)
{
	app_start(&app, app_config());
	return 0;
}

static int
stop(void **state UNUSED)
{
	app_stop(&app);
	return 0;
}

/* The answer to `request`, and that the connection ended with it or not. */
static void
expect(const char *request, unsigned status, bool ends)
{
	struct client client;
	struct client_reply reply;

	client_open(&client, app.port);
	(void)client_send(&client, request, strlen(request));
	if (!client_read(&client, &reply))
		fail_msg("no reply to: %s", request);
	if (reply.status != status)
		fail_msg("%u, not %u, to: %s", reply.status, status, request);
	if (ends != client_sees_end(&client, ends ? 3000 : 50))
		fail_msg("%s: %s", ends ? "stays open" : "closed", request);
	client_close(&client);
}

static void
keeps(const char *request, unsigned status)
{
	expect(request, status, false);
}

static void
ends(const char *request, unsigned status)
{
	expect(request, status, true);
}

static void
a_request_is_answered_and_the_connection_kept(void **state UNUSED)
{
	struct client client;
	struct client_reply reply;
	char value[64];

	client_open(&client, app.port);
	for (int i = 0; i < 3; i++) {
		client_print(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
		assert_true(client_read(&client, &reply));
		assert_int_equal(reply.status, 200);
		assert_string_equal(reply.body, "hello");
		assert_non_null(
			client_header(&reply, "Date", value, sizeof(value)));
		assert_null(client_header(
			&reply, "Connection", value, sizeof(value)));
	}
	client_close(&client);
}

static void
ambiguous_framing_is_refused_and_the_connection_ends(void **state UNUSED)
{
	ends("POST /echo HTTP/1.1\r\n" HOST JSON
	     "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
	     "0\r\n\r\nGET /hello HTTP/1.1\r\n" HOST "\r\n",
		400);
	ends("POST /echo HTTP/1.1\r\n" HOST JSON
	     "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
		400);
	ends("POST /echo HTTP/1.1\r\n" HOST JSON
	     "Content-Length: 2, 2\r\n\r\n{}",
		400);
	ends("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: +2\r\n\r\n{}",
		400);
	ends("POST /echo HTTP/1.1\r\n" HOST JSON "Content-Length: -1\r\n\r\n{}",
		400);
	ends("POST /echo HTTP/1.1\r\n" HOST JSON
	     "Transfer-Encoding: gzip\r\n\r\n{}",
		400);
	ends("POST /echo HTTP/1.1\r\n" HOST JSON
	     "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		400);
	ends("POST /echo HTTP/1.1\r\n" HOST JSON
	     "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
	     "0\r\n\r\n",
		400);
	ends("POST /echo HTTP/1.0\r\n" JSON
	     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		400);
	ends("POST /echo HTTP/1.1\r\n" HOST JSON
	     "Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
		400);
}

static void
malformed_requests_are_refused(void **state UNUSED)
{
	ends("GET /hello HTTP/1.1\r\n\r\n", 400); /* no Host */
	ends("GET /hello HTTP/1.1\r\n" HOST HOST "\r\n", 400);
	ends("GET /hello HTTP/1.1\r\n" HOST "X Y: 1\r\n\r\n", 400);
	ends("GET /hello HTTP/1.1\r\n" HOST "Host : 1\r\n\r\n", 400);
	ends("GET /hello HTTP/1.1\r\n" HOST "nonsense\r\n\r\n", 400);
	ends("GET /hello HTTP/1.x\r\n" HOST "\r\n", 400);
	ends("GET /hello HTTP/2.0\r\n" HOST "\r\n", 505);
	ends("GET /hello HTTP/0.9\r\n" HOST "\r\n", 505);
}

static void
a_missing_host_is_a_problem_like_any_other(void **state UNUSED)
{
	struct client_reply reply;

	client_ask(app.port, "GET /hello HTTP/1.1\r\n\r\n", &reply);
	assert_int_equal(reply.status, 400);
	assert_non_null(strstr(reply.body, "Host is missing."));
}

static void
http_1_0_is_answered_and_closed(void **state UNUSED)
{
	ends("GET /hello HTTP/1.0\r\n\r\n", 200);
	keeps("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200);
	ends("GET /hello HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", 200);
}

static void
long_lines_are_refused(void **state UNUSED)
{
	static char request[20000];
	int n;

	n = snprintf(request, sizeof(request),
		"GET /hello?q=%09999d HTTP/1.1\r\n" HOST "\r\n", 0);
	assert_true(n > 0);
	ends(request, 414);
	n = snprintf(request, sizeof(request),
		"GET /hello HTTP/1.1\r\n" HOST "X-Long: %09999d\r\n\r\n", 0);
	assert_true(n > 0);
	ends(request, 431);
}

static void
paths_are_matched_exactly(void **state UNUSED)
{
	keeps("GET /nothing HTTP/1.1\r\n" HOST "\r\n", 404);
	keeps("GET /hello/ HTTP/1.1\r\n" HOST "\r\n", 404);
	keeps("GET /hello?x=1 HTTP/1.1\r\n" HOST "\r\n", 200);
	keeps("GET http://test/hello HTTP/1.1\r\n" HOST "\r\n", 200);
	keeps("GET /items/ HTTP/1.1\r\n" HOST "\r\n", 404);
	keeps("GET /items/1/2 HTTP/1.1\r\n" HOST "\r\n", 404);
	keeps("GET / HTTP/1.1\r\n" HOST "\r\n", 404);
}

static void
path_and_query_are_decoded_once(void **state UNUSED)
{
	struct client_reply reply;

	client_ask(app.port,
		"GET /items/a%2Fb%20%EA%B0%80%2525 HTTP/1.1\r\n" HOST "\r\n",
		&reply);
	assert_int_equal(reply.status, 200);
	assert_string_equal(reply.body, "a/b \xEA\xB0\x80%25");
	client_ask(app.port,
		"GET /query?p=1&q=a+b%2B%26&q=2 HTTP/1.1\r\n" HOST "\r\n",
		&reply);
	assert_string_equal(reply.body, "a b+&");
	keeps("GET /items/%00 HTTP/1.1\r\n" HOST "\r\n", 400);
	keeps("GET /items/%zz HTTP/1.1\r\n" HOST "\r\n", 400);
	keeps("GET /items/%E0%80 HTTP/1.1\r\n" HOST "\r\n", 400);
	keeps("GET /query?q=%f HTTP/1.1\r\n" HOST "\r\n", 400);
}

static void
head_has_the_headers_of_get(void **state UNUSED)
{
	struct client client;
	struct client_reply reply;

	client_open(&client, app.port);
	client_print(&client, "HEAD /hello HTTP/1.1\r\n" HOST "\r\n");
	assert_true(client_read_head(&client, &reply));
	assert_int_equal(reply.status, 200);
	assert_int_equal(reply.body_len, 5);
	client_print(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	assert_true(client_read(&client, &reply));
	assert_string_equal(reply.body, "hello");
	client_close(&client);
}

static void
other_methods_get_allow(void **state UNUSED)
{
	struct client_reply reply;
	char value[64];

	client_ask(app.port, "OPTIONS /hello HTTP/1.1\r\n" HOST "\r\n", &reply);
	assert_int_equal(reply.status, 204);
	assert_string_equal(
		client_header(&reply, "Allow", value, sizeof(value)),
		"GET, HEAD, OPTIONS");
	client_ask(app.port, "DELETE /echo HTTP/1.1\r\n" HOST "\r\n", &reply);
	assert_int_equal(reply.status, 405);
	assert_string_equal(
		client_header(&reply, "Allow", value, sizeof(value)),
		"POST, OPTIONS");
	keeps("FROBNICATE /hello HTTP/1.1\r\n" HOST "\r\n", 405);
	keeps("OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 204);
	keeps("OPTIONS /nothing HTTP/1.1\r\n" HOST "\r\n", 404);
}

static void
bodies_must_be_json_where_json_is_read(void **state UNUSED)
{
	keeps("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n{}",
		415);
	keeps("POST /echo HTTP/1.1\r\n" HOST
	      "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
		415);
	keeps("POST /echo HTTP/1.1\r\n" HOST
	      "Content-Type: application/json; charset=latin1\r\n"
	      "Content-Length: 2\r\n\r\n{}",
		415);
	keeps("POST /echo HTTP/1.1\r\n" HOST
	      "Content-Type: Application/JSON; charset=\"UTF-8\"\r\n"
	      "Content-Length: 2\r\n\r\n{}",
		200);
	keeps("POST /echo HTTP/1.1\r\n" HOST JSON "\r\n", 400);
	keeps("POST /plain HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc",
		200);
	keeps("GET /hello HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc",
		200);
}

static void
a_body_may_come_in_any_pieces(void **state UNUSED)
{
	static const char request[] = "POST /echo HTTP/1.1\r\n" HOST JSON
				      "Transfer-Encoding: chunked\r\n\r\n"
				      "4\r\n{\"a\"\r\n3\r\n:1}\r\n"
				      "0\r\nTrailer: x\r\n\r\n";
	struct client client;
	struct client_reply reply;

	client_open(&client, app.port);
	for (size_t i = 0; i < sizeof(request) - 1; i++)
		(void)client_send(&client, request + i, 1);
	assert_true(client_read(&client, &reply));
	assert_int_equal(reply.status, 200);
	assert_string_equal(reply.body, "{\"a\":1}");
	client_print(&client,
		"POST /echo HTTP/1.1\r\n" HOST JSON
		"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	assert_true(client_read_head(&client, &reply));
	assert_int_equal(reply.status, 100);
	client_print(&client, "{}");
	assert_true(client_read(&client, &reply));
	assert_string_equal(reply.body, "{}");
	client_close(&client);
}

static void
the_body_limit_is_exact(void **state UNUSED)
{
	static char request[6000];
	struct client_reply reply;

	(void)snprintf(request, sizeof(request),
		"POST /plain HTTP/1.1\r\n" HOST
		"Content-Length: 4096\r\n\r\n%04096d",
		0);
	client_ask(app.port, request, &reply);
	assert_int_equal(reply.status, 200);
	assert_string_equal(reply.body, "4096");
	(void)snprintf(request, sizeof(request),
		"POST /plain HTTP/1.1\r\n" HOST
		"Content-Length: 4097\r\n\r\n%04097d",
		0);
	ends(request, 413);
	(void)snprintf(request, sizeof(request),
		"POST /plain HTTP/1.1\r\n" HOST
		"Transfer-Encoding: chunked\r\n\r\n"
		"1000\r\n%04096d\r\n0\r\n\r\n",
		0);
	keeps(request, 200);
	(void)snprintf(request, sizeof(request),
		"POST /plain HTTP/1.1\r\n" HOST
		"Transfer-Encoding: chunked\r\n\r\n"
		"1001\r\n%04097d\r\n0\r\n\r\n",
		0);
	ends(request, 413);
	ends("POST /plain HTTP/1.1\r\n" HOST
	     "Content-Length: 99999999999999999999999\r\n\r\n",
		413);
}

/* The client sends all of a body far too long before it reads. */
static void
a_413_can_be_read_by_a_client_that_still_sends(void **state UNUSED)
{
	static char part[65536];

	memset(part, 'x', sizeof(part));
	for (int round = 0; round < 5; round++) {
		struct client client;
		struct client_reply reply;

		client_open(&client, app.port);
		client_print(&client, "POST /plain HTTP/1.1\r\n" HOST
				      "Content-Length: 524288\r\n\r\n");
		for (int i = 0; i < 8; i++) {
			(void)poll(NULL, 0, 2); /* it is closed already */
			assert_true(client_send(&client, part, sizeof(part)));
		}
		assert_true(client_read(&client, &reply));
		assert_int_equal(reply.status, 413);
		assert_true(client_sees_end(&client, 3000));
		client_close(&client);
	}
}

static void
an_endless_chunked_body_is_cut(void **state UNUSED)
{
	static char chunk[65536 + 16];
	struct client client;
	int head = snprintf(chunk, sizeof(chunk), "10000\r\n");

	memset(chunk + head, 'x', 65536);
	memcpy(chunk + head + 65536, "\r\n", 2);
	client_open(&client, app.port);
	client_print(&client, "POST /plain HTTP/1.1\r\n" HOST
			      "Transfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 64; i++)
		(void)client_send(&client, chunk, (size_t)head + 65536 + 2);
	char byte;
	assert_true(recv(client.fd, &byte, 1, 0) <= 0);
	client_close(&client);
}

static void
pipelined_requests_are_answered_in_order(void **state UNUSED)
{
	static const char *const paths[] = { "hello", "thread", "items/1",
		"turn", "hello", "items/2" };
	static const char *const bodies[] = { "hello", "posted", "1", "turned",
		"hello", "2" };
	struct client client;
	struct client_reply reply;

	client_open(&client, app.port);
	for (size_t i = 0; i < 60; i++)
		client_print(&client, "GET /%s HTTP/1.1\r\n" HOST "\r\n",
			paths[i % ARRAY_SIZE(paths)]);
	for (size_t i = 0; i < 60; i++) {
		assert_true(client_read(&client, &reply));
		assert_string_equal(reply.body, bodies[i % ARRAY_SIZE(paths)]);
	}
	client_close(&client);
}

static void
a_large_reply_arrives_whole(void **state UNUSED)
{
	struct client_reply reply;

	client_ask(app.port, "GET /big HTTP/1.1\r\n" HOST "\r\n", &reply);
	assert_int_equal(reply.body_len, 1024 * 1024);
}

static void
problems_say_what_in_the_clients_language(void **state UNUSED)
{
	struct client_reply reply;
	char value[64];

	client_ask(app.port, "GET /no\"thing HTTP/1.1\r\n" HOST "\r\n", &reply);
	assert_string_equal(
		client_header(&reply, "Content-Type", value, sizeof(value)),
		"application/problem+json");
	assert_string_equal(reply.body,
		"{\"type\":\"https://coupon.example/problems/not-found\","
		"\"title\":\"Not found\",\"status\":404,\"code\":\"NOT_FOUND\","
		"\"detail\":\"There is nothing at this address.\","
		"\"instance\":\"/no\\\"thing\"}");
	client_ask(app.port,
		"GET /nothing HTTP/1.1\r\n" HOST
		"Accept-Language: ko-KR,ko;q=0.9\r\n\r\n",
		&reply);
	assert_non_null(strstr(reply.body, "찾을 수 없습니다"));
	client_ask(app.port,
		"POST /echo HTTP/1.1\r\n" HOST
		"Accept-Language: ko\r\nContent-Type: application/json\r\n"
		"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
		&reply);
	assert_non_null(strstr(reply.body,
		"\"detail\":\"요청 형식이 올바르지 않습니다. "
		"(Content-Length and Transfer-Encoding exclude each "
		"other.)\""));
}

static void
ids_of_the_client_are_taken_when_valid(void **state UNUSED)
{
#define TRACE "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	struct client_reply reply;

	client_ask(app.port,
		"GET /who HTTP/1.1\r\n" HOST
		"X-Request-Id: abc-1.2_3\r\ntraceparent: " TRACE "\r\n\r\n",
		&reply);
	assert_string_equal(reply.body, "abc-1.2_3|" TRACE);
	client_ask(app.port,
		"GET /who HTTP/1.1\r\n" HOST
		"X-Request-Id: a b\r\ntraceparent: 00-zz\r\n\r\n",
		&reply);
	assert_string_equal(reply.body, "|-");
}

static void
ask_secret(const char *authorization, struct client_reply *reply)
{
	char request[256];

	(void)snprintf(request, sizeof(request),
		"PUT /secret HTTP/1.1\r\n" HOST "%s\r\n", authorization);
	client_ask(app.port, request, reply);
}

static void
admin_routes_need_the_token_and_guessing_is_slow(void **state UNUSED)
{
	struct client_reply reply;
	char value[64];

	ask_secret("", &reply);
	assert_int_equal(reply.status, 401);
	assert_string_equal(
		client_header(&reply, "WWW-Authenticate", value, sizeof(value)),
		"Bearer");
	ask_secret("Authorization: Bearer sesame\r\n", &reply);
	assert_int_equal(reply.status, 200);
	for (int i = 0; i < 10; i++) {
		ask_secret("Authorization: Bearer guess\r\n", &reply);
		assert_int_equal(reply.status, 403);
	}
	ask_secret("Authorization: Bearer guess\r\n", &reply);
	assert_int_equal(reply.status, 429);
	assert_non_null(
		client_header(&reply, "Retry-After", value, sizeof(value)));
	ask_secret("Authorization: Bearer sesame\r\n", &reply);
	assert_int_equal(reply.status, 429);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_answered_and_the_connection_kept),
		cmocka_unit_test(
			ambiguous_framing_is_refused_and_the_connection_ends),
		cmocka_unit_test(malformed_requests_are_refused),
		cmocka_unit_test(a_missing_host_is_a_problem_like_any_other),
		cmocka_unit_test(http_1_0_is_answered_and_closed),
		cmocka_unit_test(long_lines_are_refused),
		cmocka_unit_test(paths_are_matched_exactly),
		cmocka_unit_test(path_and_query_are_decoded_once),
		cmocka_unit_test(head_has_the_headers_of_get),
		cmocka_unit_test(other_methods_get_allow),
		cmocka_unit_test(bodies_must_be_json_where_json_is_read),
		cmocka_unit_test(a_body_may_come_in_any_pieces),
		cmocka_unit_test(the_body_limit_is_exact),
		cmocka_unit_test(
			a_413_can_be_read_by_a_client_that_still_sends),
		cmocka_unit_test(an_endless_chunked_body_is_cut),
		cmocka_unit_test(pipelined_requests_are_answered_in_order),
		cmocka_unit_test(a_large_reply_arrives_whole),
		cmocka_unit_test(problems_say_what_in_the_clients_language),
		cmocka_unit_test(ids_of_the_client_are_taken_when_valid),
		cmocka_unit_test(
			admin_routes_need_the_token_and_guessing_is_slow),
	};

	return cmocka_run_group_tests_name("http_requests", tests, start, stop);
}
