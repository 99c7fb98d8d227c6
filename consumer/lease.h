/* SPDX-License-Identifier: MIT */
/*
 * lease - a borrowed connection, how long it may be used, and who may call
 * that off.
 *
 * pool_acquire() sleeps until its deadline; a partition thread must give way
 * to a rebalance at once, so it waits in the pool's queue with lease_acquire().
 * One thread's.
 */
#ifndef CONSUMER_LEASE_H
#define CONSUMER_LEASE_H

#include "common/compiler.h"
#include "common/pg.h"

#include <stdint.h>

struct error;
struct pool;
struct pool_entry;
struct pool_inbox;

struct lease {
	struct pool *pool;
	struct pool_entry *entry;
	struct pg_conn *conn;
	struct pg_wait wait; /* the borrower's to set */
};

struct lease_request {
	struct pool *pool;
	struct pool_inbox *inbox; /* the thread's own, empty */
	int64_t deadline_ns;
	int cancel_fd;
};

/* Like pool_acquire(), and -ERROR_CANCELLED once cancel_fd is readable. */
int lease_acquire(const struct lease_request *request, struct lease *ret,
	struct error *err) NODISCARD;

/* `rc` is what the last use returned (pg_verdict()). */
void lease_release(struct lease *lease, int rc);

#endif
