/* SPDX-License-Identifier: MIT */
/*
 * reconcile_restore - puts lost requests back into their event's outbox, from
 * where the relay sends them again.
 *
 * For threads that may block; each call stands alone.
 */
#ifndef API_RECONCILE_RESTORE_H
#define API_RECONCILE_RESTORE_H

#include "common/compiler.h"

#include <stdint.h>

struct audit_findings;
struct error;
struct redis_shards;

struct reconcile_restore {
	struct redis_shards *shards;
	int64_t coupon_id;
	int64_t deadline_ns;
};

/*
 * Every finding whose repair is AUDIT_SEND, if users still holds that request
 * and number.  *ret_count were not in the outbox before.
 */
int reconcile_restore(const struct reconcile_restore *restore,
	const struct audit_findings *findings, int64_t *ret_count,
	struct error *err) NODISCARD;

#endif
