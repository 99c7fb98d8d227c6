/* SPDX-License-Identifier: MIT */
/*
 * http_internal - what the files of the HTTP kit share; for common/http*.c
 * only.
 *
 * A server owns its loops; a loop owns its connections, requests and watches
 * and touches them from its own thread only.  What other threads may reach is
 * atomic and said so.  See http_loop.c for the turn, http_conn.c for the life
 * of a connection, http_request_internal.h for requests.
 */
#ifndef COMMON_HTTP_INTERNAL_H
#define COMMON_HTTP_INTERNAL_H

#include "common/clock.h"
#include "common/http.h"
#include "common/sync.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

struct http_meters;
struct http_request;
struct router;

/*
 * libmicrohttpd's memory per connection: request line, headers and what it
 * reads at once.  It is written to as a whole at every request, so 10,000
 * keep-alive connections keep 10,000 of them resident.
 */
#define HTTP_CONN_MEMORY 6144
/* By so many a loop may exceed max_connections until those it cut are gone. */
#define HTTP_ACCEPTS_PER_TURN 64

struct http_server {
	struct http_config config;
	struct router *router;
	struct http_meters *meters;
	_Atomic int64_t request_timeout_ns;
	_Atomic unsigned access_log_sample;
	_Atomic size_t connections; /* of all loops, for max_connections */
	_Atomic unsigned listening; /* loops whose listener is open */
	_Atomic uint64_t displaced; /* cut to make room for others */
	_Atomic bool draining;
	_Atomic bool quiescing;
	_Atomic bool stopping;
	struct mutex lock;
	struct cond started; /* with lock: n_started changed */
	unsigned n_started;
	unsigned n_loops;
	struct http_loop *loops;
};

/* A place in the loop's table of watches, at index fd. */
struct http_watch {
	http_fd_fn *fn; /* NULL: none */
	void *arg;
	uint32_t events;
	uint32_t
		generation; /* tells events of a closed fd from its successor's */
};

struct http_conn {
	TAILQ_ENTRY(http_conn) entry; /* of loop->quiet, while is_quiet */
	struct http_loop *loop;
	int64_t quiet_since_ns;
	int fd;
	bool is_quiet;
	bool has_request; /* begun, and its reply not yet written */
	bool spared;      /* since it became quiet: not cut the last time */
};

TAILQ_HEAD(http_conns, http_conn);
TAILQ_HEAD(http_requests, http_request);

struct http_loop {
	struct http_server *server;
	unsigned index;
	pthread_t thread;
	int epoll_fd;
	int wake_fd;
	int listen_fd; /* -1 once closed */
	struct MHD_Daemon *mhd;
	void *user;
	int64_t now_ns;
	struct http_watch *watches;
	size_t n_watches;
	/* http_loop.c: reasons to call MHD_run() in this turn */
	bool mhd_ready;        /* a socket of it is readable or writable */
	bool answered;         /* replies wait to be taken by it */
	bool finishing;        /* `user` is gone: no handler may run */
	unsigned late;         /* replies queued that a second run writes */
	size_t n_polled;       /* requests it asks about at every run */
	int64_t poll_again_ns; /* the latest time of the next run */
	/* http_listen.c */
	int64_t accept_at_ns;   /* 0: accepting, else when to try again */
	int64_t quiesced_at_ns; /* 0: not yet */
	/* http_conn.c */
	struct http_conns quiet;                         /* by quiet_since_ns */
	TAILQ_HEAD(http_lingers, http_linger) lingering; /* by age */
	unsigned n_lingering;
	/* http_request.c */
	struct http_requests timed;   /* by deadline_ns */
	struct http_requests untimed; /* HTTP_NO_DEADLINE */
	struct http_requests overdue; /* answered by us, still held */
	struct http_requests spare;
	unsigned n_spare;
	unsigned since_access_log;
	/* any thread */
	CACHE_ALIGNED _Atomic(struct http_post *) posts;
	_Atomic size_t in_flight;
	_Atomic int64_t busy_since_ns; /* 0 while it waits for events */
};

/* ---- http_server.c ---- */
bool http_server_serves(
	const struct http_config *config, const struct http_route *route);

/* ---- http_listen.c ---- */

/* -1 and `err` set when the port is taken or the address is no address. */
int http_listen_probe(
	const struct http_config *config, struct error *err) NODISCARD;
int http_listen_open(const struct http_config *config, int *ret_fd,
	struct error *err) NODISCARD;
/* Names who listens on the port: "java (pid 123)", or "another process". */
void http_listen_owner(uint16_t port, char *buf, size_t size);
int http_listen_start(struct http_loop *loop, struct error *err) NODISCARD;
/* Accepting after a pause, closing when quiesced; INT64_MAX or when next. */
int64_t http_listen_tick(struct http_loop *loop);

/* ---- http_conn.c ---- */
void http_conn_notify(void *cls, struct MHD_Connection *mhd, void **ctx,
	enum MHD_ConnectionNotificationCode code);
void http_conn_busy(struct http_conn *conn);
void http_conn_quiet(struct http_conn *conn);
/* Cuts the overdue; returns when to call it next. */
int64_t http_conn_tick(struct http_loop *loop);
/* Cuts those without a request. */
void http_conn_finish(struct http_loop *loop);
/* Who goes when there is no room for a newcomer; NULL: nobody should. */
struct http_conn *http_conn_longest_quiet(struct http_loop *loop);
void http_conn_displace(struct http_conn *conn);
void http_conn_init(struct http_loop *loop);
void http_conn_fini(struct http_loop *loop);

/* ---- http_loop.c ---- */
int http_loop_init(struct http_loop *loop, struct http_server *server,
	unsigned index, struct error *err) NODISCARD;
void http_loop_fini(struct http_loop *loop);
void *http_loop_thread(void *loop);

/* ---- http_watch.c ---- */
struct epoll_event;
void http_loop_dispatch(
	struct http_loop *loop, const struct epoll_event *event);
void http_loop_wake(struct http_loop *loop);
/* Runs what was posted. */
void http_loop_on_wake(void *loop, uint32_t events);

#endif
