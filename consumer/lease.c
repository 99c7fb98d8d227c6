/* SPDX-License-Identifier: MIT */
#include "consumer/lease.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/pool.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>

/*
 * The next answer in the inbox; NULL when the deadline passed or `cancel`
 * fired first.  The inbox may be readable without one: a take that finds
 * nothing clears that.
 */
static struct pool_waiter *
await_answer(
	struct pool_inbox *inbox, int64_t deadline_ns, struct pollfd *cancel)
{
	struct pool_waiter *waiter = pool_inbox_take(inbox);

	while (waiter == NULL && cancel->revents == 0 &&
		clock_now_ns() < deadline_ns) {
		struct pollfd fds[] = {
			{ .fd = pool_inbox_fd(inbox), .events = POLLIN },
			*cancel,
		};

		if (poll(fds, ARRAY_SIZE(fds),
			    clock_poll_timeout_ms(deadline_ns)) < 0)
			assert(errno == EINTR);
		else
			cancel->revents = fds[1].revents;
		waiter = pool_inbox_take(inbox);
	}
	return waiter;
}

static int
wait_in_queue(const struct lease_request *request, struct pool_waiter *waiter,
	struct pool_entry **ret, struct error *err)
{
	struct pollfd cancel = { .fd = request->cancel_fd, .events = POLLIN };
	struct pollfd never = { .fd = -1 };
	const struct pool_waiter *answered =
		await_answer(request->inbox, request->deadline_ns, &cancel);

	if (answered == NULL) {
		bool cancelled = cancel.revents != 0;

		if (!pool_cancel(request->pool, waiter, cancelled ? NULL : err))
			answered = await_answer(/* it is on its way */
				request->inbox, INT64_MAX, &never);
		else if (cancelled)
			return error_set(err, ERROR_CANCELLED,
				"told to stop while waiting for a connection");
		else
			return -(int)err->kind;
	}
	assert(answered == waiter);
	if (waiter->state != POOL_WAITER_GRANTED) {
		*err = waiter->err;
		return -(int)err->kind;
	}
	*ret = waiter->entry;
	return 0;
}

int
lease_acquire(const struct lease_request *request, struct lease *ret,
	struct error *err)
{
	struct pool_waiter waiter = { .state = POOL_WAITER_OUT };
	struct pool_entry *entry = NULL;
	int rc = pool_request(
		request->pool, &waiter, request->inbox, "partition", err);

	if (rc == 0)
		entry = waiter.entry;
	else if (rc == -ERROR_BUSY)
		rc = wait_in_queue(request, &waiter, &entry, err);
	if (rc != 0)
		return rc;
	assert(entry != NULL);
	*ret = (struct lease){
		.pool = request->pool, .entry = entry, .conn = entry->resource
	};
	return 0;
}

void
lease_release(struct lease *lease, int rc)
{
	pool_release(lease->pool, &lease->entry, pg_verdict(lease->conn, rc));
	lease->conn = NULL;
}
