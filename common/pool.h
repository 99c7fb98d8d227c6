/* SPDX-License-Identifier: MIT */
/*
 * pool - a bounded set of warm connections, lent to threads in FIFO order.
 *
 * A connection has one owner: the pool while it is idle, the caller from the
 * moment it is lent until pool_release().  `active` are lent, `idle` are
 * connected and could be lent now, `total` = active + idle.  Every connection
 * that exists in any form, being opened or closed included, counts towards
 * max_active; one that the pool checks counts as active meanwhile.
 *
 * Who waits, waits in one queue: a newcomer never takes an idle connection
 * while somebody queues, and a returned connection is handed to the head of
 * the queue under the pool's lock.  Threads that may block use
 * pool_acquire(); threads that must not (the HTTP event loops) place a
 * struct pool_waiter in the same queue and are told through an inbox's
 * eventfd.  Nobody but the pool's own threads ever opens, checks or closes a
 * connection.
 *
 * The semantics are those users know from HikariCP and commons-pool2, and
 * better where those hurt people: no barging, exact counters, an error that
 * names its cause, a bounded queue, jittered reconnects in parallel, failing
 * fast while the server is down.
 *
 * Every function may be called from any thread.  Counters, resizing and what
 * else operators need: common/pool_admin.h.
 */
#ifndef COMMON_POOL_H
#define COMMON_POOL_H

#include "common/compiler.h"
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct pool;          /* opaque; see pool.c */
struct pool_observer; /* what happened, told to metrics and logs */

/*
 * What the pool does to a connection; called without the pool's lock, by its
 * own threads only, each call with its own connection.
 */
struct pool_methods {
	/* Connect.  Must return by deadline_ns.  0 and *ret, or -kind. */
	int (*open)(
		void *ctx, int64_t deadline_ns, void **ret, struct error *err);
	void (*close)(void *ctx, void *resource);
	/* Is this idle connection still good?  0, or -kind: it is closed. */
	int (*check)(void *ctx, void *resource, int64_t deadline_ns,
		struct error *err);
};

/*
 * Plain values, each as its configuration key says; a time of 0 is "never",
 * except the two timeouts, which must be positive.
 */
struct pool_config {
	const char *name;  /* "redis", in messages and tags; static */
	size_t max_active; /* >= 1 */
	size_t max_idle;   /* what comes back beyond it is closed */
	size_t min_idle;   /* no more than max_idle and max_active */
	size_t max_waiters;
	size_t max_opening; /* parallel connects, 1..8; fixed at pool_new() */
	int64_t max_wait_ns;
	int64_t connect_timeout_ns;
	int64_t validation_timeout_ns;
	int64_t max_lifetime_ns;
	int64_t idle_timeout_ns;
	int64_t keepalive_ns;
	int64_t leak_threshold_ns;
};

/* A lent connection. */
struct pool_entry {
	void *resource;
	/* the rest is the pool's */
};

enum pool_return {
	POOL_REUSE,   /* nothing is unread or in flight on it */
	POOL_DESTROY, /* anything else: timed out, cancelled, broken */
};

/*
 * Start the pool's threads (a keeper, max_opening + 1 workers) and begin to
 * fill min_idle.  Never waits for a connection.  `methods`, `ctx` and
 * `observer` are borrowed; observer may be NULL.  Out of memory aborts.
 */
struct pool *pool_new(const struct pool_config *config,
	const struct pool_methods *methods, void *ctx,
	const struct pool_observer *observer);

/*
 * Stop lending: waiters and later acquirers get ERROR_CLOSED, lent
 * connections are waited for until `deadline_ns`.  True when all came back.
 */
bool pool_drain(struct pool *pool, int64_t deadline_ns);

/* Every connection must be back (pool_drain() said so).  NULL is a no-op. */
void pool_free(struct pool *pool);

/*
 * Borrow, waiting no longer than `deadline_ns` or max_wait, whichever is
 * nearer.  `holder` names the borrower in errors and leak reports (static).
 * 0 and *ret set, or with *ret untouched:
 *   ERROR_EXHAUSTED        none came free in time
 *   ERROR_CONNECT_FAILING  there is none and the server is known down
 *   ERROR_SUSPENDED, ERROR_QUEUE_FULL, ERROR_CLOSED
 * err->msg reads "Unable to acquire connection from pool: redis, timed out
 * after 500ms (total=10, active=10, idle=0, waiting=37, oldestWait=498ms,
 * reason=EXHAUSTED)", its counters taken under the lock at that moment; who is
 * turned away reads "refused" for "timed out", and CONNECT_FAILING adds what
 * the last connect failed with.
 */
int pool_acquire(struct pool *pool, const char *holder, int64_t deadline_ns,
	struct pool_entry **ret, struct error *err) NODISCARD;

/* Give it back; *entry becomes NULL. */
void pool_release(
	struct pool *pool, struct pool_entry **entry, enum pool_return how);

/*
 * For who keeps a connection busy without end: should it come back soon,
 * because it was evicted, is too old or one too many, or the pool suspended?
 */
bool pool_wants_back(struct pool *pool, const struct pool_entry *entry);

/* ---- for threads that must not block ---- */

/*
 * Where one event loop hears of its grants.  Made by the loop, which polls
 * pool_inbox_fd() for reading and calls pool_inbox_take() until NULL.
 */
struct pool_inbox;
struct pool_inbox *pool_inbox_new(void);
void pool_inbox_free(struct pool_inbox *inbox); /* nothing may be queued */
int pool_inbox_fd(const struct pool_inbox *inbox);

/* A place in the queue; embedded in the request that waits. */
struct pool_waiter {
	TAILQ_ENTRY(pool_waiter) link; /* the pool's, as the next three */
	struct pool_inbox *inbox;
	const char *holder;
	int64_t since_ns;
	enum {
		POOL_WAITER_OUT, /* in no queue */
		POOL_WAITER_QUEUED,
		POOL_WAITER_GRANTED, /* entry is lent to the inbox's owner */
		POOL_WAITER_FAILED,  /* err says why */
	} state;
	struct pool_entry *entry;
	struct error err;
};

/* Next answered waiter (GRANTED or FAILED), or NULL; FIFO. */
struct pool_waiter *pool_inbox_take(struct pool_inbox *inbox);

/*
 * Like pool_acquire() without waiting: 0 and waiter->entry is lent at once;
 * or -ERROR_BUSY and the waiter has a place in the queue (its owner watches
 * the deadline and max_wait, and calls pool_cancel()); or another error and
 * it has none.  `inbox` hears of the grant, `holder` is static.  The waiter
 * need not be initialised, and stays in place until it has been answered.
 */
int pool_request(struct pool *pool, struct pool_waiter *waiter,
	struct pool_inbox *inbox, const char *holder,
	struct error *err) NODISCARD;

/*
 * Leave the queue.  True: the place is given up.  With `err` because the
 * deadline passed: *err is what pool_acquire() would have said, and it counts
 * as a timeout; with NULL because nothing is wanted any more.  False: it has
 * been answered already and is still to come out of the inbox.
 */
bool pool_cancel(
	struct pool *pool, struct pool_waiter *waiter, struct error *err);

#endif
