/* SPDX-License-Identifier: MIT */
/*
 * fake_loop - the few functions of an HTTP loop that a pipeline needs.
 *
 * Include it in one test file: its definitions stand in for common/http.c's,
 * which the linker then leaves in the archive.
 */
#ifndef API_TESTS_FAKE_LOOP_H
#define API_TESTS_FAKE_LOOP_H

#include "api/pipeline.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/http.h"

#include <assert.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { FAKE_LOOP_FDS = 4096, FAKE_LOOP_EVENTS = 64 };

struct http_loop {
	int epoll_fd;
	int64_t now_ns;
	struct {
		http_fd_fn *fn;
		void *arg;
	} watches[FAKE_LOOP_FDS];
};

int
http_loop_watch(struct http_loop *loop, int fd, uint32_t events, http_fd_fn *fn,
	void *arg, struct error *err UNUSED)
{
	struct epoll_event event = { .events = events, .data.fd = fd };
	const int op =
		loop->watches[fd].fn == NULL ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
	int rc = epoll_ctl(loop->epoll_fd, op, fd, &event);

	assert(rc == 0);
	loop->watches[fd].fn = fn;
	loop->watches[fd].arg = arg;
	return rc;
}

void
http_loop_unwatch(struct http_loop *loop, int fd)
{
	int rc = epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);

	assert(rc == 0);
	loop->watches[fd].fn = NULL;
}

int64_t
http_loop_now_ns(const struct http_loop *loop)
{
	return loop->now_ns;
}

static inline void
fake_loop_init(struct http_loop *loop)
{
	*loop = (struct http_loop){ .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
		.now_ns = clock_now_ns() };
	assert(loop->epoll_fd >= 0);
}

static inline void
fake_loop_fini(struct http_loop *loop)
{
	close(loop->epoll_fd);
}

/* One turn, waiting no longer than until_ns. */
static inline void
fake_loop_turn(
	struct http_loop *loop, struct pipeline *pipeline, int64_t until_ns)
{
	struct epoll_event events[FAKE_LOOP_EVENTS];
	const int64_t next_ns = pipeline_next_deadline_ns(pipeline);
	int n = epoll_wait(loop->epoll_fd, events, FAKE_LOOP_EVENTS,
		clock_poll_timeout_ms(next_ns < until_ns ? next_ns : until_ns));

	loop->now_ns = clock_now_ns();
	for (int i = 0; i < n; i++) {
		const int fd = events[i].data.fd;

		if (loop->watches[fd].fn != NULL)
			loop->watches[fd].fn(
				loop->watches[fd].arg, events[i].events);
	}
	pipeline_turn(pipeline);
}

#endif
