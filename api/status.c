/* SPDX-License-Identifier: MIT */
#include "api/status.h"

#include "common/clock.h"

#include <assert.h>
#include <jansson.h>

/*
 * DESIGN
 *
 * A row is final, whatever else is found.  A rejection in PostgreSQL is final
 * for its request; but when any request of the user is asked for, the one
 * that holds a number in Redis is a later one and goes first.  Redis was
 * asked before PostgreSQL: a request that left Redis's knowledge in between
 * has become a row by then.
 */

static void
from_redis(struct user_coupon *coupon, const struct issue_entry *entry)
{
	memcpy(coupon->request_id, entry->request_id,
		sizeof(coupon->request_id));
	coupon->seq = entry->seq;
	coupon->accepted_at_ms = entry->accepted_at_ms;
}

static bool
is_rejected_in_row(const struct status_facts *facts)
{
	if (facts->row == NULL)
		return false;
	return facts->redis == NULL || !facts->redis->held ||
	       strcmp(facts->redis->entry.request_id, facts->row->request_id) ==
		       0;
}

static enum status_kind
absent(const struct status_facts *facts)
{
	if (facts->redis == NULL || facts->database_down)
		return STATUS_UNKNOWN;
	return facts->redis->event == EVENT_FENCED ? STATUS_FENCED
						   : STATUS_NONE;
}

void
status_resolve(const struct status_facts *facts, const struct user_coupon *key,
	struct status *ret)
{
	const struct status_reply *redis = facts->redis;

	memset(ret, 0, sizeof(*ret));
	ret->coupon = *key;
	ret->stale = facts->database_down;
	if (facts->row != NULL && facts->row->reason[0] == '\0') {
		ret->kind = STATUS_ISSUED;
		ret->coupon = *facts->row;
	} else if (is_rejected_in_row(facts)) {
		ret->kind = STATUS_REJECTED;
		ret->coupon = *facts->row;
	} else if (redis != NULL && redis->rejected) {
		ret->kind = STATUS_REJECTED;
		ret->coupon.seq = redis->rejection.seq;
		ret->coupon.accepted_at_ms = redis->rejection.accepted_at_ms;
		(void)snprintf(ret->coupon.reason, sizeof(ret->coupon.reason),
			"%s", redis->rejection.reason);
	} else if (redis != NULL && redis->held) {
		ret->kind = STATUS_PENDING;
		from_redis(&ret->coupon, &redis->entry);
	} else {
		ret->kind = absent(facts);
	}
}

static json_t *
time_or_null(int64_t unix_ms)
{
	char text[CLOCK_RFC3339_SIZE];

	if (unix_ms == 0)
		return json_null();
	clock_format_rfc3339(unix_ms, text);
	return json_string(text);
}

json_t *
status_to_json(const struct status *status)
{
	static const char *const names[] = {
		[STATUS_PENDING] = "PENDING",
		[STATUS_ISSUED] = "ISSUED",
		[STATUS_REJECTED] = "REJECTED",
	};
	const struct user_coupon *coupon = &status->coupon;
	const char *reason =
		status->kind == STATUS_REJECTED ? coupon->reason : NULL;
	int64_t issued_at_ms =
		status->kind == STATUS_ISSUED ? coupon->decided_at_ms : 0;

	assert((size_t)status->kind < ARRAY_SIZE(names));
	json_t *json = json_pack("{sI sI ss sI ss ss? so so}", "couponId",
		(json_int_t)coupon->coupon_id, "userId",
		(json_int_t)coupon->user_id, "requestId", coupon->request_id,
		"seq", (json_int_t)coupon->seq, "status", names[status->kind],
		"reason", reason, "acceptedAt",
		time_or_null(coupon->accepted_at_ms), "issuedAt",
		time_or_null(issued_at_ms));
	if (json != NULL && status->stale)
		(void)json_object_set_new(json, "stale", json_true());
	return json;
}
