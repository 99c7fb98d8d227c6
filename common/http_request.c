/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * A request has two owners: libmicrohttpd, from its first line until its
 * reply is written or its client is gone, and the handler's side, from the
 * call of the handler to its reply (`held`).  It is freed when both are done.
 * So a client that leaves takes nothing away from a handler that waits for
 * Redis, and a reply that comes after we answered in the handler's place (its
 * deadline had passed) is dropped without harm.  Whatever a request hands out
 * is its own copy, since libmicrohttpd's memory goes with the connection.
 *
 * Deadlines.  All requests have the same time-out, so they expire in the order
 * of arrival and a list does; a time-out changed while we run makes an insert
 * walk back over those that outlive it, once.
 */
#include "common/http_request_internal.h"
#include "common/jitter.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SPARE_MAX 1024 /* per loop, 3 MB */
#define BLOCK_MIN 4096
#define ARENA_MAX ((size_t)64 * 1024) /* besides twice the longest body */

/* A further part of the arena; its bytes follow. */
struct http_block {
	struct http_block *next;
	_Alignas(16) char bytes[];
};

/* ---- memory ---- */

struct http_request *
http_request_new(struct http_loop *loop, struct http_conn *conn,
	struct MHD_Connection *mhd)
{
	struct http_request *req = TAILQ_FIRST(&loop->spare);

	if (req != NULL) {
		TAILQ_REMOVE(&loop->spare, req, entry);
		loop->n_spare--;
	} else {
		req = malloc(HTTP_REQUEST_SIZE);
		if (req == NULL)
			return NULL;
	}
	memset(req, 0, sizeof(*req));
	req->loop = loop;
	req->conn = conn;
	req->mhd = mhd;
	req->arrived_ns = clock_now_ns();
	req->deadline_ns = INT64_MAX;
	conn->has_request = true;
	req->path = "";
	req->refusal = -1;
	req->arena_at = req->arena;
	req->arena_size = HTTP_REQUEST_SIZE - sizeof(*req);
	atomic_fetch_add_explicit(&loop->in_flight, 1, memory_order_relaxed);
	return req;
}

static void
enlist(struct http_request *req, struct http_requests *list)
{
	assert(req->list == NULL);
	req->list = list;
	TAILQ_INSERT_TAIL(list, req, entry);
}

static void
unlist(struct http_request *req)
{
	if (req->list == NULL)
		return;
	TAILQ_REMOVE(req->list, req, entry);
	req->list = NULL;
}

static void
recycle(struct http_request *req)
{
	struct http_loop *loop = req->loop;

	assert(req->mhd == NULL && !req->held && !req->polled);
	unlist(req);
	if (req->response != NULL) /* nobody came for it */
		MHD_destroy_response(req->response);
	while (req->blocks != NULL) {
		struct http_block *block = req->blocks;

		req->blocks = block->next;
		free(block);
	}
	if (loop->n_spare >= SPARE_MAX) {
		free(req);
		return;
	}
	TAILQ_INSERT_HEAD(&loop->spare, req, entry); /* warm in the cache */
	loop->n_spare++;
}

static bool
add_block(struct http_request *req, size_t size)
{
	size_t limit = ARENA_MAX + 2 * req->loop->server->config.max_body_size;

	if (size < BLOCK_MIN)
		size = BLOCK_MIN;
	if (size > limit - req->blocks_size)
		return false;
	struct http_block *block = malloc(sizeof(*block) + size);
	if (block == NULL)
		return false;
	block->next = req->blocks;
	req->blocks = block;
	req->blocks_size += size;
	req->arena_at = block->bytes;
	req->arena_size = size;
	req->arena_used = 0;
	return true;
}

void *
http_request_room(struct http_request *req, size_t size)
{
	if (size > SIZE_MAX / 4)
		return NULL;
	size = (size + 15) & ~(size_t)15;
	if (size > req->arena_size - req->arena_used && !add_block(req, size))
		return NULL;
	void *room = req->arena_at + req->arena_used;
	req->arena_used += size;
	return room;
}

char *
http_request_copy(struct http_request *req, const char *text, size_t len)
{
	char *copy = http_request_room(req, len + 1);

	if (copy != NULL) {
		memcpy(copy, text, len);
		copy[len] = '\0';
	}
	return copy;
}

void *
http_request_alloc(struct http_request *req, size_t size)
{
	void *room = http_request_room(req, size);

	return room == NULL ? NULL : memset(room, 0, size);
}

/* ---- life ---- */

void
http_request_enlist(struct http_request *req)
{
	struct http_loop *loop = req->loop;
	const struct http_route *route = req->match.route;

	if (route != NULL && (route->flags & HTTP_NO_DEADLINE) != 0) {
		enlist(req, &loop->untimed);
		return;
	}
	req->deadline_ns =
		req->arrived_ns +
		atomic_load_explicit(&loop->server->request_timeout_ns,
			memory_order_relaxed);
	struct http_request *before = TAILQ_LAST(&loop->timed, http_requests);
	while (before != NULL && before->deadline_ns > req->deadline_ns)
		before = TAILQ_PREV(before, http_requests, entry);
	req->list = &loop->timed;
	if (before == NULL)
		TAILQ_INSERT_HEAD(&loop->timed, req, entry);
	else
		TAILQ_INSERT_AFTER(&loop->timed, before, req, entry);
}

void
http_request_unpoll(struct http_request *req)
{
	if (!req->polled)
		return;
	req->polled = false;
	req->loop->n_polled--;
}

void
http_request_detach(struct http_request *req)
{
	http_request_unpoll(req);
	atomic_fetch_sub_explicit(
		&req->loop->in_flight, 1, memory_order_relaxed);
	req->conn->has_request = false;
	req->mhd = NULL;
	req->conn = NULL;
	req->path = "";
	memset(&req->headers, 0, sizeof(req->headers));
	if (!req->held)
		recycle(req);
}

/* Makes an answered request known to libmicrohttpd, or frees it. */
static void
hand_over(struct http_request *req)
{
	if (req->mhd == NULL) {
		if (!req->held)
			recycle(req);
		return;
	}
	http_conn_quiet(req->conn);
	req->loop->answered = true;
	if (req->suspended) {
		req->suspended = false;
		MHD_resume_connection(req->mhd);
	}
}

bool
http_request_answer(struct http_request *req, unsigned status,
	struct MHD_Response *response)
{
	if (req->answered) { /* we did, when its deadline passed */
		assert(req->held);
		req->held = false;
		if (req->mhd == NULL)
			recycle(req);
		return false;
	}
	req->answered = true;
	req->status = status;
	req->response = response;
	unlist(req);
	if (!req->kit_answers)
		req->held = false;
	else if (req->held)
		enlist(req, &req->loop->overdue);
	hand_over(req);
	return true;
}

/* ---- deadlines ---- */

static void
answer_for_handler(struct http_request *req, const char *reason)
{
	req->kit_answers = true;
	http_reply_problem(req, PROBLEM_SERVICE_UNAVAILABLE,
		&(struct problem_detail){
			.reason = reason,
			.outcome = "UNKNOWN",
			.retry_after_s = jitter_retry_after_s(),
		});
}

void
http_request_tick(struct http_loop *loop)
{
	struct http_request *req;

	while ((req = TAILQ_FIRST(&loop->timed)) != NULL &&
		req->deadline_ns <= loop->now_ns) {
		unlist(req);
		if (!req->held)
			continue; /* still on its way in; see http_intake.c */
		if (req->on_deadline != NULL)
			req->on_deadline(req);
		else
			answer_for_handler(req, "TIMEOUT");
	}
}

static void
fail_each(struct http_requests *list)
{
	struct http_request *req;

	while ((req = TAILQ_FIRST(list)) != NULL) {
		unlist(req);
		if (req->held)
			answer_for_handler(req, "DRAINING");
		else if (req->conn != NULL) /* half a request */
			(void)shutdown(req->conn->fd, SHUT_RDWR);
	}
}

void
http_request_fail_all(struct http_loop *loop)
{
	fail_each(&loop->timed);
	fail_each(&loop->untimed);
}

void
http_request_init(struct http_loop *loop)
{
	TAILQ_INIT(&loop->timed);
	TAILQ_INIT(&loop->untimed);
	TAILQ_INIT(&loop->overdue);
	TAILQ_INIT(&loop->spare);
}

void
http_request_fini(struct http_loop *loop)
{
	struct http_request *req;

	/* Their holders are gone: whoever stops the server stops them first. */
	while ((req = TAILQ_FIRST(&loop->overdue)) != NULL) {
		TAILQ_REMOVE(&loop->overdue, req, entry);
		req->list = NULL;
		req->held = false;
		recycle(req);
	}
	while ((req = TAILQ_FIRST(&loop->spare)) != NULL) {
		TAILQ_REMOVE(&loop->spare, req, entry);
		free(req);
	}
}
