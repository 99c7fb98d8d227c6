/* SPDX-License-Identifier: MIT */
/*
 * pool_internal - what the files of the pool share, and the seam for tests.
 *
 * pool.c borrow and return, pool_conn.c the states of a connection,
 * pool_worker.c opening and checking, pool_keeper.c time and closing,
 * pool_admin.c operators, pool_report.c counters and messages, pool_inbox.c
 * answers for event loops.  Only these and the pool's tests include this.
 */
#ifndef COMMON_POOL_INTERNAL_H
#define COMMON_POOL_INTERNAL_H

#include "common/pool.h"
#include "common/pool_admin.h"
#include "common/pool_observer.h"
#include "common/sync.h"

#include <sys/queue.h>

#define POOL_OPENING_MAX 8

/* Where time and chance come from. */
struct pool_env {
	int64_t (*now_ns)(void *arg);
	void *arg;
	uint64_t seed; /* of every jitter; 0: no jitter at all */
	bool threads;  /* false: a test calls pool_keep() and pool_work_*() */
};
struct pool *pool_new_in(const struct pool_env *env,
	const struct pool_config *config, const struct pool_methods *methods,
	void *ctx, const struct pool_observer *observer);

/*
 * A connection is in exactly one state, and in the list of that state: the
 * counters are the lengths of the lists, so that they cannot drift.
 */
enum conn_state {
	CONN_OPENING, /* a worker connects it; there is no resource yet */
	CONN_IDLE,
	CONN_LENT,
	CONN_CHECKING, /* a worker checks it */
	CONN_CLOSING,  /* condemned; the keeper closes it */
	CONN_STATES
};

struct pool_conn {
	struct pool_entry entry;     /* what the borrower sees */
	TAILQ_ENTRY(pool_conn) link; /* in the list of its state */
	enum conn_state state;
	enum pool_close why; /* CONN_CLOSING */
	const char *holder;  /* CONN_LENT */
	bool leak_reported;  /* CONN_LENT */
	uint64_t generation; /* pool_evict_all() outdates it */
	int64_t opened_ns;
	int64_t since_ns;    /* idle or lent since; a check does not reset it */
	int64_t checked_ns;  /* last known to be good */
	int64_t deadline_ns; /* of the open or check under way */
	int64_t jitter;      /* 0..POOL_JITTER_MAX, this connection's share */
};
#define POOL_JITTER_MAX 1024

TAILQ_HEAD(pool_conns, pool_conn);
TAILQ_HEAD(pool_waiters, pool_waiter);

struct pool_locked { /* only through pool_locked() */
	struct pool_config config;
	struct pool_conns list[CONN_STATES]; /* oldest entry first */
	size_t n[CONN_STATES];
	struct pool_waiters queue; /* inbox NULL: a struct sleeper */
	size_t waiting;

	bool suspended, drained, stopping;
	bool checks_due; /* the keeper saw idle ones that want a check */
	uint64_t generation;
	uint64_t random;

	bool failing;       /* the last attempt to connect failed */
	int64_t backoff_ns; /* the last pause, before jitter */
	int64_t retry_ns;   /* no attempt before this time */
	int64_t sweep_ns;   /* the keeper's next round */
	int64_t failed_ns;  /* when last_error happened */
	struct error last_error;
	uint64_t timeouts, opened, open_failed, closed;
};

struct pool {
	const char *name;
	const struct pool_methods *methods;
	void *ctx;
	const struct pool_observer *observer; /* never NULL */
	struct pool_env env;
	struct mutex lock;
	struct cond work;     /* pool_work_take() may have something */
	struct cond keep;     /* something to close, or a nearer retry_ns */
	struct cond returned; /* drained, and nothing lent or checked */
	struct pool_locked locked_;
	size_t n_threads;
	pthread_t threads[1 + POOL_OPENING_MAX + 1];
};

/* A thread that waits in pool_acquire(). */
struct sleeper {
	struct pool_waiter waiter;
	struct cond woken; /* waiter.state is no longer QUEUED */
};

int64_t pool_now(const struct pool *pool);
void pool_config_check(const struct pool_config *config);
struct pool_locked *pool_locked(struct pool *pool) REQUIRES(pool->lock);

/* ---- pool_conn.c ---- */

size_t pool_total(struct pool *pool) REQUIRES(pool->lock);
size_t pool_min_idle(struct pool *pool) REQUIRES(pool->lock);
/*
 * Into the list of `to`: at its end, which for the idle ones is the warm one
 * that is lent next; after a check at its front, for nobody has used it.
 * Asserts that the table allows it.
 */
void pool_move(struct pool *pool, struct pool_conn *conn, enum conn_state to)
	REQUIRES(pool->lock);
/* Opening failed, or closed: leave the list of its state; free it yourself. */
void pool_forget(struct pool *pool, struct pool_conn *conn)
	REQUIRES(pool->lock);
void pool_lend(struct pool *pool, struct pool_conn *conn, const char *holder,
	int64_t now) REQUIRES(pool->lock);
void pool_condemn(struct pool *pool, struct pool_conn *conn,
	enum pool_close why) REQUIRES(pool->lock);
/*
 * A good connection is free: close it if it is unwanted, else hand it to the
 * head of the queue, else keep it idle.  A waiter with an inbox is appended
 * to *answered, for pool_deliver() once the lock is released.
 */
void pool_place(struct pool *pool, struct pool_conn *conn, int64_t now,
	struct pool_waiters *answered) REQUIRES(pool->lock);
/* The head of the queue has its answer: out of the queue, and woken. */
void pool_answer_head(struct pool *pool, struct pool_entry *entry,
	struct pool_waiters *answered) REQUIRES(pool->lock);
/* Serve the queue from the idle ones (after a suspension). */
void pool_serve(struct pool *pool, int64_t now, struct pool_waiters *answered)
	REQUIRES(pool->lock);
bool pool_is_expired(struct pool *pool, const struct pool_conn *conn,
	int64_t now) REQUIRES(pool->lock);
bool pool_wants_check(struct pool *pool, const struct pool_conn *conn,
	int64_t now) REQUIRES(pool->lock);
/* 0..POOL_JITTER_MAX - 1 */
int64_t pool_random(struct pool *pool) REQUIRES(pool->lock);

/* ---- pool_worker.c ---- */

/* How many connects to start now, those under way not counted. */
size_t pool_opens_wanted(struct pool *pool, int64_t now) REQUIRES(pool->lock);
/* Wake a worker if there is work. */
void pool_kick(struct pool *pool, int64_t now) REQUIRES(pool->lock);
/* The next connection to open or check, marked so; NULL: nothing to do. */
struct pool_conn *pool_work_take(struct pool *pool, int64_t now)
	REQUIRES(pool->lock);
int pool_work_do(struct pool *pool, struct pool_conn *conn, struct error *err)
	EXCLUDES(pool->lock);
void pool_work_done(struct pool *pool, struct pool_conn *conn, int rc,
	const struct error *err) EXCLUDES(pool->lock);
void *pool_worker_main(void *arg);

/* ---- pool_keeper.c ---- */

/* One round: expire, report leaks, close. */
void pool_keep(struct pool *pool) EXCLUDES(pool->lock);
void pool_close_condemned(struct pool *pool) EXCLUDES(pool->lock);
void *pool_keeper_main(void *arg);

/* ---- pool_report.c ---- */

void pool_cut(struct pool *pool, struct pool_snapshot *ret, int64_t now)
	REQUIRES(pool->lock);
/* Fill `err` and return -kind. */
int pool_refuse(const struct pool *pool, const struct pool_snapshot *cut,
	enum error_kind kind, int64_t waited_ns, struct error *err);
/* Answer these waiters' inboxes and tell the observer. */
void pool_deliver(struct pool *pool, struct pool_waiters *answered, int64_t now)
	EXCLUDES(pool->lock);

/* ---- pool_inbox.c ---- */

void pool_inbox_put(struct pool_inbox *inbox, struct pool_waiter *waiter);

#endif
