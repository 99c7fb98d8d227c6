/* SPDX-License-Identifier: MIT */
/*
 * coupon - an event as data: what PostgreSQL says of it, joined with what
 * Redis says, and its JSON.  Plain values; stateless; any thread.
 */
#ifndef API_COUPON_H
#define API_COUPON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_figures;
struct json_t;

/* 100 characters of at most four bytes, and the NUL. */
enum { COUPON_NAME_CHARS_MAX = 100, COUPON_NAME_SIZE = 401 };

/* A row of the table coupon. */
struct coupon {
	int64_t id;
	char name[COUPON_NAME_SIZE];
	int64_t total;
	int64_t opens_at_ms;
	int64_t closes_at_ms;
	bool closed; /* by /close */
	int64_t version;
	int64_t fence_epoch;
	int64_t counted_to; /* the numbers up to this one all have their row */
	int64_t issued;     /* rows of user_coupon */
};

/* It ended more than a day ago: Redis need not have it, nobody tends it. */
bool coupon_is_past(const struct coupon *coupon, int64_t now_ms);

/* What is shown of an event; issued + pending + remaining == total. */
struct coupon_view {
	const char *state; /* static */
	int64_t issued, pending, remaining;
	bool stale; /* Redis did not answer: the figures are PostgreSQL's */
};

/*
 * `figures` may be NULL (Redis did not answer).  It was read after `coupon`,
 * so that every row that was counted has its number in it.  `now_ms` is used
 * where Redis's clock is not known.
 */
void coupon_view_init(struct coupon_view *view, const struct coupon *coupon,
	const struct event_figures *figures, int64_t now_ms);

/* A new reference; NULL when out of memory. */
struct json_t *coupon_to_json(
	const struct coupon *coupon, const struct coupon_view *view);

/* {"items":[...],"next":...}: steals `items`; next NULL is null. */
struct json_t *page_to_json(struct json_t *items, const char *next);

/* Valid UTF-8 is the JSON parser's business; this counts characters. */
bool coupon_name_is_valid(const char *name);

#endif
