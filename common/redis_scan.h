/* SPDX-License-Identifier: MIT */
/*
 * redis_scan - every element of a hash or a sorted set, a page at a time, so
 * that a big one does not hold up Redis.
 *
 * An element that is there from the first page to the last is seen, perhaps
 * twice; one that comes or goes meanwhile may or may not be.
 */
#ifndef COMMON_REDIS_SCAN_H
#define COMMON_REDIS_SCAN_H

#include "common/compiler.h"

#include <stdint.h>

struct error;
struct redis_conn;

struct redis_scan {
	const char *command; /* "HSCAN" or "ZSCAN" */
	const char *key;
	int64_t deadline_ns;
	/* A field and its value, or a member and its score. */
	int (*pair)(void *arg, const char *first, const char *second,
		struct error *err);
	/* After every page; NULL for none. */
	int (*tick)(void *arg, struct error *err);
	void *arg;
};

/* redis_call()'s errors, or the first one that pair() or tick() returned. */
int redis_scan(struct redis_conn *conn, const struct redis_scan *scan,
	struct error *err) NODISCARD;

#endif
