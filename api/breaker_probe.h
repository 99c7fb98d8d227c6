/* SPDX-License-Identifier: MIT */
/*
 * breaker_probe - asks Redis in the background whether it answers again, so
 * that an open breaker may begin its trials before its time is over.
 */
#ifndef API_BREAKER_PROBE_H
#define API_BREAKER_PROBE_H

#include <stdint.h>

struct breaker;
struct pool;

/*
 * If the breaker is OPEN, send one PING over `pool` and tell the breaker of
 * its success.  Blocks until `deadline_ns` at most.  Any thread that may.
 */
void breaker_probe(
	struct breaker *breaker, struct pool *pool, int64_t deadline_ns);

#endif
