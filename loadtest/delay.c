/* SPDX-License-Identifier: MIT */
/*
 * delay - a TCP proxy that hands on what the server says MS later.
 *
 *	delay PORT SERVER_PORT MS
 *
 * What clients say goes to the server at once.  The delay is the same for
 * all, so one queue holds everything that waits, in the order in which it is
 * due.  One thread, loopback only, writes that block: its two sides read.
 */
#include "common/clock.h"
#include "common/must.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>

enum { CHUNK_SIZE = 16 * 1024, EVENTS = 64 };

/* A client, and the connection to the server that was opened for it. */
struct pair {
	struct side {
		struct pair *pair;
		int fd, to;
	} client, server;
	unsigned n_waiting; /* chunks */
	bool ended;
};

struct chunk {
	STAILQ_ENTRY(chunk) link;
	struct pair *pair;
	int64_t due_ns;
	size_t len;
	char data[];
};

static STAILQ_HEAD(chunks, chunk) waiting = STAILQ_HEAD_INITIALIZER(waiting);
static int64_t delay_ns;
static int epoll_fd;

static void
check(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	_exit(EXIT_FAILURE);
}

static void
watch(int fd, void *of)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = of };

	check(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0, "epoll");
}

static struct sockaddr_in
loopback(const char *port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtol(port, NULL, 10)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

static int
listen_on(const char *port)
{
	const struct sockaddr_in addr = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int one = 1;

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	check(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 &&
			listen(fd, 1024) == 0,
		"listen");
	return fd;
}

static void
start_pair(int listen_fd, const char *server_port)
{
	const struct sockaddr_in addr = loopback(server_port);
	struct pair *pair = must(calloc(1, sizeof(*pair)));
	int one = 1;
	int client = accept(listen_fd, NULL, NULL);
	int server = socket(AF_INET, SOCK_STREAM, 0);

	check(client >= 0, "accept");
	check(connect(server, (const struct sockaddr *)&addr, sizeof(addr)) ==
			0,
		"connect");
	(void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	pair->client = (struct side){ pair, client, server };
	pair->server = (struct side){ pair, server, client };
	watch(client, &pair->client);
	watch(server, &pair->server);
}

static void
free_if_done(struct pair *pair)
{
	if (pair->ended && pair->n_waiting == 0)
		free(pair);
}

/* Either side closed: both go, and what still waits is dropped. */
static void
end_pair(struct pair *pair)
{
	pair->ended = true;
	(void)close(pair->client.fd);
	(void)close(pair->server.fd);
}

static bool
send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static void
hold(struct pair *pair, const char *data, size_t len)
{
	struct chunk *chunk = must(malloc(sizeof(*chunk) + len));

	chunk->pair = pair;
	chunk->due_ns = clock_now_ns() + delay_ns;
	chunk->len = len;
	memcpy(chunk->data, data, len);
	pair->n_waiting++;
	STAILQ_INSERT_TAIL(&waiting, chunk, link);
}

static void
on_readable(struct side *side)
{
	struct pair *pair = side->pair;
	char data[CHUNK_SIZE];

	if (pair->ended)
		return; /* in this very turn */
	ssize_t n = recv(side->fd, data, sizeof(data), MSG_DONTWAIT);
	if (n > 0 && side == &pair->server)
		hold(pair, data, (size_t)n);
	else if (n <= 0 || !send_all(side->to, data, (size_t)n))
		end_pair(pair);
}

static void
hand_on(struct chunk *chunk)
{
	struct pair *pair = chunk->pair;

	STAILQ_REMOVE_HEAD(&waiting, link);
	pair->n_waiting--;
	if (!pair->ended && !send_all(pair->client.fd, chunk->data, chunk->len))
		end_pair(pair);
	free_if_done(pair);
	free(chunk);
}

static int
wait_ms(void)
{
	const struct chunk *first = STAILQ_FIRST(&waiting);

	return first == NULL ? -1 : clock_poll_timeout_ms(first->due_ns);
}

int
main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];

	if (argc != 4) {
		(void)fprintf(stderr, "usage: delay PORT SERVER_PORT MS\n");
		return 2;
	}
	delay_ns = strtol(argv[3], NULL, 10) * NS_PER_MS;
	epoll_fd = epoll_create1(0);
	int listen_fd = listen_on(argv[1]);
	watch(listen_fd, NULL);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, EVENTS, wait_ms());

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == NULL)
				start_pair(listen_fd, argv[2]);
			else
				on_readable(events[i].data.ptr);
		}
		while (!STAILQ_EMPTY(&waiting) &&
			STAILQ_FIRST(&waiting)->due_ns <= clock_now_ns())
			hand_on(STAILQ_FIRST(&waiting));
	}
}
