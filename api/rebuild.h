/* SPDX-License-Identifier: MIT */
/*
 * rebuild - brings an event (back) into Redis from PostgreSQL, Kafka and what
 * Redis still has of it.  It is the only loader: of a new event, after a
 * loss, and to give back the numbers of rejected requests.
 *
 * rebuild_request() may be called by any thread and only notes the event; a
 * thread of the rebuild's own does the work, one event after the other.  In
 * the whole system one api rebuilds an event at a time.
 */
#ifndef API_REBUILD_H
#define API_REBUILD_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct metrics;
struct pg_pools;
struct producer;
struct rebuild;
struct redis_shards;
struct settings;

/* X(ID, tag): why an event is rebuilt. */
#define REBUILD_CAUSES(X)                                                      \
	X(NEW, "new")             /* it was just created */                    \
	X(MISSING, "missing")     /* Redis does not have it */                 \
	X(FENCED, "fenced")       /* a rebuild was begun and not ended */      \
	X(RESTARTED, "restarted") /* Redis came back with older numbers */     \
	X(AT_ODDS, "at_odds")     /* users and rows disagree */                \
	X(OPERATOR, "operator")

enum rebuild_cause {
#define X(id, tag) REBUILD_##id,
	REBUILD_CAUSES(X)
#undef X
		REBUILD_N_CAUSES,
};

struct rebuild_config {
	struct redis_shards *shards; /* borrowed, as all here */
	struct pg_pools *pg;
	struct producer *producer;
	const struct settings *settings; /* Kafka's names */
	const char *instance_id;
	struct metrics *metrics;
};

/* Aborts when out of memory or threads: this is start-up. */
struct rebuild *rebuild_start(const struct rebuild_config *config);
void rebuild_stop(struct rebuild *rebuild); /* NULL ok */

/* False when too many events wait already. */
bool rebuild_request(
	struct rebuild *rebuild, int64_t coupon_id, enum rebuild_cause cause);

/*
 * Wait until no rebuild of this event is noted or running here; what somebody
 * waits for goes before what nobody waits for.  True when
 * it ended before `deadline_ns`.  For threads that may block.
 */
bool rebuild_await(
	struct rebuild *rebuild, int64_t coupon_id, int64_t deadline_ns);

/* When each cause's last rebuild ended and what it found, for operators. */
struct rebuild_status {
	size_t waiting;
	int64_t running; /* coupon id, 0: none */
	uint64_t done, failed;
	char error[360];      /* of the last failure, "" if none */
	int64_t error_age_ns; /* -1: none yet, as the next */
	int64_t last_age_ns;  /* since the last one ended, well or not */
};
void rebuild_status(struct rebuild *rebuild, struct rebuild_status *ret);

#endif
