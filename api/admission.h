/* SPDX-License-Identifier: MIT */
/*
 * admission - may this request go to Redis?  The one place that decides it,
 * in the order of DESIGN 9: sold-out latch, rate limiter, circuit breaker.
 * (Those three join in the next step; until then everybody is admitted.)
 *
 * Every request that was admitted reports its end exactly once, after its
 * retry, through admission_report() or admission_forget().
 */
#ifndef API_ADMISSION_H
#define API_ADMISSION_H

#include "api/breaker.h"
#include "api/latch.h"
#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct admission;
struct metrics;
struct settings;

enum admission_verdict {
	ADMISSION_OK,
	ADMISSION_SOLD_OUT,
	ADMISSION_RATE_LIMITED,
	ADMISSION_BREAKER_OPEN,
};

struct admission_request {
	struct latch *latch; /* the loop's */
	int64_t coupon_id;
	bool has_key; /* came with an Idempotency-Key: Redis must answer it */
	int64_t now_ns;
	int64_t deadline_ns;
};

struct admission_permit {
	struct breaker_permit breaker; /* valid after OK */
	int64_t retry_after_ns;        /* after a refusal; 0: not known */
};

/* Aborts when out of memory: this is start-up. */
struct admission *admission_new(
	const struct settings *settings, struct metrics *metrics);
void admission_free(struct admission *admission);

/* Live; one thread at a time. */
void admission_configure(
	struct admission *admission, const struct settings *settings);

/* The first question of a request.  Any loop's thread; never waits. */
enum admission_verdict admission_enter(struct admission *admission,
	const struct admission_request *request, struct admission_permit *ret);

/* Redis answered, or did not. */
void admission_report(struct admission *admission,
	const struct admission_permit *permit, int64_t now_ns,
	enum breaker_outcome outcome);

/* It never came to a command: nothing is learned. */
void admission_forget(
	struct admission *admission, const struct admission_permit *permit);

/* Redis says SOLD_OUT: arm the loop's latch. */
void admission_sold_out(struct admission *admission, struct latch *latch,
	int64_t coupon_id, int64_t now_ns);

#endif
