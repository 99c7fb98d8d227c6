/* SPDX-License-Identifier: MIT */
#include "consumer/lease.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/pool.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>

/* The answer that has come, or is about to. */
static int
answer(struct pool_inbox *inbox, struct pool_entry **ret, struct error *err)
{
	struct pool_waiter *waiter = pool_inbox_take(inbox);

	assert(waiter != NULL); /* answered: it stands in the inbox */
	if (waiter->state != POOL_WAITER_GRANTED) {
		*err = waiter->err;
		return -(int)err->kind;
	}
	*ret = waiter->entry;
	return 0;
}

static int
wait_in_queue(const struct lease_request *request, struct pool_waiter *waiter,
	struct pool_entry **ret, struct error *err)
{
	struct pollfd fds[] = {
		{ .fd = pool_inbox_fd(request->inbox), .events = POLLIN },
		{ .fd = request->cancel_fd, .events = POLLIN },
	};

	while (poll(fds, ARRAY_SIZE(fds),
		       clock_poll_timeout_ms(request->deadline_ns)) < 0)
		assert(errno == EINTR);
	if (fds[0].revents != 0)
		return answer(request->inbox, ret, err);

	bool cancelled = fds[1].revents != 0;
	if (!pool_cancel(request->pool, waiter, cancelled ? NULL : err))
		return answer(request->inbox, ret, err);
	if (cancelled)
		return error_set(err, ERROR_CANCELLED,
			"told to stop while waiting for a connection");
	return -(int)err->kind;
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
