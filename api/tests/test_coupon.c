/* SPDX-License-Identifier: MIT */
#include "api/coupon.h"
#include "api/scripts.h"
#include "common/tests/unit.h"

#include <jansson.h>
#include <string.h>

#define OPENS_AT INT64_C(1000000)
#define CLOSES_AT INT64_C(2000000)

static struct coupon
an_event(void)
{
	return (struct coupon){
		.id = 7,
		.name = "쿠폰",
		.total = 10,
		.opens_at_ms = OPENS_AT,
		.closes_at_ms = CLOSES_AT,
		.version = 3,
		.issued = 4,
	};
}

/* Six numbers given, of which four are rows. */
static struct event_figures
its_figures(void)
{
	return (struct event_figures){
		.event = EVENT_LIVE,
		.total = 10,
		.next = 7,
		.opens_at_ms = OPENS_AT,
		.closes_at_ms = CLOSES_AT,
		.version = 3,
		.oldest_ms = -1,
		.now_ms = OPENS_AT,
	};
}

static void
check(const struct coupon *coupon, const struct event_figures *figures,
	const struct coupon_view *expected)
{
	struct coupon_view view;

	coupon_view_init(&view, coupon, figures, OPENS_AT);
	assert_string_equal(view.state, expected->state);
	assert_int_equal(view.issued, expected->issued);
	assert_int_equal(view.pending, expected->pending);
	assert_int_equal(view.remaining, expected->remaining);
	assert_int_equal(view.stale, expected->stale);
	assert_int_equal(
		view.issued + view.pending + view.remaining, coupon->total);
}

static void
figures_add_up_to_the_total(void **state)
{
	(void)state;
	const struct coupon coupon = an_event();
	const struct event_figures figures = its_figures();

	check(&coupon, &figures,
		&(struct coupon_view){ "OPEN", 4, 2, 4, false });
}

static void
numbers_given_back_are_remaining(void **state)
{
	(void)state;
	const struct coupon coupon = an_event();
	struct event_figures figures = its_figures();

	figures.free = 2;
	check(&coupon, &figures,
		&(struct coupon_view){ "OPEN", 4, 0, 6, false });
}

static void
nothing_left_is_sold_out(void **state)
{
	(void)state;
	const struct coupon coupon = an_event();
	struct event_figures figures = its_figures();

	figures.next = 11;
	check(&coupon, &figures,
		&(struct coupon_view){ "SOLD_OUT", 4, 6, 0, false });
}

static void
a_raised_total_shows_before_redis_has_it(void **state)
{
	(void)state;
	struct coupon coupon = an_event();
	const struct event_figures figures = its_figures();

	coupon.total = 100;
	check(&coupon, &figures,
		&(struct coupon_view){ "OPEN", 4, 2, 94, false });
}

static void
closed_in_postgresql_is_closed_before_redis_has_it(void **state)
{
	(void)state;
	struct coupon coupon = an_event();
	const struct event_figures figures = its_figures();

	coupon.closed = true;
	check(&coupon, &figures,
		&(struct coupon_view){ "CLOSED", 4, 2, 4, false });
}

static void
redis_behind_the_rows_never_makes_a_figure_negative(void **state)
{
	(void)state;
	const struct coupon coupon = an_event();
	struct event_figures figures = its_figures();

	figures.next = 2; /* it forgot */
	check(&coupon, &figures,
		&(struct coupon_view){ "OPEN", 4, 0, 6, false });
}

static void
without_redis_the_row_is_shown_as_stale(void **state)
{
	(void)state;
	struct coupon coupon = an_event();

	check(&coupon, NULL, &(struct coupon_view){ "OPEN", 4, 0, 6, true });
	coupon.opens_at_ms = OPENS_AT + 1;
	check(&coupon, NULL,
		&(struct coupon_view){ "SCHEDULED", 4, 0, 6, true });
	coupon.closes_at_ms = OPENS_AT;
	check(&coupon, NULL, &(struct coupon_view){ "CLOSED", 4, 0, 6, true });
}

static void
fenced_or_lost_with_rows_is_fenced(void **state)
{
	(void)state;
	const struct coupon coupon = an_event();
	struct event_figures figures = { .event = EVENT_FENCED };

	check(&coupon, &figures,
		&(struct coupon_view){ "FENCED", 4, 0, 6, false });
	figures.event = EVENT_MISSING;
	check(&coupon, &figures,
		&(struct coupon_view){ "FENCED", 4, 0, 6, false });
}

static void
not_loaded_yet_and_without_rows_is_simply_open(void **state)
{
	(void)state;
	struct coupon coupon = an_event();
	const struct event_figures figures = { .event = EVENT_MISSING };

	coupon.issued = 0;
	check(&coupon, &figures,
		&(struct coupon_view){ "OPEN", 0, 0, 10, false });
}

static void
json_is_the_documented_one(void **state)
{
	(void)state;
	const struct coupon coupon = an_event();
	const struct event_figures figures = its_figures();
	struct coupon_view view;

	coupon_view_init(&view, &coupon, &figures, OPENS_AT);
	json_t *json = coupon_to_json(&coupon, &view);
	char *text = json_dumps(json, JSON_COMPACT);
	assert_string_equal(text,
		"{\"id\":7,\"name\":\"쿠폰\",\"total\":10,\"issued\":4,"
		"\"pending\":2,\"remaining\":4,\"state\":\"OPEN\","
		"\"opensAt\":\"1970-01-01T00:16:40.000Z\","
		"\"closesAt\":\"1970-01-01T00:33:20.000Z\"}");
	free(text);
	json_decref(json);
}

static void
a_page_ends_with_null(void **state)
{
	(void)state;
	json_t *page = page_to_json(json_array(), NULL);
	char *text = json_dumps(page, JSON_COMPACT);

	assert_string_equal(text, "{\"items\":[],\"next\":null}");
	free(text);
	json_decref(page);
	page = page_to_json(json_array(), "abc");
	assert_string_equal(
		json_string_value(json_object_get(page, "next")), "abc");
	json_decref(page);
}

static void
a_name_has_1_to_100_characters_not_bytes(void **state)
{
	(void)state;
	char name[COUPON_NAME_SIZE] = "";

	assert_false(coupon_name_is_valid(name));
	for (int i = 0; i < 100; i++)
		memcpy(name + 3 * (size_t)i, "쿠", 4);
	assert_true(coupon_name_is_valid(name));
	memcpy(name + 300, "x", 2);
	assert_false(coupon_name_is_valid(name));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures_add_up_to_the_total),
		cmocka_unit_test(numbers_given_back_are_remaining),
		cmocka_unit_test(nothing_left_is_sold_out),
		cmocka_unit_test(a_raised_total_shows_before_redis_has_it),
		cmocka_unit_test(
			closed_in_postgresql_is_closed_before_redis_has_it),
		cmocka_unit_test(
			redis_behind_the_rows_never_makes_a_figure_negative),
		cmocka_unit_test(without_redis_the_row_is_shown_as_stale),
		cmocka_unit_test(fenced_or_lost_with_rows_is_fenced),
		cmocka_unit_test(
			not_loaded_yet_and_without_rows_is_simply_open),
		cmocka_unit_test(json_is_the_documented_one),
		cmocka_unit_test(a_page_ends_with_null),
		cmocka_unit_test(a_name_has_1_to_100_characters_not_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
