/* SPDX-License-Identifier: MIT */
/*
 * pool_fixture - fake connections, a fake clock, and a pool without threads.
 *
 * Nothing happens by itself: the test moves the clock and calls the steps
 * that the pool's threads would run.
 */
#ifndef COMMON_TESTS_POOL_FIXTURE_H
#define COMMON_TESTS_POOL_FIXTURE_H

#include "common/pool_internal.h"

struct fixture {
	struct pool *pool;
	struct pool_inbox *inbox;
	struct pool_config config;
	struct pool_observer observer;
	int64_t now;
	int failing_opens; /* so many of the next opens fail */
	int failing_checks;
	int live; /* resources that exist */
	/* what the observer saw */
	int acquired, refused, released, opened, open_failed, leaks, unleaked;
	int evicted;
	int closed[POOL_CLOSE_COUNT];
	int64_t waited_ns, held_ns;
};

/* max 2, min 0, no times set, opens 2 in parallel; start_ns is 1000 s. */
void fixture_init(struct fixture *f);
/* Make the pool as f->config says by now; seed 0: no jitter. */
void fixture_start(struct fixture *f, uint64_t seed);
/* Drains; every connection must be back, and none may be left open. */
void fixture_fini(struct fixture *f);

void fixture_advance_ms(struct fixture *f, int64_t ms);
struct pool_conn *fixture_take_work(struct fixture *f);
void fixture_finish_work(struct fixture *f, struct pool_conn *conn);
/* Do one piece of work; false: there was none. */
bool fixture_work(struct fixture *f);
/* Keeper and workers until nothing is left to do. */
void fixture_settle(struct fixture *f);

struct pool_snapshot fixture_snapshot(struct fixture *f);
/* Lent at once, else the test fails. */
struct pool_entry *fixture_lend(struct fixture *f);
/* Queued, else the test fails. */
void fixture_queue(struct fixture *f, struct pool_waiter *waiter);
/* The next answer; NULL if there is none. */
struct pool_waiter *fixture_answer(struct fixture *f);
void fixture_return(
	struct fixture *f, struct pool_entry *entry, enum pool_return how);

#endif
