/* SPDX-License-Identifier: MIT */
/*
 * http_internal - what the files of the HTTP kit share; for common/http*.c
 * only.
 *
 * A server owns its loops; a loop owns its connections, requests and watches
 * and touches them from its own thread only.  What other threads may reach is
 * atomic and said so.  See http_loop.c for the turn, http_request.c for the
 * life of a request, http_conn.c for that of a connection.
 */
#ifndef COMMON_HTTP_INTERNAL_H
#define COMMON_HTTP_INTERNAL_H

#include "common/clock.h"
#include "common/http.h"
#include "common/http_check.h"
#include "common/http_router.h"
#include "common/sync.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

struct http_meters;

/*
 * libmicrohttpd's memory per connection: request line, headers and what it
 * reads at once.  It is written to as a whole at every request, so 10,000
 * keep-alive connections keep 10,000 of them resident.
 */
#define HTTP_CONN_MEMORY 6144

struct http_server {
	struct http_config config;
	struct router *router;
	struct http_meters *meters;
	_Atomic int64_t request_timeout_ns;
	_Atomic unsigned access_log_sample;
	_Atomic size_t connections; /* of all loops, for max_connections */
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
};

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
	unsigned late;         /* replies queued that a second run writes */
	size_t n_polled;       /* requests it asks about at every run */
	int64_t poll_until_ns; /* when the oldest of these is suspended */
	/* http_listen.c */
	bool accept_paused;
	int64_t quiesced_at_ns; /* 0: not yet */
	/* http_conn.c */
	TAILQ_HEAD(, http_conn) quiet;       /* by quiet_since_ns */
	TAILQ_HEAD(, http_linger) lingering; /* by age */
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

struct http_pair {
	const char *name;
	const char *value;
};

#define HTTP_REPLY_HEADERS_MAX 6
#define HTTP_QUERY_MAX 16
#define HTTP_REQUEST_SIZE 3072 /* with the arena's first part */

struct http_block;

struct http_request {
	TAILQ_ENTRY(http_request) entry; /* of *list, or of loop->spare */
	struct http_requests *list;      /* NULL: in none */
	struct http_loop *loop;
	struct http_conn *conn;
	struct MHD_Connection *mhd; /* NULL once the client is gone */
	int64_t arrived_ns;
	int64_t deadline_ns;
	int64_t dispatched_ns;
	http_handler *on_deadline;
	void *user;
	enum http_method method;
	const char *path; /* as it came, without the query */
	struct router_match match;
	const char *params[ROUTER_PARAMS_MAX];
	struct http_pair query[HTTP_QUERY_MAX];
	unsigned n_query;
	struct http_headers headers; /* valid while mhd is */
	/* body */
	char *body;
	size_t body_len;
	size_t body_size;    /* room in `body` */
	size_t body_skipped; /* bytes read and dropped, it being too long */
	/* What will be answered instead of calling the handler, once all of
	 * the request is here: an enum problem, or -1. */
	int refusal;
	const char *refusal_note;
	/* state */
	bool dispatched;
	bool held;        /* the handler's side owes a reply */
	bool answered;    /* somebody gave one */
	bool kit_answers; /* we are giving one in the handler's place */
	bool polled;      /* counted in loop->n_polled */
	bool was_polled;
	bool suspended;
	bool close; /* the connection ends with this reply */
	/* reply */
	struct MHD_Response *response; /* until libmicrohttpd takes it */
	unsigned status;
	unsigned n_reply_headers;
	struct http_pair reply_headers[HTTP_REPLY_HEADERS_MAX];
	/* arena */
	struct http_block *blocks; /* further parts */
	size_t blocks_size;
	size_t arena_used; /* of the part in use */
	size_t arena_size;
	char *arena_at;
	_Alignas(16) char arena[];
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
void http_conn_init(struct http_loop *loop);
void http_conn_fini(struct http_loop *loop);

/* ---- http_loop.c ---- */
int http_loop_init(struct http_loop *loop, struct http_server *server,
	unsigned index, struct error *err) NODISCARD;
void http_loop_fini(struct http_loop *loop);
void *http_loop_thread(void *loop);
void http_loop_wake(struct http_loop *loop);

/* ---- http_intake.c: libmicrohttpd's callbacks ---- */
enum MHD_Result http_intake_access(void *cls, struct MHD_Connection *mhd,
	const char *url, const char *method, const char *version,
	const char *data, size_t *data_len, void **ctx);
void http_intake_completed(void *cls, struct MHD_Connection *mhd, void **ctx,
	enum MHD_RequestTerminationCode code);
size_t http_intake_unescape(void *cls, struct MHD_Connection *mhd, char *text);

/* ---- http_request.c ---- */

/* How long an unanswered request is polled before it is suspended, and how
 * many at once: see http_loop.c. */
#define HTTP_POLL_NS NS_PER_MS
#define HTTP_POLL_MAX 512

/* NULL when out of memory. */
struct http_request *http_request_new(struct http_loop *loop,
	struct http_conn *conn, struct MHD_Connection *mhd);
/* Its deadline begins. */
void http_request_enlist(struct http_request *req);
/*
 * The one way to answer.  Takes ownership of `response`; false when the
 * request had been answered already (the response is then the caller's).
 */
bool http_request_answer(struct http_request *req, unsigned status,
	struct MHD_Response *response) NODISCARD;
/* libmicrohttpd is done with it. */
void http_request_detach(struct http_request *req);
void http_request_unpoll(struct http_request *req);
/* Uninitialised; NULL when out of memory. */
void *http_request_room(struct http_request *req, size_t size);
/* `text` up to len, NUL-terminated; NULL when out of memory. */
char *http_request_copy(struct http_request *req, const char *text, size_t len);
/* Answers what is overdue. */
void http_request_tick(struct http_loop *loop);
/* Answers everything that is left, 503 DRAINING. */
void http_request_fail_all(struct http_loop *loop);
void http_request_init(struct http_loop *loop);
void http_request_fini(struct http_loop *loop);

/* ---- http_reply.c ---- */

/* The request ends with this, and the connection with it when `close`. */
void http_refuse(
	struct http_request *req, enum problem problem, const char *note);

/* ---- http_admin.c ---- */
enum http_admin {
	HTTP_ADMIN_OK,
	HTTP_ADMIN_OFF,
	HTTP_ADMIN_MISSING,
	HTTP_ADMIN_WRONG,
	HTTP_ADMIN_LIMITED, /* too many wrong tokens from this address */
};
enum http_admin http_admin_check(const struct http_request *req);

/* ---- http_meters.c ---- */
struct http_meters *http_meters_new(struct http_server *server);
void http_meters_free(struct http_meters *meters);
void http_meters_record(const struct http_request *req, int64_t ns);

#endif
