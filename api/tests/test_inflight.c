/* SPDX-License-Identifier: MIT */
#include "api/inflight.h"
#include "common/compiler.h"
#include "common/sync.h"
#include "common/tests/unit.h"

#include <inttypes.h>

static struct inflight_entry
entry_of(int64_t coupon_id, int64_t user_id, const char *request_id)
{
	struct inflight_entry entry;

	memset(&entry, 0, sizeof(entry));
	entry.key.coupon_id = coupon_id;
	entry.key.user_id = user_id;
	(void)snprintf(entry.key.request_id, sizeof(entry.key.request_id), "%s",
		request_id);
	return entry;
}

static void
a_request_is_found_until_it_is_removed(void **state)
{
	(void)state;
	struct inflight *inflight = inflight_new();
	struct inflight_entry entry = entry_of(1, 42, "a");
	const struct inflight_entry others[] = { entry_of(2, 42, "a"),
		entry_of(1, 43, "a"), entry_of(1, 42, "b") };

	inflight_add(inflight, &entry);
	assert_true(inflight_has(inflight, &entry.key));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_false(inflight_has(inflight, &others[i].key));
	inflight_reported(inflight, &entry);
	assert_true(inflight_has(inflight, &entry.key));
	inflight_remove(inflight, &entry);
	assert_false(inflight_has(inflight, &entry.key));
	inflight_free(inflight);
}

static void
two_copies_of_a_request_are_two(void **state)
{
	(void)state;
	struct inflight *inflight = inflight_new();
	struct inflight_entry one = entry_of(1, 42, "a");
	struct inflight_entry two = entry_of(1, 42, "a");

	inflight_add(inflight, &one);
	inflight_add(inflight, &two);
	assert_int_equal(inflight_unreported(inflight, 1), 2);
	inflight_remove(inflight, &one);
	assert_true(inflight_has(inflight, &two.key));
	inflight_remove(inflight, &two);
	assert_false(inflight_has(inflight, &two.key));
	inflight_free(inflight);
}

static void
an_event_counts_what_has_no_report(void **state)
{
	(void)state;
	struct inflight *inflight = inflight_new();
	struct inflight_entry entries[] = { entry_of(1, 1, "a"),
		entry_of(1, 2, "b"), entry_of(1, 3, "c"), entry_of(2, 1, "d") };

	for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
		inflight_add(inflight, &entries[i]);
	assert_int_equal(inflight_unreported(inflight, 1), 3);
	assert_int_equal(inflight_unreported(inflight, 2), 1);
	assert_int_equal(inflight_unreported(inflight, 3), 0);
	inflight_reported(inflight, &entries[0]);
	assert_int_equal(inflight_unreported(inflight, 1), 2);
	inflight_remove(inflight, &entries[0]); /* counted once only */
	assert_int_equal(inflight_unreported(inflight, 1), 2);
	for (size_t i = 1; i < ARRAY_SIZE(entries); i++)
		inflight_remove(inflight, &entries[i]);
	assert_int_equal(inflight_unreported(inflight, 1), 0);
	inflight_free(inflight);
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *
churn(void *arg)
{
	struct inflight *inflight = arg;
	struct inflight_entry entries[8];

	for (int round = 0; round < ROUNDS / 8; round++) {
		for (int i = 0; i < 8; i++) {
			entries[i] = entry_of(1, round * 8 + i, "same");
			inflight_add(inflight, &entries[i]);
		}
		for (int i = 0; i < 8; i++) {
			inflight_reported(inflight, &entries[i]);
			inflight_remove(inflight, &entries[i]);
		}
	}
	return NULL;
}

static void
threads_do_not_lose_count(void **state)
{
	(void)state;
	struct inflight *inflight = inflight_new();
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		sync_must(pthread_create(&threads[i], NULL, churn, inflight));
	for (int i = 0; i < THREADS; i++)
		sync_must(pthread_join(threads[i], NULL));
	assert_int_equal(inflight_unreported(inflight, 1), 0);
	inflight_free(inflight);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_found_until_it_is_removed),
		cmocka_unit_test(two_copies_of_a_request_are_two),
		cmocka_unit_test(an_event_counts_what_has_no_report),
		cmocka_unit_test(threads_do_not_lose_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
