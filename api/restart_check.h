/* SPDX-License-Identifier: MIT */
/*
 * restart_check - does a Redis that was restarted, or that this process meets
 * for the first time, hold numbers that were given out already?
 *
 * An event's next number must be above everything known: PostgreSQL's rows,
 * what Kafka holds unconsumed, and the answers this api has seen.  An event
 * that fails is rebuilt.  Blocking; for the upkeep thread.
 */
#ifndef API_RESTART_CHECK_H
#define API_RESTART_CHECK_H

#include "common/compiler.h"

#include <stddef.h>
#include <stdint.h>

struct error;
struct event_loader;
struct settings;

struct restart_check {
	const struct event_loader *loader;
	const struct settings *settings; /* Kafka's names */
	/* The highest number this process was told of; any thread. */
	int64_t (*seen_highest)(void *arg, int64_t coupon_id);
	void *arg;
	/* While Kafka is read; an error ends the check. */
	int (*tick)(void *tick_arg, struct error *err);
	void *tick_arg;
	int64_t deadline_ns;
};

/*
 * Check the events with these ids; asks for the rebuilds itself, and waits
 * some seconds for their end: until then old numbers could be given out.
 */
int restart_check_run(const struct restart_check *check,
	const int64_t *coupon_ids, size_t n, struct error *err) NODISCARD;

#endif
