/* SPDX-License-Identifier: MIT */
#include "common/tests/fake_redis.h"

#include "common/clock.h"
#include "common/compiler.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

enum { CONNS_MAX = 256 };

/* Bytes to send when it is time, in their order. */
struct output {
	struct output *prev, *next;
	int64_t due_ns;
	bool then_close;
	bool held; /* until fake->released */
	size_t len;
	char data[];
};

struct client {
	int fd; /* -1: free */
	size_t number;
	redisReader *reader; /* requests are arrays, like replies */
	struct output *outputs;
	int64_t last_due_ns;
	bool mute;
};

struct fake_redis {
	pthread_t thread;
	int listen_fd;
	fake_script *script;
	void *ctx;
	struct client clients[CONNS_MAX];
	_Atomic bool stop, cut, released;
	_Atomic size_t evals, connections;
	_Atomic char run; /* its run id, from 0 */
};

static void
drop(struct client *client)
{
	struct output *output, *next;

	if (client->fd < 0)
		return;
	DL_FOREACH_SAFE(client->outputs, output, next)
	free(output);
	client->outputs = NULL;
	redisReaderFree(client->reader);
	close(client->fd);
	client->fd = -1;
}

static void
put(struct client *client, int delay_ms, bool then_close, const char *data)
{
	const size_t len = strlen(data);
	struct output *output = malloc(sizeof(*output) + len);
	int64_t due_ns = clock_now_ns() + delay_ms * NS_PER_MS;

	assert(output != NULL);
	if (client->mute) {
		free(output);
		return;
	}
	if (due_ns < client->last_due_ns)
		due_ns = client->last_due_ns;
	client->last_due_ns = due_ns;
	output->due_ns = due_ns;
	output->then_close = then_close;
	output->held = false;
	output->len = len;
	memcpy(output->data, data, len);
	DL_APPEND(client->outputs, output);
}

/* EVALSHA, script, number of keys, the keys, then the arguments. */
static void
format_echo(const redisReply *request, bool fewer, char *buf, size_t size)
{
	const bool each = strcmp(request->element[2]->str, "2") == 0;
	const size_t first = each ? 5 : request->elements - 1;
	const size_t end = request->elements - (each && fewer);
	size_t len = 0;

	if (each)
		len = (size_t)snprintf(buf, size, "*%zu\r\n", end - first);
	for (size_t i = first; i < end; i++)
		len += (size_t)snprintf(buf + len, size - len, "$%zu\r\n%s\r\n",
			request->element[i]->len, request->element[i]->str);
	assert(len < size);
}

static void
put_echo(struct client *client, struct fake_answer answer,
	const redisReply *request)
{
	char echo[8192], half[8192];

	format_echo(request, answer.act == FAKE_FEWER, echo, sizeof(echo));
	if (answer.act != FAKE_HALF && answer.act != FAKE_HALF_CLOSE) {
		put(client, answer.delay_ms, false, echo);
		if (client->outputs != NULL)
			client->outputs->prev->held = answer.act == FAKE_HELD;
		return;
	}
	snprintf(half, sizeof(half), "%.*s", (int)strlen(echo) / 2, echo);
	put(client, 0, answer.act == FAKE_HALF_CLOSE, half);
	put(client, answer.delay_ms, false, echo + strlen(half));
}

static void
eval(struct fake_redis *fake, struct client *client, const redisReply *request)
{
	const char *last = request->element[request->elements - 1]->str;
	const bool by_text = strcmp(request->element[0]->str, "EVAL") == 0;
	const size_t n = fake->evals++;
	struct fake_answer answer = { FAKE_ECHO, 0 };

	if (fake->script != NULL)
		answer = fake->script(fake->ctx, n, client->number, last);
	if (answer.act == FAKE_NOSCRIPT && by_text)
		answer.act = FAKE_ECHO;

	if (answer.act == FAKE_ERROR)
		put(client, answer.delay_ms, false, "-ERR as told\r\n");
	else if (answer.act == FAKE_NOSCRIPT)
		put(client, answer.delay_ms, false, "-NOSCRIPT no\r\n");
	else if (answer.act == FAKE_GARBAGE)
		put(client, answer.delay_ms, false, "?what\r\n");
	else if (answer.act == FAKE_CLOSE)
		put(client, answer.delay_ms, true, "");
	else if (answer.act == FAKE_SILENCE)
		client->mute = true;
	else
		put_echo(client, answer, request);
	if (answer.act == FAKE_TWICE)
		put(client, 0, false, "+UNASKED\r\n");
}

static void
serve(struct fake_redis *fake, struct client *client, const redisReply *request)
{
	const char *verb = request->element[0]->str;
	char info[64], sha1[64];

	if (strncmp(verb, "EVAL", 4) == 0)
		eval(fake, client, request);
	else if (strcmp(verb, "INFO") == 0) {
		snprintf(info, sizeof(info),
			"$42\r\nredis_version:7\r\nrun_id:%c\r\n"
			"aof_enabled:1\r\n\r\n",
			'a' + fake->run);
		put(client, 0, false, info);
	} else if (strcmp(verb, "CONFIG") == 0)
		put(client, 0, false, "*0\r\n");
	else if (strcmp(verb, "SCRIPT") == 0) {
		snprintf(sha1, sizeof(sha1), "$40\r\n%040zu\r\n",
			strlen(request->element[2]->str));
		put(client, 0, false, sha1);
	} else
		put(client, 0, false, "+PONG\r\n");
}

static void
receive(struct fake_redis *fake, struct client *client)
{
	char buf[16384];
	ssize_t n = recv(client->fd, buf, sizeof(buf), MSG_DONTWAIT);
	void *request = NULL;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		drop(client);
		return;
	}
	redisReaderFeed(client->reader, buf, (size_t)n);
	while (redisReaderGetReply(client->reader, &request) == REDIS_OK &&
		request != NULL) {
		serve(fake, client, request);
		freeReplyObject(request);
		request = NULL;
	}
}

static bool
is_withheld(const struct fake_redis *fake, const struct output *output)
{
	return output->held && !fake->released;
}

/* Send what is due. */
static void
deliver(const struct fake_redis *fake, struct client *client, int64_t now_ns)
{
	while (client->fd >= 0 && client->outputs != NULL &&
		client->outputs->due_ns <= now_ns &&
		!is_withheld(fake, client->outputs)) {
		struct output *output = client->outputs;
		const bool then_close = output->then_close;

		(void)!send(
			client->fd, output->data, output->len, MSG_NOSIGNAL);
		DL_DELETE(client->outputs, output);
		free(output);
		if (then_close)
			drop(client);
	}
}

static void
accept_one(struct fake_redis *fake)
{
	const int on = 1;
	size_t i = 0;

	while (i < CONNS_MAX && fake->clients[i].fd >= 0)
		i++;
	assert(i < CONNS_MAX);

	struct client *client = &fake->clients[i];

	*client = (struct client){
		.fd = accept(fake->listen_fd, NULL, NULL),
		.number = fake->connections++,
		.reader = redisReaderCreate(),
	};
	assert(client->fd >= 0);
	(void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static int
wait_ms(const struct fake_redis *fake)
{
	int64_t due_ns = clock_now_ns() + 20 * NS_PER_MS;

	for (size_t i = 0; i < CONNS_MAX; i++) {
		const struct client *client = &fake->clients[i];

		if (client->fd >= 0 && client->outputs != NULL &&
			!is_withheld(fake, client->outputs) &&
			client->outputs->due_ns < due_ns)
			due_ns = client->outputs->due_ns;
	}
	return clock_poll_timeout_ms(due_ns);
}

static void *
run(void *arg)
{
	struct fake_redis *fake = arg;
	struct pollfd fds[CONNS_MAX + 1];

	while (!fake->stop) {
		for (size_t i = 0; i < CONNS_MAX; i++)
			fds[i] = (struct pollfd){ .fd = fake->clients[i].fd,
				.events = POLLIN };
		fds[CONNS_MAX] = (struct pollfd){ .fd = fake->listen_fd,
			.events = POLLIN };
		(void)poll(fds, CONNS_MAX + 1, wait_ms(fake));

		const bool cut = fake->cut;

		for (size_t i = 0; i < CONNS_MAX; i++) {
			if (cut)
				drop(&fake->clients[i]);
			else if (fds[i].fd >= 0 && fds[i].revents != 0)
				receive(fake, &fake->clients[i]);
			deliver(fake, &fake->clients[i], clock_now_ns());
		}
		if (cut)
			fake->cut = false;
		if (fds[CONNS_MAX].revents != 0)
			accept_one(fake);
	}
	for (size_t i = 0; i < CONNS_MAX; i++)
		drop(&fake->clients[i]);
	return NULL;
}

struct fake_redis *
fake_redis_start(fake_script *script, void *ctx, int *ret_port)
{
	struct fake_redis *fake = calloc(1, sizeof(*fake));
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int rc;

	assert(fake != NULL);
	fake->script = script;
	fake->ctx = ctx;
	for (size_t i = 0; i < CONNS_MAX; i++)
		fake->clients[i].fd = -1;
	fake->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
	rc = bind(fake->listen_fd, (struct sockaddr *)&addr, len);
	assert(rc == 0);
	rc = listen(fake->listen_fd, CONNS_MAX);
	assert(rc == 0);
	rc = getsockname(fake->listen_fd, (struct sockaddr *)&addr, &len);
	assert(rc == 0);
	*ret_port = ntohs(addr.sin_port);
	rc = pthread_create(&fake->thread, NULL, run, fake);
	assert(rc == 0);
	return fake;
}

void
fake_redis_stop(struct fake_redis *fake)
{
	fake->stop = true;
	pthread_join(fake->thread, NULL);
	close(fake->listen_fd);
	free(fake);
}

size_t
fake_redis_evals(struct fake_redis *fake)
{
	return fake->evals;
}

size_t
fake_redis_connections(struct fake_redis *fake)
{
	return fake->connections;
}

void
fake_redis_release(struct fake_redis *fake)
{
	fake->released = true;
}

void
fake_redis_cut(struct fake_redis *fake)
{
	fake->cut = true;
	while (fake->cut)
		(void)poll(NULL, 0, 1);
}

void
fake_redis_restart(struct fake_redis *fake)
{
	fake->run++;
	fake_redis_cut(fake);
}
