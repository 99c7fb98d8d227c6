/* SPDX-License-Identifier: MIT */
/*
 * health - what the consumer's probes answer.
 *
 * Only what background threads have seen: no probe borrows a connection or
 * asks a server.  Any thread.
 */
#ifndef CONSUMER_HEALTH_H
#define CONSUMER_HEALTH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct actuator;
struct group;
struct pool;
struct redis_shards;
struct settings;

struct consumer_health {
	struct group *group; /* borrowed, as are the others */
	struct pool *pg;
	struct redis_shards *redis;
	atomic_bool draining;
	_Atomic int64_t watchdog_ns;
};

void consumer_health_init(struct consumer_health *health, struct group *group,
	struct pool *pg, struct redis_shards *redis,
	const struct settings *settings);
void consumer_health_configure(
	struct consumer_health *health, const struct settings *settings);

/* Components db, redis, kafka and the two probe groups. */
void consumer_health_register(
	struct consumer_health *health, struct actuator *actuator);

/* Not ready from now on. */
void consumer_health_drain(struct consumer_health *health);

#endif
