/* SPDX-License-Identifier: MIT */
/*
 * event_store - events, coupons and requests as PostgreSQL has them.
 *
 * Every function blocks, until the call's deadline: for worker threads.
 * Writes go to the primary, reads to the replica where one is configured;
 * what a replica does not have yet is looked up on the primary.
 */
#ifndef API_EVENT_STORE_H
#define API_EVENT_STORE_H

#include "api/coupon.h"
#include "common/compiler.h"
#include "common/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct pg_pools;

struct store_call {
	struct pg_pools *pg;
	int64_t deadline_ns;
};

/* How a change of an event ended, when PostgreSQL answered. */
enum event_change {
	EVENT_CHANGED,
	EVENT_UNCHANGED, /* it is so already: a retry */
	EVENT_NOT_FOUND,
	EVENT_CLOSED,        /* closed, by request or by time */
	EVENT_TOTAL_LOWERED, /* a total never goes below the present one */
};

struct event_creation {
	char name[COUPON_NAME_SIZE];
	int64_t total;
	int64_t opens_at_ms;
	int64_t closes_at_ms;
	/* The same key again finds the event of its first use. */
	char key[80];
};

/* EVENT_CHANGED (made) or EVENT_UNCHANGED (found by its key). */
int event_store_create(const struct store_call *call,
	const struct event_creation *creation, enum event_change *ret_change,
	struct coupon *ret, struct error *err) NODISCARD;

enum event_action {
	EVENT_ACTION_OPEN,
	EVENT_ACTION_CLOSE,
	EVENT_ACTION_TOTAL,
};

struct event_request {
	enum event_action action;
	int64_t coupon_id;
	int64_t total; /* EVENT_ACTION_TOTAL */
};

/* *ret is the event afterwards, except after EVENT_NOT_FOUND. */
int event_store_change(const struct store_call *call,
	const struct event_request *request, enum event_change *ret_change,
	struct coupon *ret, struct error *err) NODISCARD;

/* -ERROR_NOT_FOUND when the primary does not know it either. */
int event_store_get(const struct store_call *call, int64_t coupon_id,
	struct coupon *ret, struct error *err) NODISCARD;

/* On the primary, for who compares. */
int event_store_get_latest(const struct store_call *call, int64_t coupon_id,
	struct coupon *ret, struct error *err) NODISCARD;

/* A page of 100, and one more that says that there is a next one. */
enum { PAGE_MAX = 101 };

struct coupon_page {
	size_t limit; /* set by the caller, <= PAGE_MAX */
	size_t count;
	struct coupon items[PAGE_MAX];
};

/* Events with id > after, by id. */
int event_store_list(const struct store_call *call, int64_t after,
	struct coupon_page *page, struct error *err) NODISCARD;

/* Raise counted_to from what `coupon` has, so that less is left to count. */
int event_store_count(const struct store_call *call,
	const struct coupon *coupon, struct error *err) NODISCARD;

/* What an operator watches; the times are of its newest rows. */
enum { BOARD_MAX = 10 };

struct board_item {
	struct coupon coupon;
	int64_t timed; /* rows that the times are of; 0: there are none */
	int64_t p50_ms, p99_ms; /* from accepted to issued */
};

/* At most BOARD_MAX of them, those that go on first, then by age. */
int event_store_board(const struct store_call *call,
	struct board_item items[BOARD_MAX], size_t *ret_count,
	struct error *err) NODISCARD;

/* A coupon of a user, or the rejection of his request. */
struct user_coupon {
	int64_t coupon_id;
	int64_t user_id;
	int64_t seq;
	char request_id[REQUEST_ID_MAX + 1];
	char reason[32];        /* "" when issued */
	int64_t accepted_at_ms; /* 0: not known */
	int64_t decided_at_ms;  /* issued or rejected at */
};

struct user_coupon_page {
	size_t limit; /* set by the caller, <= PAGE_MAX */
	size_t count;
	struct user_coupon items[PAGE_MAX];
};

/* The user's coupons with coupon_id > after, by coupon_id. */
int event_store_user_coupons(const struct store_call *call, int64_t user_id,
	int64_t after, struct user_coupon_page *page,
	struct error *err) NODISCARD;

/*
 * `key` has coupon_id, user_id and request_id ("" for any): the user's row,
 * else his (latest) rejection.  A row wins.  -ERROR_NOT_FOUND: neither.
 */
int event_store_status(const struct store_call *call,
	const struct user_coupon *key, struct user_coupon *ret,
	struct error *err) NODISCARD;

#endif
