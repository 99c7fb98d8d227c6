/* SPDX-License-Identifier: MIT */
/*
 * relay - sends what is still in the outbox some seconds after it was
 * accepted: its api died, or Kafka did not take it.
 *
 * Every api runs one relay thread.  A lock per event that expires by itself
 * keeps two of them from doing the same work; two at once do no harm.  An
 * entry that was sent is leased: it is not looked at again for
 * RELAY_LEASE_MS, so that an outage of Kafka does not become a storm.  Only
 * a delivery report takes an entry out of the outbox (api/outbox.h).
 *
 * The owner starts and stops it; relay_configure() and relay_status() may be
 * called by any thread.
 */
#ifndef API_RELAY_H
#define API_RELAY_H

#include "common/compiler.h"

#include <stddef.h>
#include <stdint.h>

struct breaker;
struct metrics;
struct producer;
struct redis_shards;
struct relay;
struct settings;

/* Not sent again for this long after it was sent. */
enum { RELAY_LEASE_MS = 10000 };

struct relay_config {
	struct redis_shards *shards; /* borrowed, as all here */
	struct producer *producer;
	struct breaker *breaker;         /* probed while it is open; or NULL */
	const struct settings *settings; /* outbox.relay-after, redis.timeout */
	struct metrics *metrics;
};

/* Aborts when out of memory or threads: this is start-up. */
struct relay *relay_start(const struct relay_config *config);
void relay_stop(struct relay *relay); /* ends the thread; NULL ok */

/* Live. */
void relay_configure(struct relay *relay, const struct settings *settings);

/* What the last pass did, for operators. */
struct relay_status {
	int64_t last_pass_age_ns; /* -1 before the first */
	int64_t last_pass_took_ns;
	int64_t interval_ns; /* between two */
	size_t events, sent, skipped, removed;
	char error[360]; /* what the last pass failed at, or "" */
};
void relay_status(struct relay *relay, struct relay_status *ret);

#endif
