/* SPDX-License-Identifier: MIT */
/*
 * event_limits - the rate limiter of each request: the event's own if it is
 * listed in ratelimiter.coupon-issue.events, else the default one.
 *
 * Looking one up is lock-free for any thread; configuring is for one thread
 * at a time.  A limiter keeps its state over a reload that still lists it.
 */
#ifndef API_EVENT_LIMITS_H
#define API_EVENT_LIMITS_H

#include <stdint.h>

struct event_limits;
struct limiter;
struct settings;

/* NULL when out of memory. */
struct event_limits *event_limits_new(
	const struct settings *settings, int64_t now_ns);
void event_limits_free(struct event_limits *limits);

/* Live.  Out of memory: the old limits stay in force. */
void event_limits_configure(struct event_limits *limits,
	const struct settings *settings, int64_t now_ns);

/* Borrowed, valid until event_limits_free(). */
struct limiter *event_limits_get(
	struct event_limits *limits, int64_t coupon_id);

struct limiter *event_limits_default(struct event_limits *limits);

#endif
