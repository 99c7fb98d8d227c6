/* SPDX-License-Identifier: MIT */
#include "api/tests/scripts_fixture.h"

#define ISSUE_SAYS(expected, user, request)                                    \
	assert_string_equal(issue_status_name(issue(user, request).status),    \
		issue_status_name(expected))

static void
numbers_rise_from_one_until_sold_out(void **state UNUSED)
{
	load("2");

	struct issue_reply first = issue("42", "a"), second = issue("43", "a");

	assert_int_equal(first.status, ISSUE_ACCEPTED);
	assert_false(first.earlier);
	assert_int_equal(first.entry.seq, 1);
	assert_int_equal(second.entry.seq, 2);
	assert_true(first.entry.accepted_at_ms >= clock_wall_ms() - 5000);
	assert_true(second.entry.accepted_at_ms >= first.entry.accepted_at_ms);
	ISSUE_SAYS(ISSUE_SOLD_OUT, "44", "a");

	struct event_figures now = figures();

	assert_string_equal(event_figures_state(&now), "SOLD_OUT");
	assert_int_equal(event_figures_remaining(&now), 0);
	assert_int_equal(now.pending, 2);
	assert_int_equal(now.oldest_ms, first.entry.accepted_at_ms);
}

static void
the_same_request_gets_the_same_answer(void **state UNUSED)
{
	load("1");

	struct issue_reply first = issue("42", "a"), again = issue("42", "a");

	assert_int_equal(again.status, ISSUE_ACCEPTED);
	assert_true(again.earlier);
	assert_int_equal(again.entry.seq, first.entry.seq);
	assert_int_equal(
		again.entry.accepted_at_ms, first.entry.accepted_at_ms);
	assert_int_equal(figures().pending, 1);
}

static void
another_request_of_the_user_is_a_duplicate(void **state UNUSED)
{
	load("5");
	ISSUE_SAYS(ISSUE_ACCEPTED, "42", "abc");

	/* Neither a prefix nor an extension of the id is the id. */
	static const char *const others[] = { "x", "ab", "abcd" };

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct issue_reply reply = issue("42", others[i]);

		assert_int_equal(reply.status, ISSUE_DUPLICATE);
		assert_string_equal(reply.entry.request_id, "abc");
		assert_int_equal(reply.entry.seq, 1);
	}
	ISSUE_SAYS(ISSUE_ACCEPTED, "43", "abc");
	ISSUE_SAYS(ISSUE_ACCEPTED, "9223372036854775807", "abc");
	ISSUE_SAYS(ISSUE_DUPLICATE, "9223372036854775807", "b");
	ISSUE_SAYS(ISSUE_ACCEPTED, "9223372036854775806", "b");
}

static void
a_rejected_request_stays_rejected_and_a_new_one_may_try(void **state UNUSED)
{
	load("5");
	DO("HSET {c:1}:users 42:a NUMBER_TAKEN:7:1234");

	struct issue_reply reply = issue("42", "a");

	assert_int_equal(reply.status, ISSUE_REJECTED);
	assert_string_equal(reply.rejection.reason, "NUMBER_TAKEN");
	assert_int_equal(reply.rejection.seq, 7);
	assert_int_equal(reply.rejection.accepted_at_ms, 1234);
	ISSUE_SAYS(ISSUE_ACCEPTED, "42", "b");
	ISSUE_SAYS(ISSUE_REJECTED, "42", "a");
}

static void
a_missing_or_fenced_event_admits_nobody(void **state UNUSED)
{
	DO("FLUSHALL");
	ISSUE_SAYS(ISSUE_MISSING, "42", "a");
	assert_int_equal(figures().event, EVENT_MISSING);

	/* A fence alone, as a rebuild of a lost event makes it. */
	DO("HSET {c:1}:event fenced 3 epoch 3");
	ISSUE_SAYS(ISSUE_FENCED, "42", "a");
	assert_int_equal(figures().event, EVENT_FENCED);
	assert_int_equal(status_of("42", "").event, EVENT_FENCED);

	load("5");
	ISSUE_SAYS(ISSUE_ACCEPTED, "42", "a");
	DO("HSET {c:1}:event fenced 4 epoch 4");
	ISSUE_SAYS(ISSUE_FENCED, "42", "a"); /* before any other check */
	ISSUE_SAYS(ISSUE_FENCED, "43", "a");
	assert_int_equal(figures().epoch, 4);
	DO("HSET {c:1}:event fenced 0");
	ISSUE_SAYS(ISSUE_ACCEPTED, "43", "a");
}

static void
the_window_is_open_from_opens_at_until_closes_at(void **state UNUSED)
{
	load("5");
	ISSUE_SAYS(ISSUE_ACCEPTED, "42", "a");
	DO("HSET {c:1}:event opensAt 88888888888888");

	struct issue_reply reply = issue("43", "a");

	assert_int_equal(reply.status, ISSUE_NOT_OPEN);
	assert_true(reply.opens_at_ms == INT64_C(88888888888888));
	assert_true(reply.now_ms > clock_wall_ms() - 5000);
	ISSUE_SAYS(ISSUE_ACCEPTED, "42", "a"); /* who has one keeps it */
	ISSUE_SAYS(ISSUE_DUPLICATE, "42", "b");
	assert_string_equal(event_figures_state(&(struct event_figures){
				    .event = EVENT_LIVE,
				    .total = 1,
				    .next = 1,
				    .opens_at_ms = 5,
				    .closes_at_ms = 9,
				    .now_ms = 4 }),
		"SCHEDULED");
}

static void
closed_is_for_good(void **state UNUSED)
{
	load("5");
	DO("HSET {c:1}:event closesAt 2000");
	ISSUE_SAYS(ISSUE_CLOSED, "42", "a");
	DO("HSET {c:1}:event closesAt 99999999999999");
	ISSUE_SAYS(ISSUE_CLOSED, "42", "a");

	struct event_figures now = figures();

	assert_string_equal(event_figures_state(&now), "CLOSED");
}

static void
time_never_runs_backwards(void **state UNUSED)
{
	load("5");
	/* The clock of the server before this one was an hour ahead. */
	const int64_t ahead_ms = clock_wall_ms() + 3600000;

	DO("HSET {c:1}:event lastSeen %lld opensAt %lld", (long long)ahead_ms,
		(long long)ahead_ms);

	struct issue_reply reply = issue("42", "a");

	assert_int_equal(reply.status, ISSUE_ACCEPTED);
	assert_int_equal(reply.entry.accepted_at_ms, ahead_ms);
	assert_int_equal(figures().now_ms, ahead_ms);
}

static void
a_full_outbox_refuses_but_answers_who_is_in_it(void **state UNUSED)
{
	load("5");
	ISSUE_SAYS(ISSUE_ACCEPTED, "42", "a");
	assert_int_equal(issue_up_to("43", "a", "1").status, ISSUE_OUTBOX_FULL);
	assert_int_equal(issue_up_to("42", "a", "1").status, ISSUE_ACCEPTED);
	assert_int_equal(figures().next, 2);
	DO("ZREM {c:1}:pending 42:a:1");
	assert_int_equal(issue_up_to("43", "a", "1").status, ISSUE_ACCEPTED);
}

static void
given_back_numbers_go_first_the_lowest_foremost(void **state UNUSED)
{
	load("9");
	DO("HSET {c:1}:event next 9");
	DO("ZADD {c:1}:free 7 7 3 3");
	assert_int_equal(event_figures_remaining(&(struct event_figures){
				 .total = 9, .next = 9, .free = 2 }),
		3);
	assert_int_equal(issue("1", "a").entry.seq, 3);
	assert_int_equal(issue("2", "a").entry.seq, 7);
	assert_int_equal(issue("3", "a").entry.seq, 9);
	ISSUE_SAYS(ISSUE_SOLD_OUT, "4", "a");
}

/* Each as if it had come alone, after those before it. */
static void
requests_of_one_call_are_decided_in_their_order(void **state UNUSED)
{
	static const struct {
		const char *user, *request;
		enum issue_status status;
		bool earlier;
		int seq;
	} each[] = {
		{ "42", "a", ISSUE_ACCEPTED, false, 2 }, /* given back */
		{ "42", "a", ISSUE_ACCEPTED, true, 2 },
		{ "42", "b", ISSUE_DUPLICATE, false, 2 },
		{ "43", "r", ISSUE_REJECTED, false, 0 },
		{ "43", "a", ISSUE_ACCEPTED, false, 4 },
		{ "44", "a", ISSUE_ACCEPTED, false, 5 },
		{ "45", "a", ISSUE_SOLD_OUT, false, 0 },
		{ "44", "a", ISSUE_ACCEPTED, true, 5 },
		{ "41", "x", ISSUE_DUPLICATE, false, 1 },
	};
	const char *args[2 * ARRAY_SIZE(each) + 1] = { "100000" };
	struct issue_reply got[ARRAY_SIZE(each)];

	load("5");
	DO("HSET {c:1}:event next 4");
	DO("HSET {c:1}:users 41 old:1:1500 43:r NUMBER_TAKEN:7:1234");
	DO("ZADD {c:1}:free 2 2");
	for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
		args[2 * i + 1] = each[i].user;
		args[2 * i + 2] = each[i].request;
	}
	issue_each(args, ARRAY_SIZE(each), got);
	for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
		assert_string_equal(issue_status_name(got[i].status),
			issue_status_name(each[i].status));
		assert_int_equal(got[i].earlier, each[i].earlier);
		if (each[i].seq != 0)
			assert_int_equal(got[i].entry.seq, each[i].seq);
	}
	assert_string_equal(got[2].entry.request_id, "a");
	assert_int_equal(figures().next, 6);
	assert_int_equal(figures().pending, 3);
}

/* Room for two: the third new one is refused, who is in it is answered. */
static void
one_call_does_not_overfill_the_outbox(void **state UNUSED)
{
	const char *args[] = { "2", "1", "a", "2", "a", "3", "a", "1", "a" };
	struct issue_reply got[4];

	load("9");
	issue_each(args, ARRAY_SIZE(got), got);
	assert_int_equal(got[1].status, ISSUE_ACCEPTED);
	assert_int_equal(got[2].status, ISSUE_OUTBOX_FULL);
	assert_int_equal(got[3].status, ISSUE_ACCEPTED);
	assert_int_equal(figures().pending, 2);
	assert_int_equal(figures().next, 3);
}

static void
all_of_a_call_are_refused_by_a_fence(void **state UNUSED)
{
	const char *args[] = { "9", "1", "a", "2", "a" };
	struct issue_reply got[2];

	load("9");
	DO("HSET {c:1}:event fenced 4 epoch 4");
	issue_each(args, ARRAY_SIZE(got), got);
	for (size_t i = 0; i < ARRAY_SIZE(got); i++)
		assert_int_equal(got[i].status, ISSUE_FENCED);
	DO("DEL {c:1}:event");
	issue_each(args, ARRAY_SIZE(got), got);
	for (size_t i = 0; i < ARRAY_SIZE(got); i++)
		assert_int_equal(got[i].status, ISSUE_MISSING);
}

static void
a_refusal_leaves_no_trace(void **state UNUSED)
{
	static const char *const breakers[] = { "total 0", "closed 1",
		"opensAt 88888888888888", "fenced 1" };

	for (size_t i = 0; i < ARRAY_SIZE(breakers); i++) {
		char command[128];

		load("5");
		snprintf(command, sizeof(command), "HSET {c:1}:event %s",
			breakers[i]);
		DO(command);

		struct redisReply *before = REDIS("DUMP {c:1}:event");

		assert_int_not_equal(issue("42", "a").status, ISSUE_ACCEPTED);

		struct redisReply *after = REDIS("DUMP {c:1}:event");

		assert_int_equal(before->len, after->len);
		assert_memory_equal(
			before->str, after->str, (size_t)before->len);
		freeReplyObject(before);
		freeReplyObject(after);
		assert_int_equal(redis_integer(REDIS("DBSIZE")), 1);
	}
}

static void
out_of_memory_refuses_before_the_first_write(void **state UNUSED)
{
	struct event_keys keys;
	const char *argv[8] = { [4] = "42", [5] = "a", [6] = "9" };
	size_t argvlen[8] = { [4] = 2, [5] = 1, [6] = 1 };
	const struct redis_script_call call = { &scripts[SCRIPT_ISSUE], 4,
		{ 7, argv, argvlen } };
	struct redisReply *reply = NULL;
	struct error err;

	load("5");
	DO("CONFIG SET maxmemory 1");
	event_keys_init(&keys, 1);
	event_keys_to_argv(&keys, 4, argv, argvlen);
	assert_int_equal(redis_eval(conn, soon(), &call, &reply, &err),
		-ERROR_REDIS_ERROR);
	assert_string_equal(err.code, "OOM");
	assert_int_equal(figures().next, 1); /* reading still works */
	DO("CONFIG SET maxmemory 0");
	assert_int_equal(figures().pending, 0);
}

static void
status_tells_held_pending_and_rejected(void **state UNUSED)
{
	load("5");
	ISSUE_SAYS(ISSUE_ACCEPTED, "42", "a");
	DO("HSET {c:1}:users 42:z DUPLICATE:4:0");

	struct status_reply now = status_of("42", "");

	assert_int_equal(now.event, EVENT_LIVE);
	assert_true(now.held && now.pending && !now.rejected);
	assert_string_equal(now.entry.request_id, "a");
	now = status_of("42", "z");
	assert_true(!now.held && !now.pending && now.rejected);
	assert_string_equal(now.rejection.reason, "DUPLICATE");
	assert_false(status_of("42", "b").held);
	assert_false(status_of("43", "").held);
	DO("ZREM {c:1}:pending 42:a:1");
	now = status_of("42", "a");
	assert_true(now.held && !now.pending);
}

/* Commit what lies under the keys "u" and "f" (tagged) with next = 4. */
static long long
commit(const char *epoch, const char *version, const char *total)
{
	return redis_integer(CALL(REBUILD_COMMIT, "{c:1}:u", "{c:1}:f", epoch,
		"4", "777", version, total, "1000", "99999999999999", "0"));
}

static void
a_fence_admits_nobody_and_never_falls(void **state UNUSED)
{
	load("5");
	assert_int_equal(redis_integer(CALL(FENCE, "3")), 1);
	ISSUE_SAYS(ISSUE_FENCED, "42", "a");
	assert_int_equal(redis_integer(CALL(FENCE, "3")), 0);
	assert_int_equal(redis_integer(CALL(FENCE, "2")), 0);
	assert_int_equal(figures().epoch, 3);
	assert_int_equal(figures().event, EVENT_FENCED);
}

static void
a_fence_holds_what_redis_has_forgotten(void **state UNUSED)
{
	DO("FLUSHALL");
	ISSUE_SAYS(ISSUE_MISSING, "42", "a");
	assert_int_equal(redis_integer(CALL(FENCE, "1")), 1);
	ISSUE_SAYS(ISSUE_FENCED, "42", "a");
}

static void
a_rebuild_replaces_users_and_numbers(void **state UNUSED)
{
	load("5");
	ISSUE_SAYS(ISSUE_ACCEPTED, "42", "a");
	assert_int_equal(redis_integer(CALL(FENCE, "1")), 1);
	DO("HSET {c:1}:u 7 z:1:500 8 y:3:600 9:x DUPLICATE:2:0");
	DO("ZADD {c:1}:f 2 2");
	DO("EXPIRE {c:1}:u 600");
	assert_int_equal(commit("1", "1", "5"), 1);
	assert_int_equal(redis_integer(REDIS("TTL {c:1}:users")), -1);
	assert_int_equal(figures().pending, 0);
	assert_true(status_of("7", "z").held);
	assert_false(status_of("42", "a").held);
	ISSUE_SAYS(ISSUE_REJECTED, "9", "x");
	/* The number that came back first, then on from next. */
	assert_int_equal(issue("42", "b").entry.seq, 2);
	assert_int_equal(issue("43", "b").entry.seq, 4);
	assert_true(issue("43", "b").entry.accepted_at_ms > 777);
}

static void
a_rebuild_of_another_epoch_changes_nothing(void **state UNUSED)
{
	load("5");
	ISSUE_SAYS(ISSUE_ACCEPTED, "42", "a");
	DO("HSET {c:1}:u 7 z:1:500");
	assert_int_equal(commit("1", "1", "5"), 0); /* not fenced */
	assert_int_equal(redis_integer(CALL(FENCE, "2")), 1);
	assert_int_equal(commit("1", "1", "5"), 0);
	assert_true(status_of("42", "a").held);
	ISSUE_SAYS(ISSUE_FENCED, "43", "a");
	assert_int_equal(commit("2", "1", "5"), 1);
	ISSUE_SAYS(ISSUE_ACCEPTED, "43", "a");
}

static void
a_rebuild_keeps_a_newer_version_of_the_event(void **state UNUSED)
{
	load("5");
	assert_int_equal(redis_integer(CALL(EVENT_UPDATE, "9", "1000",
				 "99999999999999", "0", "2")),
		1);
	assert_int_equal(redis_integer(CALL(FENCE, "1")), 1);
	assert_int_equal(commit("1", "1", "5"), 1);
	assert_int_equal(figures().total, 9);
	assert_int_equal(redis_integer(CALL(FENCE, "2")), 1);
	assert_int_equal(commit("2", "3", "11"), 1);
	assert_int_equal(figures().total, 11);
}

static void
an_update_needs_a_newer_version_and_touches_no_number(void **state UNUSED)
{
	load("1");
	ISSUE_SAYS(ISSUE_ACCEPTED, "42", "a");
	assert_int_equal(redis_integer(CALL(EVENT_UPDATE, "9", "1000",
				 "99999999999999", "0", "1")),
		0);
	ISSUE_SAYS(ISSUE_SOLD_OUT, "43", "a");
	assert_int_equal(redis_integer(CALL(EVENT_UPDATE, "2", "1000",
				 "99999999999999", "0", "2")),
		1);
	assert_int_equal(issue("43", "a").entry.seq, 2);
	assert_int_equal(redis_integer(CALL(EVENT_UPDATE, "3", "1000",
				 "99999999999999", "1", "3")),
		1);
	assert_int_equal(redis_integer(CALL(EVENT_UPDATE, "3", "1000",
				 "99999999999999", "0", "4")),
		1);
	ISSUE_SAYS(ISSUE_CLOSED, "44", "a");
	DO("FLUSHALL");
	assert_int_equal(
		redis_integer(CALL(EVENT_UPDATE, "9", "1", "2", "0", "9")), -1);
	assert_int_equal(redis_integer(REDIS("DBSIZE")), 0);
}

static void
stale_entries_come_with_all_a_message_needs(void **state UNUSED)
{
	struct message message;
	char member[OUTBOX_MEMBER_SIZE];
	int64_t now_ms;
	size_t removed, count;

	load("9");
	ISSUE_SAYS(ISSUE_ACCEPTED, "42", "a");
	ISSUE_SAYS(ISSUE_ACCEPTED, "43", "b");
	ISSUE_SAYS(ISSUE_ACCEPTED, "44", "c");
	/* Nobody's: unknown user, other request, other number, no entry. */
	DO("ZADD {c:1}:pending 1 99:a:1 2 42:x:1 3 42:a:11 4 rubbish");
	DO("ZADD {c:1}:pending XX 5 42:a:1 6 43:b:2");

	struct redisReply *reply = CALL(OUTBOX_STALE, "3000", "100");

	assert_int_equal(
		outbox_stale_parse(reply, &now_ms, &removed, &count), 0);
	assert_int_equal(removed, 4);
	assert_int_equal(count, 2);
	assert_true(now_ms >= clock_wall_ms() - 5000);
	assert_int_equal(outbox_entry_parse(reply, 1, 1, &message), 0);
	assert_int_equal(message.user_id, 43);
	assert_int_equal(message.seq, 2);
	assert_string_equal(message.request_id, "b");
	assert_true(message.accepted_at_ms >= clock_wall_ms() - 5000);
	freeReplyObject(reply);

	outbox_member(&message, member);
	assert_int_equal(
		redis_integer(REDIS("ZREM {c:1}:pending %s", member)), 1);
	assert_int_equal(figures().pending, 2);

	DO("HSET {c:1}:event fenced 1");
	reply = CALL(OUTBOX_STALE, "0", "100");
	assert_int_equal(
		outbox_stale_parse(reply, &now_ms, &removed, &count), 0);
	assert_int_equal(count, 0);
	freeReplyObject(reply);
}

static void
only_what_users_holds_is_put_back(void **state UNUSED)
{
	load("9");

	struct issue_reply first = issue("42", "a");

	DO("DEL {c:1}:pending");
	assert_int_equal(redis_integer(CALL(OUTBOX_RESTORE, "42", "a:1", "42",
				 "a:2", "42", "b:1", "43", "a:1")),
		1);
	assert_int_equal(figures().pending, 1);
	assert_int_equal(figures().oldest_ms, first.entry.accepted_at_ms);
	assert_int_equal(redis_integer(CALL(OUTBOX_RESTORE, "42", "a:1")), 0);
	DO("DEL {c:1}:pending");
	DO("HSET {c:1}:event fenced 1");
	assert_int_equal(redis_integer(CALL(OUTBOX_RESTORE, "42", "a:1")), 0);
}

static void
a_forgotten_script_is_sent_as_text(void **state UNUSED)
{
	load("5");
	DO("SCRIPT FLUSH");
	ISSUE_SAYS(ISSUE_ACCEPTED, "42", "a");
}

static void
a_foreign_reply_is_refused(void **state UNUSED)
{
	static const char *const texts[] = { "", "ACCEPT", "ACCEPTED",
		"ACCEPTED:", "ACCEPTED:1", "ACCEPTED:x:1", "ACCEPTED:1:2:3",
		"ACCEPTED:99999999999999999999:1", "EARLIER:1:2",
		"DUPLICATE:a:1", "NOT_OPEN:1", "SOLD_OUT:1", "OK" };
	struct issue_reply ret;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const redisReply reply = { .type = REDIS_REPLY_STRING,
			.str = (char *)(uintptr_t)texts[i] };

		if (issue_reply_parse(&reply, &ret) == 0)
			fail_msg("took \"%s\"", texts[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_rise_from_one_until_sold_out),
		cmocka_unit_test(the_same_request_gets_the_same_answer),
		cmocka_unit_test(another_request_of_the_user_is_a_duplicate),
		cmocka_unit_test(
			a_rejected_request_stays_rejected_and_a_new_one_may_try),
		cmocka_unit_test(a_missing_or_fenced_event_admits_nobody),
		cmocka_unit_test(
			the_window_is_open_from_opens_at_until_closes_at),
		cmocka_unit_test(closed_is_for_good),
		cmocka_unit_test(time_never_runs_backwards),
		cmocka_unit_test(
			a_full_outbox_refuses_but_answers_who_is_in_it),
		cmocka_unit_test(
			given_back_numbers_go_first_the_lowest_foremost),
		cmocka_unit_test(
			requests_of_one_call_are_decided_in_their_order),
		cmocka_unit_test(one_call_does_not_overfill_the_outbox),
		cmocka_unit_test(all_of_a_call_are_refused_by_a_fence),
		cmocka_unit_test(a_refusal_leaves_no_trace),
		cmocka_unit_test(out_of_memory_refuses_before_the_first_write),
		cmocka_unit_test(status_tells_held_pending_and_rejected),
		cmocka_unit_test(a_fence_admits_nobody_and_never_falls),
		cmocka_unit_test(a_fence_holds_what_redis_has_forgotten),
		cmocka_unit_test(a_rebuild_replaces_users_and_numbers),
		cmocka_unit_test(a_rebuild_of_another_epoch_changes_nothing),
		cmocka_unit_test(a_rebuild_keeps_a_newer_version_of_the_event),
		cmocka_unit_test(
			an_update_needs_a_newer_version_and_touches_no_number),
		cmocka_unit_test(stale_entries_come_with_all_a_message_needs),
		cmocka_unit_test(only_what_users_holds_is_put_back),
		cmocka_unit_test(a_forgotten_script_is_sent_as_text),
		cmocka_unit_test(a_foreign_reply_is_refused),
	};

	return cmocka_run_group_tests_name(
		"scripts", tests, start_server, stop_server);
}
