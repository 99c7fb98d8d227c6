/* SPDX-License-Identifier: MIT */
/*
 * pool_admin - look into a running pool and change it.
 *
 * Every function may be called from any thread.
 */
#ifndef COMMON_POOL_ADMIN_H
#define COMMON_POOL_ADMIN_H

#include "common/error.h"
#include "common/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool_snapshot {
	size_t total, active, idle, opening, waiting, max, min;
	int64_t oldest_wait_ns;
	uint64_t timeouts; /* acquires that waited until their deadline */
	uint64_t opened, open_failed, closed;
	bool suspended, failing;   /* failing: the last connect failed */
	int64_t last_error_age_ns; /* -1 when there was none */
	struct error last_error;
};

/* One consistent cut. */
void pool_snapshot(struct pool *pool, struct pool_snapshot *ret);

/* At most `max` holders, longest first; returns how many were written. */
struct pool_holder {
	const char *holder;
	int64_t held_ns;
};
size_t pool_holders(struct pool *pool, struct pool_holder *ret, size_t max);
/* The same of those who wait; held_ns is how long they have. */
size_t pool_waiters(struct pool *pool, struct pool_holder *ret, size_t max);

/* The configuration in force. */
void pool_config_get(struct pool *pool, struct pool_config *ret);

/* Apply at once, growing or shrinking; surplus lent ones close on return. */
void pool_configure(struct pool *pool, const struct pool_config *config);

/*
 * While suspended nobody is lent a connection and none is opened; waiters
 * queue and keep their deadlines.
 */
void pool_suspend(struct pool *pool);
void pool_resume(struct pool *pool);

/* Replace every connection: idle ones now, lent ones when they come back. */
void pool_evict_all(struct pool *pool, const char *reason);

/* True once a first connection has been opened. */
bool pool_has_connected(struct pool *pool);

#endif
