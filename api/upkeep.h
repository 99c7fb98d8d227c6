/* SPDX-License-Identifier: MIT */
/*
 * upkeep - the api's housekeeping thread: what must happen now and then and
 * hurts nobody when it comes late.
 *
 *  - publish again events whose version in Redis is behind PostgreSQL's, and
 *    have those rebuilt that Redis lacks or that stay fenced though nobody
 *    rebuilds them (one api at a time: api/role.h);
 *  - after a restart of Redis, see whether its numbers are still the newest;
 *  - look at the events, for coupon.outbox.* and coupon.event.*.
 *
 * The owner starts and stops it.
 */
#ifndef API_UPKEEP_H
#define API_UPKEEP_H

#include <stdbool.h>
#include <stdint.h>

struct error;
struct event_loader;
struct metrics;
struct migration;
struct settings;
struct upkeep;

struct upkeep_config {
	const struct event_loader *loader; /* borrowed, as all here */
	const struct settings *settings;   /* Kafka's names */
	const char *instance_id;           /* this api among the others */
	const struct migration *migration; /* nothing before it is done */
	/* The highest number of the event this process has handed out. */
	int64_t (*seen_highest)(void *arg, int64_t coupon_id);
	void *arg;
	struct metrics *metrics;
};

/* Aborts when out of memory or threads. */
struct upkeep *upkeep_start(const struct upkeep_config *config);
void upkeep_stop(struct upkeep *upkeep); /* NULL is a no-op */

/* What the last pass did, for operators; any thread. */
struct upkeep_status {
	int64_t interval_ns;      /* between two */
	int64_t last_pass_age_ns; /* -1 before the first */
	int64_t last_pass_took_ns;
	bool migrated;              /* the schema is as it must be */
	int64_t pending, oldest_ms; /* of all outboxes, as last seen */
	char error[360];            /* what could not be done, or "" */
};
void upkeep_status(struct upkeep *upkeep, struct upkeep_status *ret);

#endif
