/* SPDX-License-Identifier: MIT */
/*
 * rebuild_store - what the rebuild reads and writes in PostgreSQL: the lease,
 * the fence epoch, the acknowledgements, and a consistent cut of an event.
 *
 * Always the primary.  Every function blocks until the call's deadline.
 */
#ifndef API_REBUILD_STORE_H
#define API_REBUILD_STORE_H

#include "api/event_store.h"
#include "common/compiler.h"
#include "common/kafka_scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An api without a heartbeat for this long counts as dead. */
#define INSTANCE_ALIVE_S 3

/* What PostgreSQL says of an event, once its fence epoch has been raised. */
struct rebuild_event {
	int64_t coupon_id;
	int64_t epoch;
	int64_t version;
	int64_t total;
	int64_t opens_at_ms;
	int64_t closes_at_ms;
	bool closed;
};

/*
 * Become the rebuilder and raise the epoch above PostgreSQL's and
 * Redis's.  *ret_taken false: another holds the lease.
 * -ERROR_NOT_FOUND: no such event.
 */
struct rebuild_claim {
	int64_t coupon_id;
	const char *holder;
	int64_t redis_epoch;
};
int rebuild_store_take(const struct store_call *call,
	const struct rebuild_claim *claim, bool *ret_taken,
	struct rebuild_event *ret, struct error *err) NODISCARD;

/* Another 5 s.  -ERROR_CANCELLED: the lease is no longer ours. */
int rebuild_store_renew(const struct store_call *call, int64_t coupon_id,
	const char *holder, struct error *err) NODISCARD;
int rebuild_store_release(const struct store_call *call, int64_t coupon_id,
	const char *holder, struct error *err) NODISCARD;

/* Is somebody rebuilding it right now? */
int rebuild_store_is_leased(const struct store_call *call, int64_t coupon_id,
	bool *ret, struct error *err) NODISCARD;

/* Living apis that have not acknowledged this epoch. */
int rebuild_store_missing_acks(const struct store_call *call,
	const struct rebuild_event *event, int64_t *ret,
	struct error *err) NODISCARD;

/* The consumer's offsets; free() *ret. */
struct rebuild_offsets {
	struct kafka_scan_offset *items;
	size_t n;
};

/*
 * In one REPEATABLE READ snapshot: every rejection (`reason` is set), then
 * every row handed to `request`, the offsets into *ret.  `tick` is called now
 * and then.  An error of theirs ends it.
 */
struct rebuild_cut {
	int64_t coupon_id;
	const char *group_id;
	const char *topic;
	int (*request)(void *arg, const struct message *request,
		const char *reason, struct error *err);
	int (*tick)(void *arg, struct error *err);
	void *arg;
};
int rebuild_store_read(const struct store_call *call,
	const struct rebuild_cut *cut, struct rebuild_offsets *ret,
	struct error *err) NODISCARD;

/* The offsets alone. */
int rebuild_store_offsets(const struct store_call *call, const char *group_id,
	const char *topic, struct rebuild_offsets *ret,
	struct error *err) NODISCARD;

/* The highest number of a row of this event, 0 if none. */
int rebuild_store_highest(const struct store_call *call, int64_t coupon_id,
	int64_t *ret, struct error *err) NODISCARD;

/* ---- for the heartbeat (api/instance.h) ---- */

int instance_store_beat(const struct store_call *call, const char *instance,
	struct error *err) NODISCARD;
int instance_store_leave(const struct store_call *call, const char *instance,
	struct error *err) NODISCARD;

/* Fences that this instance has not acknowledged; the rest come next time. */
enum { INSTANCE_FENCES_MAX = 64 };
struct instance_fence {
	int64_t coupon_id;
	int64_t epoch;
};
struct instance_fences {
	struct instance_fence items[INSTANCE_FENCES_MAX];
	size_t n;
};
int instance_store_fences(const struct store_call *call, const char *instance,
	struct instance_fences *ret, struct error *err) NODISCARD;
int instance_store_ack(const struct store_call *call, const char *instance,
	const struct instance_fence *fence, struct error *err) NODISCARD;

#endif
