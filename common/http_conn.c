/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * libmicrohttpd's own time-out counts from the last byte, so a client that
 * sends one byte a minute stays for ever, and it reads the clock twice per
 * request.  Here a connection is `quiet` from the moment it opens, or its last
 * reply was given, until its next request is complete; the list of quiet ones
 * is in order of that moment, and whoever is quiet for longer than idle-timeout
 * is cut, whatever it sends or fails to read meanwhile.  What has come by then
 * and was not read yet is read first, once: it may be a request.
 *
 * A cut and a request may still cross on their way, and then the request is
 * lost.  So nobody is cut early while draining: whoever uses his connection
 * gets its Connection: close.  Once the listener closes a second is enough.
 *
 * Closing.  A socket closed while bytes from the client are unread, or still
 * arrive, answers them with RST, and that can take the reply (413, 400) from
 * the client before it was read.  So a duplicate of the descriptor outlives
 * libmicrohttpd's close() (which has sent FIN) until the client has closed
 * too, LINGER_NS at most, and what still comes is read and dropped.
 */
#include "common/error.h"
#include "common/http_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUIESCED_QUIET_NS NS_PER_S
#define DISPLACE_NS NS_PER_S /* quiet for less, it keeps its place */
#define LINGER_NS (2 * NS_PER_S)
#define LINGERING_MAX 256 /* per loop; others are just closed */
#define LINGER_BYTES ((size_t)1024 * 1024) /* a client that sends more is cut */
#define LINGER_READ_MAX 65536 /* per event: others have their turn */

struct http_linger {
	TAILQ_ENTRY(http_linger) entry; /* of loop->lingering */
	struct http_loop *loop;
	int64_t until_ns;
	size_t bytes;
	int fd;
};

static void
linger_end(struct http_linger *linger)
{
	struct http_loop *loop = linger->loop;

	http_loop_unwatch(loop, linger->fd);
	close(linger->fd);
	TAILQ_REMOVE(&loop->lingering, linger, entry);
	loop->n_lingering--;
	free(linger);
}

static void
on_linger(void *arg, uint32_t events)
{
	struct http_linger *linger = arg;
	char sink[4096];
	size_t room = LINGER_READ_MAX;
	ssize_t n;

	do {
		n = recv(linger->fd, sink, sizeof(sink), MSG_DONTWAIT);
		if (n <= 0)
			break;
		linger->bytes += (size_t)n;
		room -= (size_t)n < room ? (size_t)n : room;
	} while (room > 0);
	if (n == 0 || linger->bytes > LINGER_BYTES ||
		(events & (EPOLLERR | EPOLLHUP)) != 0)
		linger_end(linger);
}

static void
linger_start(struct http_loop *loop, int fd)
{
	struct http_linger *linger = calloc(1, sizeof(*linger));
	struct error err;

	if (linger == NULL)
		return;
	linger->loop = loop;
	linger->until_ns = loop->now_ns + LINGER_NS;
	linger->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (linger->fd < 0) {
		free(linger);
		return;
	}
	TAILQ_INSERT_TAIL(&loop->lingering, linger, entry);
	loop->n_lingering++;
	if (http_loop_watch(
		    loop, linger->fd, EPOLLIN, on_linger, linger, &err) < 0)
		linger_end(linger);
}

/* Has the client closed its side, with nothing unread before that? */
static bool
is_at_end(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void
conn_open(struct http_loop *loop, struct MHD_Connection *mhd, void **ctx)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct http_conn *conn = calloc(1, sizeof(*conn));

	*ctx = conn;
	atomic_fetch_add(&loop->server->connections, 1);
	if (conn == NULL)
		return; /* its first request is refused */
	conn->loop = loop;
	conn->fd = info->connect_fd;
	http_conn_quiet(conn);
}

static void
conn_close(struct http_loop *loop, void **ctx)
{
	struct http_conn *conn = *ctx;

	*ctx = NULL;
	atomic_fetch_sub(&loop->server->connections, 1);
	if (conn == NULL)
		return;
	if (loop->n_lingering < LINGERING_MAX && !is_at_end(conn->fd))
		linger_start(loop, conn->fd);
	http_conn_busy(conn);
	free(conn);
}

void
http_conn_notify(void *cls, struct MHD_Connection *mhd, void **ctx,
	enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		conn_open(cls, mhd, ctx);
	else
		conn_close(cls, ctx);
}

void
http_conn_busy(struct http_conn *conn)
{
	if (!conn->is_quiet)
		return;
	TAILQ_REMOVE(&conn->loop->quiet, conn, entry);
	conn->is_quiet = false;
}

void
http_conn_quiet(struct http_conn *conn)
{
	http_conn_busy(conn);
	conn->quiet_since_ns = conn->loop->now_ns;
	TAILQ_INSERT_TAIL(&conn->loop->quiet, conn, entry);
	conn->is_quiet = true;
	conn->spared = false;
}

/* Does it wait to be read? */
static bool
has_unread(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void
cut_or_spare(struct http_conn *conn)
{
	if (!conn->spared && has_unread(conn->fd)) {
		http_conn_quiet(conn);
		conn->spared = true;
		return;
	}
	http_conn_busy(conn);
	(void)shutdown(conn->fd, SHUT_RDWR); /* it sees this and ends */
}

struct http_conn *
http_conn_longest_quiet(struct http_loop *loop)
{
	struct http_conn *conn = TAILQ_FIRST(&loop->quiet);
	if (conn == NULL || conn->quiet_since_ns + DISPLACE_NS > loop->now_ns)
		return NULL;
	if (!conn->spared && has_unread(conn->fd)) {
		http_conn_quiet(conn);
		conn->spared = true;
		return NULL;
	}
	return conn;
}

void
http_conn_displace(struct http_conn *conn)
{
	http_conn_busy(conn);
	(void)shutdown(conn->fd, SHUT_RDWR); /* its place is free shortly */
	atomic_fetch_add_explicit(
		&conn->loop->server->displaced, 1, memory_order_relaxed);
}

/* The oldest of those still lingering, once the others have ended. */
static const struct http_linger *
end_old_lingers(struct http_loop *loop, int64_t until_ns)
{
	struct http_linger *linger = TAILQ_FIRST(&loop->lingering);

	while (linger != NULL && linger->until_ns <= until_ns) {
		struct http_linger *next = TAILQ_NEXT(linger, entry);

		linger_end(linger);
		linger = next;
	}
	return linger;
}

int64_t
http_conn_tick(struct http_loop *loop)
{
	const struct http_server *server = loop->server;
	bool quiescing =
		atomic_load_explicit(&server->quiescing, memory_order_relaxed);
	int64_t limit_ns = quiescing ? QUIESCED_QUIET_NS
				     : server->config.idle_timeout_s * NS_PER_S;
	const struct http_linger *linger = end_old_lingers(loop, loop->now_ns);
	int64_t next = linger == NULL ? INT64_MAX : linger->until_ns;
	struct http_conn *conn;

	while ((conn = TAILQ_FIRST(&loop->quiet)) != NULL &&
		conn->quiet_since_ns + limit_ns <= loop->now_ns)
		cut_or_spare(conn);
	if (conn != NULL && conn->quiet_since_ns + limit_ns < next)
		next = conn->quiet_since_ns + limit_ns;
	return next;
}

void
http_conn_finish(struct http_loop *loop)
{
	const struct http_conn *last = TAILQ_LAST(&loop->quiet, http_conns);
	struct http_conn *conn = NULL;

	while (conn != last) {
		conn = TAILQ_FIRST(&loop->quiet);
		if (conn->has_request)
			http_conn_quiet(conn);
		else
			cut_or_spare(conn);
		/* either way it is the first no more */
	}
}

void
http_conn_init(struct http_loop *loop)
{
	TAILQ_INIT(&loop->quiet);
	TAILQ_INIT(&loop->lingering);
}

void
http_conn_fini(struct http_loop *loop)
{
	(void)end_old_lingers(loop, INT64_MAX);
}
