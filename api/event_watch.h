/* SPDX-License-Identifier: MIT */
/*
 * event_watch - a look at every event that Redis has, now and then, and the
 * metrics that come of it: coupon.outbox.* over all, coupon.event.* of those
 * that are sold now.
 *
 * A coupon's id is a label only here, and of the newest EVENT_WATCH_MAX that
 * have not ended: what a scrape holds does not grow with the years.
 *
 * One thread looks; any thread reads.
 */
#ifndef API_EVENT_WATCH_H
#define API_EVENT_WATCH_H

#include "common/compiler.h"

#include <stddef.h>
#include <stdint.h>

struct error;
struct event_loader;
struct event_watch;
struct metrics;
struct pool;

#define EVENT_WATCH_MAX 20

/* `loader` is borrowed.  Aborts when out of memory. */
struct event_watch *event_watch_new(
	const struct event_loader *loader, struct metrics *metrics);
void event_watch_free(struct event_watch *watch);

/* Blocks on Redis.  What cannot be seen now keeps its last value. */
int event_watch_look(struct event_watch *watch, struct error *err) NODISCARD;

/* Of all outboxes, as last seen; `ret_oldest_ms` is an age. */
void event_watch_outboxes(struct event_watch *watch, int64_t *ret_pending,
	int64_t *ret_oldest_ms);

/* The events that this shard's index names; free() *ret. */
int event_watch_index(struct pool *pool, int64_t **ret, size_t *ret_n,
	struct error *err) NODISCARD;

#endif
