/* SPDX-License-Identifier: MIT */
/*
 * loops - what each HTTP loop of the api has for itself, and the few things
 * that other threads may ask of all of them.
 *
 * A struct api_loop is made, used and freed by its loop's thread.  The set of
 * them is locked; of another thread's loop only what is made for it is read
 * (the pipeline's age of answers, the numbers seen).
 */
#ifndef API_LOOPS_H
#define API_LOOPS_H

#include "api/latch.h"
#include "api/seen.h"
#include "common/sync.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api;
struct http_loop;
struct issue;
struct pipeline;

/* What one HTTP loop has for itself; touched by its thread only. */
struct api_loop {
	struct api *api;
	struct http_loop *loop;
	struct pipeline *pipeline;
	struct seen seen;      /* numbers given out: others read it */
	struct latch unknown;  /* coupons that do not exist, for a moment */
	struct issue *waiting; /* for a rate limiter's permit, by time */
	struct issue *spare;   /* finished issue requests, for reuse */
	unsigned n_spare;
};

/* The most that server.threads may be. */
enum { LOOPS_MAX = 256 };

struct loops {
	struct mutex lock;
	struct loop_set { /* only through set() in loops.c */
		struct api_loop *items[LOOPS_MAX];
		size_t n;
	} set_;
};

void loops_init(struct loops *loops);
void loops_fini(struct loops *loops); /* every loop has ended */

/* The hooks of struct http_config: `api` and what loop_start() returned. */
void *loop_start(void *api, struct http_loop *http);
void loop_turn(void *loop);
int64_t loop_next_deadline_ns(void *loop);
void loop_stop(void *loop);

/*
 * Any thread; `loops` is a struct loops.  Has every command from before that
 * moment been answered or dropped?
 */
bool loops_are_answered_since(void *loops, int64_t since_ns);

/* The highest number of this event that a reply had; 0: none remembered. */
int64_t loops_highest_seen(void *loops, int64_t coupon_id);

#endif
