/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * The eventfd is written when the inbox stops being empty, not once per
 * answer, and emptied when a take finds nothing more: two system calls per
 * turn of the loop, however many answers it brings.  The write happens under
 * the inbox's own lock, never under a pool's; an owner that has taken its
 * last answer may free the inbox, because no one is still inside put().
 */
#include "common/pool_internal.h"

#include <assert.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct pool_inbox {
	struct mutex lock;
	int fd;
	struct inbox_locked {
		struct pool_waiters answered;
		bool signalled; /* fd is readable */
	} locked_;
};

static struct inbox_locked *locked(struct pool_inbox *inbox)
	REQUIRES(inbox->lock);

static struct inbox_locked *
locked(struct pool_inbox *inbox)
{
	return &inbox->locked_;
}

struct pool_inbox *
pool_inbox_new(void)
{
	struct pool_inbox *inbox = calloc(1, sizeof(*inbox));

	if (inbox == NULL)
		abort();
	inbox->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (inbox->fd < 0)
		abort(); /* out of files before the start is over */
	mutex_init(&inbox->lock);
	TAILQ_INIT(&inbox->locked_.answered);
	return inbox;
}

void
pool_inbox_free(struct pool_inbox *inbox)
{
	if (inbox == NULL)
		return;
	assert(TAILQ_EMPTY(&inbox->locked_.answered));
	mutex_fini(&inbox->lock);
	(void)close(inbox->fd);
	free(inbox);
}

int
pool_inbox_fd(const struct pool_inbox *inbox)
{
	return inbox->fd;
}

void
pool_inbox_put(struct pool_inbox *inbox, struct pool_waiter *waiter)
{
	mutex_lock(&inbox->lock);
	struct inbox_locked *box = locked(inbox);
	TAILQ_INSERT_TAIL(&box->answered, waiter, link);
	if (!box->signalled) {
		const eventfd_t one = 1;

		sync_must(eventfd_write(inbox->fd, one));
		box->signalled = true;
	}
	mutex_unlock(&inbox->lock);
}

struct pool_waiter *
pool_inbox_take(struct pool_inbox *inbox)
{
	mutex_lock(&inbox->lock);
	struct inbox_locked *box = locked(inbox);
	struct pool_waiter *waiter = TAILQ_FIRST(&box->answered);
	if (waiter != NULL) {
		TAILQ_REMOVE(&box->answered, waiter, link);
	} else if (box->signalled) {
		eventfd_t count;

		sync_must(eventfd_read(inbox->fd, &count));
		box->signalled = false;
	}
	mutex_unlock(&inbox->lock);
	return waiter;
}
