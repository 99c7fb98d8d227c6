/* SPDX-License-Identifier: MIT */
/*
 * http_request_internal - a request as the files of the HTTP kit see it; for
 * common/http*.c only.  See http_request.c for its life, http_intake.c for how
 * it comes in, http_reply.c for how it is answered.
 */
#ifndef COMMON_HTTP_REQUEST_INTERNAL_H
#define COMMON_HTTP_REQUEST_INTERNAL_H

#include "common/http_check.h"
#include "common/http_internal.h"
#include "common/http_router.h"

struct http_pair {
	const char *name;
	const char *value;
};

#define HTTP_REPLY_HEADERS_MAX 12
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
	unsigned polls;   /* how often it was, or 0 */
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

/* ---- http_intake.c: libmicrohttpd's callbacks ---- */
enum MHD_Result http_intake_access(void *cls, struct MHD_Connection *mhd,
	const char *url, const char *method, const char *version,
	const char *data, size_t *data_len, void **ctx);
void http_intake_completed(void *cls, struct MHD_Connection *mhd, void **ctx,
	enum MHD_RequestTerminationCode code);
size_t http_intake_unescape(void *cls, struct MHD_Connection *mhd, char *text);

/* ---- http_request.c ---- */

/* How often an unanswered request is polled before it is suspended, and how
 * many at once; how long a run may be put off meanwhile: see http_loop.c. */
#define HTTP_POLLS_MAX 16
#define HTTP_POLLED_MAX 512
#define HTTP_POLL_NS NS_PER_MS

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

/* ---- http_cors.c ---- */

/* Before the reply of a management route: may its page read it? */
void http_cors_apply(struct http_request *req);

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
