/* SPDX-License-Identifier: MIT */
/*
 * worker - a fixed number of threads for work that may block, fed from a
 * bounded queue by the HTTP loops.
 *
 * A job is the submitter's memory, embedded in what it works on.  run() is
 * called on a worker thread and touches the job only; done() is called on the
 * submitting loop's thread, where the request lives.  A request that was
 * answered meanwhile (its deadline passed) leaves its job behind: the job
 * must not live in the request's memory.
 *
 * worker_submit() is for loop threads; the rest for the thread that owns it.
 */
#ifndef API_WORKER_H
#define API_WORKER_H

#include "common/compiler.h"
#include "common/error.h"
#include "common/http.h"

#include <stddef.h>
#include <stdint.h>

struct metrics;
struct worker;
struct worker_job;

typedef int worker_run_fn(struct worker_job *job, struct error *err);
typedef void worker_done_fn(struct worker_job *job);

struct worker_job {
	/* Set by the submitter. */
	struct http_loop *loop;
	int64_t deadline_ns; /* a job that starts later fails with TIMEOUT */
	worker_run_fn *run;  /* 0, or -kind with err filled */
	worker_done_fn *done;
	/* For done() to read. */
	int rc;
	struct error err; /* when rc != 0 */
	bool started;     /* false: run() was never called */
	/* The worker's. */
	struct http_post post;
	struct worker_job *next;
};

/* Aborts when the system has no threads left: this is start-up. */
struct worker *worker_new(
	unsigned threads, size_t queue_size, struct metrics *metrics);

/*
 * 0: done() will be called once.  -ERROR_BUSY (the queue is full) or
 * -ERROR_CLOSED: it will not.
 */
int worker_submit(struct worker *worker, struct worker_job *job,
	struct error *err) NODISCARD;

/*
 * Take no more jobs, fail those that wait with CLOSED, let the running ones
 * end, join the threads.  The loops must still turn: they get the results.
 */
void worker_stop(struct worker *worker);

/* After worker_stop(), when the loops are gone too.  NULL is a no-op. */
void worker_free(struct worker *worker);

#endif
