/* SPDX-License-Identifier: MIT */
#include "api/rebuild_plan.h"
#include "common/tests/unit.h"

static struct message
request(int64_t user, const char *id, int64_t seq)
{
	struct message message = {
		.coupon_id = 1,
		.user_id = user,
		.seq = seq,
		.accepted_at_ms = 1000 + seq,
	};

	(void)snprintf(
		message.request_id, sizeof(message.request_id), "%s", id);
	return message;
}

#define REQUEST(...) (&(struct message[]){ request(__VA_ARGS__) }[0])

struct seen {
	int count;
	int64_t user[16];
	int64_t seq[16];
	char id[16][REQUEST_ID_MAX + 1];
};

static bool
see(void *arg, const struct message *message, const char *reason)
{
	struct seen *seen = arg;

	(void)reason;
	seen->user[seen->count] = message->user_id;
	seen->seq[seen->count] = message->seq;
	memcpy(seen->id[seen->count], message->request_id,
		sizeof(message->request_id));
	seen->count++;
	return true;
}

static int64_t
seq_of(const struct rebuild_plan *plan, int64_t user)
{
	struct seen seen = { 0 };

	rebuild_plan_each_user(plan, see, &seen);
	for (int i = 0; i < seen.count; i++)
		if (seen.user[i] == user)
			return seen.seq[i];
	return 0;
}

static void
nothing_known_starts_at_one(void **state)
{
	(void)state;
	struct rebuild_plan *plan = rebuild_plan_new(1, 100);

	assert_int_equal(rebuild_plan_next(plan), 1);
	assert_int_equal(rebuild_plan_free_number(plan, 1), 0);
	rebuild_plan_free(plan);
}

static void
a_row_wins_over_kafka_and_kafka_over_redis(void **state)
{
	(void)state;
	struct rebuild_plan *plan = rebuild_plan_new(1, 100);

	assert_true(rebuild_plan_add_row(plan, REQUEST(7, "a", 3)));
	assert_true(rebuild_plan_add_message(plan, REQUEST(7, "b", 4)));
	assert_true(rebuild_plan_add_message(plan, REQUEST(8, "c", 5)));
	assert_true(rebuild_plan_add_entry(plan, REQUEST(8, "d", 6)));
	assert_int_equal(seq_of(plan, 7), 3);
	assert_int_equal(seq_of(plan, 8), 5);
	rebuild_plan_free(plan);
}

static void
numbers_on_their_way_stay_taken_though_they_lose(void **state)
{
	(void)state;
	struct rebuild_plan *plan = rebuild_plan_new(1, 100);

	assert_true(rebuild_plan_add_row(plan, REQUEST(7, "a", 1)));
	assert_true(rebuild_plan_add_message(plan, REQUEST(7, "b", 4)));
	assert_int_equal(rebuild_plan_next(plan), 5);
	assert_int_equal(rebuild_plan_free_number(plan, 1), 2);
	assert_int_equal(rebuild_plan_free_number(plan, 3), 3);
	assert_int_equal(rebuild_plan_free_number(plan, 4), 0);
	rebuild_plan_free(plan);
}

static void
a_rejected_request_gives_its_number_back(void **state)
{
	(void)state;
	struct rebuild_plan *plan = rebuild_plan_new(1, 100);
	struct seen seen = { 0 };

	assert_true(rebuild_plan_add_rejection(
		plan, REQUEST(7, "a", 2), "DUPLICATE"));
	assert_true(rebuild_plan_add_row(plan, REQUEST(9, "z", 3)));
	/* A late copy of it in Kafka, and what Redis still has of it. */
	assert_true(rebuild_plan_add_message(plan, REQUEST(7, "a", 2)));
	assert_true(rebuild_plan_add_entry(plan, REQUEST(7, "a", 2)));
	assert_int_equal(seq_of(plan, 7), 0);
	assert_int_equal(rebuild_plan_free_number(plan, 1), 1);
	assert_int_equal(rebuild_plan_free_number(plan, 2), 2);
	rebuild_plan_each_rejection(plan, see, &seen);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.user[0], 7);
	assert_string_equal(seen.id[0], "a");
	rebuild_plan_free(plan);
}

static void
a_row_of_a_rejected_request_wins(void **state)
{
	(void)state;
	struct rebuild_plan *plan = rebuild_plan_new(1, 100);
	struct seen seen = { 0 };

	assert_true(rebuild_plan_add_rejection(
		plan, REQUEST(7, "a", 2), "NUMBER_TAKEN"));
	assert_true(rebuild_plan_add_row(plan, REQUEST(7, "a", 2)));
	assert_int_equal(seq_of(plan, 7), 2);
	rebuild_plan_each_rejection(plan, see, &seen);
	assert_int_equal(seen.count, 0);
	rebuild_plan_free(plan);
}

static void
only_what_redis_alone_knows_is_unsent(void **state)
{
	(void)state;
	struct rebuild_plan *plan = rebuild_plan_new(1, 100);
	struct seen seen = { 0 };

	assert_true(rebuild_plan_add_row(plan, REQUEST(1, "a", 1)));
	assert_true(rebuild_plan_add_message(plan, REQUEST(2, "b", 2)));
	assert_true(rebuild_plan_add_entry(plan, REQUEST(1, "a", 1)));
	assert_true(rebuild_plan_add_entry(plan, REQUEST(2, "b", 2)));
	assert_true(rebuild_plan_add_entry(plan, REQUEST(3, "c", 3)));
	rebuild_plan_each_unsent(plan, see, &seen);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.user[0], 3);
	assert_int_equal(seq_of(plan, 3), 3);
	/* It was sent, and the next look at Kafka finds it. */
	assert_true(rebuild_plan_add_message(plan, REQUEST(3, "c", 3)));
	seen.count = 0;
	rebuild_plan_each_unsent(plan, see, &seen);
	assert_int_equal(seen.count, 0);
	assert_int_equal(rebuild_plan_latest_ms(plan), 1003);
	rebuild_plan_free(plan);
}

static void
the_same_request_id_of_two_users_is_two_requests(void **state)
{
	(void)state;
	struct rebuild_plan *plan = rebuild_plan_new(1, 100);

	assert_true(rebuild_plan_add_rejection(
		plan, REQUEST(1, "same", 1), "DUPLICATE"));
	assert_true(rebuild_plan_add_message(plan, REQUEST(2, "same", 2)));
	assert_int_equal(seq_of(plan, 2), 2);
	rebuild_plan_free(plan);
}

static void
numbers_above_the_total_do_not_move_next(void **state)
{
	(void)state;
	struct rebuild_plan *plan = rebuild_plan_new(1, 10);

	assert_true(rebuild_plan_add_message(plan, REQUEST(1, "a", 11)));
	assert_true(rebuild_plan_add_message(plan, REQUEST(2, "b", 10)));
	assert_int_equal(rebuild_plan_next(plan), 11);
	rebuild_plan_free(plan);
}

static void
counts_add_up(void **state)
{
	(void)state;
	struct rebuild_plan *plan = rebuild_plan_new(1, 100000);
	struct rebuild_plan_counts counts;
	char id[16];

	for (int64_t i = 1; i <= 10000; i++) {
		(void)snprintf(id, sizeof(id), "r%d", (int)i);
		if (i % 10 != 0)
			assert_true(
				rebuild_plan_add_row(plan, REQUEST(i, id, i)));
	}
	rebuild_plan_counts(plan, &counts);
	assert_int_equal(counts.rows, 9000);
	assert_int_equal(counts.users, 9000);
	assert_int_equal(rebuild_plan_next(plan), 10000);
	assert_int_equal(counts.free_numbers, 999);
	rebuild_plan_free(plan);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_known_starts_at_one),
		cmocka_unit_test(a_row_wins_over_kafka_and_kafka_over_redis),
		cmocka_unit_test(
			numbers_on_their_way_stay_taken_though_they_lose),
		cmocka_unit_test(a_rejected_request_gives_its_number_back),
		cmocka_unit_test(a_row_of_a_rejected_request_wins),
		cmocka_unit_test(only_what_redis_alone_knows_is_unsent),
		cmocka_unit_test(
			the_same_request_id_of_two_users_is_two_requests),
		cmocka_unit_test(numbers_above_the_total_do_not_move_next),
		cmocka_unit_test(counts_add_up),
	};

	return cmocka_run_group_tests_name("rebuild_plan", tests, NULL, NULL);
}
