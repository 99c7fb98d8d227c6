/* SPDX-License-Identifier: MIT */
/*
 * pool_model - what the pool should do, as simply as it can be said.
 *
 * Plain arrays, no pointers into the pool, no locks, no threads.  It knows
 * the pool's connections only by their addresses.  Time and chance are the
 * caller's: jitter is off.
 */
#ifndef COMMON_TESTS_POOL_MODEL_H
#define COMMON_TESTS_POOL_MODEL_H

#include "common/pool_internal.h"

#define MODEL_CONNS 32
#define MODEL_WAITERS 64

struct model_conn {
	const struct pool_conn *real;
	int generation;
	int64_t opened, since, checked;
};

struct model_conns {
	struct model_conn at[MODEL_CONNS];
	size_t n;
};

struct model_answer {
	int waiter;
	const struct pool_conn *conn; /* NULL: failed */
};

struct model {
	struct pool_config config;
	int64_t now, sweep, retry, backoff;
	bool suspended, drained, failing, checks_due;
	int generation;
	struct model_conns opening, idle, lent,
		checking; /* idle: warmest last */
	size_t closing;
	int queue[MODEL_WAITERS];
	int64_t queued_at[MODEL_WAITERS];
	size_t waiting;
	struct model_answer answers[MODEL_WAITERS]; /* still to be seen */
	size_t n_answers;
	uint64_t timeouts, opened, open_failed;
};

enum model_work { MODEL_NOTHING, MODEL_OPEN, MODEL_CHECK };

size_t model_total(const struct model *m);
/* The kind of answer, and the connection lent at once. */
enum error_kind model_request(
	struct model *m, int waiter, const struct pool_conn **lent);
enum error_kind model_cancel(struct model *m, size_t place, bool timed_out);
void model_release(struct model *m, size_t i, enum pool_return how);
/* What a worker finds to do; *check is the connection to be checked. */
enum model_work model_take(struct model *m, const struct pool_conn **check);
void model_opening(struct model *m, const struct pool_conn *real);
void model_opened(struct model *m, size_t i, bool ok);
void model_checked(struct model *m, bool ok);
void model_keep(struct model *m);
void model_configure(struct model *m, const struct pool_config *config);
void model_resume(struct model *m);
void model_evict(struct model *m);
void model_drain(struct model *m);

#endif
