/* SPDX-License-Identifier: MIT */
#include "api/coupon.h"

#include "api/scripts.h"
#include "common/clock.h"

#include <jansson.h>
#include <sys/param.h>

bool
coupon_is_past(const struct coupon *coupon, int64_t now_ms)
{
	static const int64_t day_ms = INT64_C(24) * 3600 * 1000;

	return coupon->closes_at_ms < now_ms - day_ms;
}

/* What the clock and the row alone say. */
static const char *
state_by_row(const struct coupon *coupon, int64_t now_ms)
{
	if (coupon->closed || now_ms >= coupon->closes_at_ms)
		return "CLOSED";
	if (now_ms < coupon->opens_at_ms)
		return "SCHEDULED";
	return coupon->issued < coupon->total ? "OPEN" : "SOLD_OUT";
}

static void
view_without_redis(
	struct coupon_view *view, const struct coupon *coupon, int64_t now_ms)
{
	view->issued = MIN(coupon->issued, coupon->total);
	view->pending = 0;
	view->remaining = coupon->total - view->issued;
	view->state = state_by_row(coupon, now_ms);
}

/*
 * An event that Redis does not have is loaded by the first request for it,
 * unless it has rows: then it must be rebuilt first, and until then it is
 * fenced for everybody who asks.
 */
void
coupon_view_init(struct coupon_view *view, const struct coupon *coupon,
	const struct event_figures *figures, int64_t now_ms)
{
	view->stale = figures == NULL;
	if (figures == NULL || figures->event != EVENT_LIVE) {
		view_without_redis(view, coupon, now_ms);
		if (figures != NULL &&
			(figures->event == EVENT_FENCED || coupon->issued > 0))
			view->state = "FENCED";
		return;
	}
	/* Redis may lag behind a total that was just raised. */
	int64_t remaining = event_figures_remaining(figures) +
			    MAX(coupon->total - figures->total, 0);

	view->issued = MIN(coupon->issued, coupon->total);
	view->remaining = MIN(remaining, coupon->total - view->issued);
	view->pending = coupon->total - view->issued - view->remaining;
	view->state = event_figures_state(figures);
	if (coupon->closed)
		view->state = "CLOSED";
}

json_t *
coupon_to_json(const struct coupon *coupon, const struct coupon_view *view)
{
	char opens_at[CLOCK_RFC3339_SIZE];
	char closes_at[CLOCK_RFC3339_SIZE];

	clock_format_rfc3339(coupon->opens_at_ms, opens_at);
	clock_format_rfc3339(coupon->closes_at_ms, closes_at);
	json_t *json = json_pack("{sI ss sI sI sI sI ss ss ss}", "id",
		(json_int_t)coupon->id, "name", coupon->name, "total",
		(json_int_t)coupon->total, "issued", (json_int_t)view->issued,
		"pending", (json_int_t)view->pending, "remaining",
		(json_int_t)view->remaining, "state", view->state, "opensAt",
		opens_at, "closesAt", closes_at);
	if (json != NULL && view->stale)
		(void)json_object_set_new(json, "stale", json_true());
	return json;
}

json_t *
page_to_json(json_t *items, const char *next)
{
	return json_pack("{so ss?}", "items", items, "next", next);
}

bool
coupon_name_is_valid(const char *name)
{
	size_t chars = 0;

	for (const char *p = name; *p != '\0'; p++)
		if (((unsigned char)*p & 0xC0) != 0x80) /* not a continuation */
			chars++;
	return chars >= 1 && chars <= COUPON_NAME_CHARS_MAX;
}
