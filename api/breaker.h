/* SPDX-License-Identifier: MIT */
/*
 * breaker - refuses calls to Redis while calls to Redis fail.
 *
 * Resilience4j's circuit breaker (facts/resilience.md 3.1) with what hurts
 * its users mended: every permit belongs to the generation (state entry) that
 * gave it, so a late result of an older state is counted but decides nothing;
 * trial permits expire with their request's deadline, so HALF_OPEN cannot get
 * stuck; trials may begin as soon as a background probe has succeeded; the
 * first time in OPEN may be shorter than the later ones.
 *
 * What is a failure: Redis unreachable, timed out or answering with an error,
 * and an exhausted pool; counted once per request, after its retry.
 * SOLD_OUT, DUPLICATE and every 4xx are successes.  What is neither: a pool
 * that an operator has suspended, and our own shutdown.  They would open the
 * breaker on a healthy Redis and hide their cause behind BREAKER_OPEN.
 *
 * Any thread.  `now_ns` is the caller's clock_now_ns().  Asking for a permit
 * while CLOSED is one atomic load; recording takes a short lock.
 */
#ifndef API_BREAKER_H
#define API_BREAKER_H

#include "api/breaker_history.h"
#include "common/clock.h"
#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct breaker;

/*
 * In Resilience4j's order; METRICS_ONLY does not exist here.  DISABLED is
 * "forced closed": every call passes, none counts.
 */
/* clang-format off */
#define BREAKER_STATES(X)       \
	X(CLOSED, "closed")     \
	X(OPEN, "open")         \
	X(HALF_OPEN, "half_open") \
	X(DISABLED, "disabled") \
	X(FORCED_OPEN, "forced_open")
/* clang-format on */

enum breaker_state {
#define X(state, name) BREAKER_##state,
	BREAKER_STATES(X)
#undef X
};

struct breaker_config {
	bool enabled;             /* false behaves as DISABLED */
	bool time_based;          /* window_size is seconds, not calls */
	uint32_t window_size;     /* >= 1 */
	uint32_t minimum_calls;   /* >= 1; clamped to window_size by count */
	uint32_t half_open_calls; /* >= 1 */
	double failure_rate;      /* percent, trips at >= */
	double slow_rate;         /* percent, trips at >= */
	int64_t slow_call_ns;     /* slow when longer */
	int64_t open_ns;          /* time in OPEN before trials */
	int64_t first_open_ns;    /* the first time; doubles up to open_ns */
};

struct breaker_permit {
	uint64_t generation;
	int64_t since_ns;
};

enum breaker_outcome { BREAKER_SUCCESS, BREAKER_FAILURE };

/* NULL when out of memory. */
struct breaker *breaker_new(
	const struct breaker_config *config, int64_t now_ns);
void breaker_free(struct breaker *breaker);

/*
 * May this call be made?  True: *ret must come back through breaker_record()
 * or breaker_release() (until `deadline_ns` if the state is HALF_OPEN;
 * afterwards its place may be given to another).  False: counted as not
 * permitted; breaker_retry_after_ns() says when to come again.
 */
bool breaker_acquire(struct breaker *breaker, int64_t now_ns,
	int64_t deadline_ns, struct breaker_permit *ret) NODISCARD;

/* The call ended. */
void breaker_record(struct breaker *breaker,
	const struct breaker_permit *permit, int64_t now_ns,
	enum breaker_outcome outcome);

/* The call was not made after all: nothing is learned from it. */
void breaker_release(
	struct breaker *breaker, const struct breaker_permit *permit);

/*
 * When to come again; 0 when calls are permitted.  While OPEN never more than
 * BREAKER_PROBED_NS, however long it may stay so: trials begin as soon as a
 * background probe succeeds, and who was told to stay away for the whole time
 * would miss that by half a minute.  FORCED_OPEN, which no probe ends: the
 * configured time in OPEN.
 */
#define BREAKER_PROBED_NS (1 * NS_PER_S)
int64_t breaker_retry_after_ns(struct breaker *breaker, int64_t now_ns);

/* A background probe of Redis succeeded: an OPEN breaker goes to trials. */
void breaker_probe_succeeded(struct breaker *breaker, int64_t now_ns);

/*
 * By an operator: CLOSED (fresh window), DISABLED or FORCED_OPEN, from any
 * state; forced states are left by another call only.
 */
void breaker_force(
	struct breaker *breaker, enum breaker_state state, int64_t now_ns);

/* Live.  A changed window starts empty; the state stays. */
void breaker_configure(struct breaker *breaker,
	const struct breaker_config *config, int64_t now_ns);

struct breaker_snapshot {
	enum breaker_state state;
	uint32_t buffered, failed, slow, slow_failed;
	double failure_rate, slow_rate; /* -1 below the minimum of calls */
	int64_t in_state_ns;
	uint64_t generation; /* counts state entries */
	/* since the start */
	uint64_t successful_calls, failed_calls, not_permitted, late_results;
	uint64_t entered[BREAKER_FORCED_OPEN + 1];
};
void breaker_snapshot(
	struct breaker *breaker, int64_t now_ns, struct breaker_snapshot *ret);

/* Its last changes of state, oldest first; how many were written. */
size_t breaker_transitions(struct breaker *breaker,
	struct breaker_transition ret[BREAKER_HISTORY_MAX]);

/* "half_open" */
const char *breaker_state_name(enum breaker_state state);

#endif
