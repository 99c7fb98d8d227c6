/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * Watches stand in a table by descriptor.  An event carries descriptor and
 * generation, so that one that was fetched before its watch ended, or its
 * descriptor was closed and given to another, is known as stale.
 *
 * Posts are a stack that any thread pushes on and the loop takes as a whole:
 * one atomic exchange each, no lock, and a wake-up only by whoever finds it
 * empty.
 */
#include "common/error.h"
#include "common/http_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static int
grow_watches(struct http_loop *loop, int fd, struct error *err)
{
	size_t n = loop->n_watches == 0 ? 64 : loop->n_watches;

	while (n <= (size_t)fd)
		n *= 2;
	struct http_watch *watches =
		realloc(loop->watches, n * sizeof(watches[0]));
	if (watches == NULL)
		return error_set(err, ERROR_NO_MEMORY, "no memory to watch fd");
	memset(watches + loop->n_watches, 0,
		(n - loop->n_watches) * sizeof(watches[0]));
	loop->watches = watches;
	loop->n_watches = n;
	return 0;
}

int
/* NOLINTNEXTLINE(readability-function-size): what epoll_ctl() takes */
http_loop_watch(struct http_loop *loop, int fd, uint32_t events, http_fd_fn *fn,
	void *arg, struct error *err)
{
	assert(fd >= 0);
	if (events == 0) {
		http_loop_unwatch(loop, fd);
		return 0;
	}
	if ((size_t)fd >= loop->n_watches) {
		int rc = grow_watches(loop, fd, err);
		if (rc < 0)
			return rc;
	}
	struct http_watch *watch = &loop->watches[fd];
	bool is_new = watch->fn == NULL;
	if (is_new || watch->events != events) {
		uint32_t generation = watch->generation + (is_new ? 1 : 0);
		struct epoll_event event = {
			.events = events,
			.data.u64 = (uint64_t)generation << 32 | (uint32_t)fd,
		};
		if (epoll_ctl(loop->epoll_fd,
			    is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd,
			    &event) != 0)
			return error_set(err, ERROR_SYSTEM, "epoll_ctl: %s",
				strerrordesc_np(errno));
		watch->generation = generation;
	}
	watch->fn = fn;
	watch->arg = arg;
	watch->events = events;
	return 0;
}

void
http_loop_unwatch(struct http_loop *loop, int fd)
{
	if (fd < 0 || (size_t)fd >= loop->n_watches ||
		loop->watches[fd].fn == NULL)
		return;
	loop->watches[fd].fn = NULL;
	/* Fails only for a descriptor closed too early, which left the set. */
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

void
http_loop_dispatch(struct http_loop *loop, const struct epoll_event *event)
{
	size_t fd = (uint32_t)event->data.u64;
	struct http_watch watch = loop->watches[fd];

	/* An earlier event of this turn may have ended this watch. */
	if (watch.fn != NULL && watch.generation == event->data.u64 >> 32)
		watch.fn(watch.arg, event->events);
}

/* ---- posts ---- */

void
http_loop_wake(struct http_loop *loop)
{
	uint64_t one = 1;

	/* Fails only when the counter is full: then it is awake anyway. */
	ssize_t n = write(loop->wake_fd, &one, sizeof(one));
	(void)n;
}

void
http_loop_post(struct http_loop *loop, struct http_post *post)
{
	struct http_post *head = atomic_load(&loop->posts);

	do
		post->next = head;
	while (!atomic_compare_exchange_weak(&loop->posts, &head, post));
	if (head == NULL) /* else the wake-up of the first is on its way */
		http_loop_wake(loop);
}

void
http_loop_on_wake(void *arg, uint32_t events)
{
	struct http_loop *loop = arg;
	struct http_post *oldest = NULL;
	uint64_t count;

	(void)events;
	/* Before the list is taken, so that a later post wakes us again. */
	ssize_t n = read(loop->wake_fd, &count, sizeof(count));
	(void)n;
	struct http_post *post = atomic_exchange(&loop->posts, NULL);
	while (post != NULL) { /* newest first: turn it round */
		struct http_post *next = post->next;

		post->next = oldest;
		oldest = post;
		post = next;
	}
	while (oldest != NULL) {
		post = oldest;
		oldest = post->next;
		post->fn(post);
	}
}
