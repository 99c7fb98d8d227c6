/* SPDX-License-Identifier: MIT */
/*
 * reconcile - the comparison of coupon-verify, all the time, in one api at a
 * time, and what follows from it: requests that Kafka lost after it had
 * acknowledged them are sent again, an event that is at odds is rebuilt.
 *
 * A thread of its own: a big event takes seconds.  The owner starts and
 * stops it.
 */
#ifndef API_RECONCILE_H
#define API_RECONCILE_H

struct metrics;
struct pg_pools;
struct rebuild;
struct reconcile;
struct reconcile_status; /* api/reconcile_report.h */
struct redis_shards;
struct settings;

struct reconcile_config {
	struct redis_shards *shards; /* borrowed, as all here */
	struct pg_pools *pg;
	struct rebuild *rebuild;
	const struct settings *settings; /* Kafka's names */
	const char *instance_id;         /* this api among the others */
	struct metrics *metrics;
};

/* Aborts when out of memory or threads: this is start-up. */
struct reconcile *reconcile_start(const struct reconcile_config *config);
void reconcile_stop(struct reconcile *reconcile); /* NULL ok */

/* Live. */
void reconcile_configure(
	struct reconcile *reconcile, const struct settings *settings);

/* For operators; any thread. */
void reconcile_status(
	struct reconcile *reconcile, struct reconcile_status *ret);

#endif
