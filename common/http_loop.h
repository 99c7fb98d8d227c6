/* SPDX-License-Identifier: MIT */
/*
 * http_loop - the event loop of one server thread, as its users see it.
 *
 * All functions are for the loop's own thread, http_loop_post() excepted.
 */
#ifndef COMMON_HTTP_LOOP_H
#define COMMON_HTTP_LOOP_H

#include "common/compiler.h"

#include <stdint.h>

struct error;
struct http_loop;

/* `fd` became ready (EPOLLIN ...). */
typedef void http_fd_fn(void *arg, uint32_t events);

/* Watch `fd`; replaces an earlier watch.  events 0 takes it away. */
int http_loop_watch(struct http_loop *loop, int fd, uint32_t events,
	http_fd_fn *fn, void *arg, struct error *err) NODISCARD;
void http_loop_unwatch(struct http_loop *loop, int fd);

/* Run `fn` on the loop's thread soon, in the order of posting.  Any thread.
 * `post` is the caller's memory and is his again when fn runs. */
struct http_post {
	struct http_post *next; /* the loop's */
	void (*fn)(struct http_post *post);
};
void http_loop_post(struct http_loop *loop, struct http_post *post);

/* clock_now_ns() as of this turn: cheap. */
int64_t http_loop_now_ns(const struct http_loop *loop);

/* What start_loop returned for this loop. */
void *http_loop_user(const struct http_loop *loop);

#endif
