/* SPDX-License-Identifier: MIT */
/*
 * admission - may this request go to Redis?  The one place that decides it,
 * in the order of docs/architecture.md: sold-out latch, rate limiter, circuit
 * breaker.
 *
 * The request that goes to Redis as the latch's probe is treated like any
 * other: it takes a permit and asks the breaker.  That is one permit per event
 * and latch.duration, 5 of 500 a second, so it needs no way past the limiter.
 * But it takes no harm from having been the one, either: where limiter or
 * breaker refuse it, it is told what its neighbours are told, SOLD_OUT, and
 * another tries one latch.duration later.  A flood after the end thus sees no
 * 429 for as long as Redis's word can be trusted (latch.h).
 *
 * Every request that was admitted reports its end exactly once, after its
 * retry, through admission_report() or admission_forget().  Any loop's thread
 * unless said otherwise; nothing here waits or takes a contended lock.
 */
#ifndef API_ADMISSION_H
#define API_ADMISSION_H

#include "api/breaker.h"
#include "api/issue_verdict.h"
#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct admission;
struct limiter;
struct metrics;
struct settings;

enum admission_verdict {
	ADMISSION_OK,
	ADMISSION_WAIT, /* come again through admission_resume() */
	ADMISSION_SOLD_OUT,
	ADMISSION_RATE_LIMITED,
	ADMISSION_BREAKER_OPEN,
};

struct admission_request {
	int64_t coupon_id;
	bool has_key; /* came with an Idempotency-Key: Redis must answer it */
	int64_t now_ns;
	int64_t deadline_ns;
};

struct admission_permit {
	struct breaker_permit breaker; /* after OK */
	int64_t wait_ns;               /* after WAIT: this long from now */
	struct limiter *reserved;      /* after WAIT: the limiter's own */
	uint64_t probe; /* it is the latch's probe; 0: it is not */
	/*
	 * After a refusal: whole seconds, as Retry-After counts them, drawn so
	 * that retries spread.  From one period of the limiter up to three,
	 * or to as long as its limit takes to let in all that it refused of
	 * late (30 s more at the most): a crowd that is a hundred times too
	 * large would else come back all within three seconds.
	 */
	int retry_after_s;
};

/* Aborts when out of memory: this is start-up. */
struct admission *admission_new(
	const struct settings *settings, struct metrics *metrics);
void admission_free(struct admission *admission);

/* Live; one thread at a time. */
void admission_configure(
	struct admission *admission, const struct settings *settings);

/* The first question of a request. */
enum admission_verdict admission_enter(struct admission *admission,
	const struct admission_request *request, struct admission_permit *ret);

/*
 * After WAIT: the time has come (never WAIT again), or the request ended
 * before it did.
 */
enum admission_verdict admission_resume(struct admission *admission,
	const struct admission_request *request,
	struct admission_permit *permit);
void admission_cancel(
	struct admission *admission, const struct admission_permit *permit);

/* Redis answered, or did not. */
void admission_report(struct admission *admission,
	const struct admission_permit *permit, int64_t now_ns,
	enum breaker_outcome outcome);

/* It never came to a command: nothing is learned. */
void admission_forget(
	struct admission *admission, const struct admission_permit *permit);

/*
 * Redis answered a request of this event, or will not: the latch learns from
 * it.
 */
void admission_heard(struct admission *admission, int64_t coupon_id,
	const struct admission_permit *permit, int64_t now_ns,
	enum issue_stock stock);

/* For the actuator, the background probe and the operator. */
struct breaker *admission_breaker(struct admission *admission);

struct limiter_figures {
	int64_t available; /* of the default limiter */
	int64_t waiting;
};
struct limiter_figures admission_limiter_figures(struct admission *admission);

#endif
