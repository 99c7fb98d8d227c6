/* SPDX-License-Identifier: MIT */
#include "api/audit.h"
#include "api/reconcile_memo.h"
#include "common/tests/unit.h"

enum { NOW_MS = 100000, STUCK_MS = 30000, TOTAL = 10, NEXT = 4 };

static struct message
request(int64_t user, const char *id, int64_t seq)
{
	struct message message = {
		.user_id = user,
		.seq = seq,
		.accepted_at_ms = 1000,
	};

	(void)snprintf(
		message.request_id, sizeof(message.request_id), "%s", id);
	return message;
}

#define REQUEST(...) (&(struct message[]){ request(__VA_ARGS__) }[0])

struct look {
	struct audit *audit;
	struct audit_findings findings;
};

/* Users 1 and 2 have numbers 1 and 2, number 3 is free, 4 is next. */
static void
look_init(struct look *look, bool at_rest)
{
	const struct audit_begin begin = {
		.total = TOTAL,
		.next = NEXT,
		.at_rest = at_rest,
		.as_of_ms = NOW_MS,
		.stuck_after_ms = STUCK_MS,
	};

	look->findings = (struct audit_findings){ 0 };
	look->audit = audit_new(&begin, &look->findings);
	assert_non_null(look->audit);
	for (int64_t user = 1; user <= 2; user++) {
		const struct message *own = REQUEST(user, "own", user);

		assert_true(audit_add_holder(look->audit, own));
		assert_true(audit_add_row(look->audit, own));
	}
	assert_true(audit_add_free(look->audit, 3));
}

/* Judge, and expect exactly this one finding (none: AUDIT_N_CASES). */
static void
expect(struct look *look, enum audit_case found, int64_t user, int64_t seq)
{
	assert_true(audit_judge(look->audit));
	if (found == AUDIT_N_CASES) {
		assert_int_equal(look->findings.n, 0);
	} else {
		assert_int_equal(look->findings.n, 1);
		assert_int_equal(look->findings.items[0].found, found);
		assert_int_equal(look->findings.items[0].user_id, user);
		assert_int_equal(look->findings.items[0].seq, seq);
		assert_int_equal(
			look->findings
				.counts[audit_case_info(found)->violation],
			1);
	}
	audit_free(look->audit);
	audit_findings_fini(&look->findings);
}

static void
expect_none(struct look *look)
{
	expect(look, AUDIT_N_CASES, 0, 0);
}

static void
what_adds_up_has_no_finding(void **state)
{
	(void)state;
	struct look look;

	look_init(&look, true);
	assert_false(audit_needs_kafka(look.audit));
	expect_none(&look);
	look_init(&look, false);
	expect_none(&look);
}

static void
a_holder_without_a_trace_is_lost(void **state)
{
	(void)state;
	struct look look;

	look_init(&look, false);
	assert_true(audit_add_holder(look.audit, REQUEST(7, "x", 3)));
	assert_true(audit_needs_kafka(look.audit));
	/* Number 3 is free as well: that is a violation of its own. */
	assert_true(audit_judge(look.audit));
	assert_int_equal(look.findings.counts[AUDIT_LOST_ACCEPT], 1);
	assert_int_equal(look.findings.counts[AUDIT_STATE_MISMATCH], 1);
	assert_int_equal(look.findings.n, 2);
	audit_free(look.audit);
	audit_findings_fini(&look.findings);
}

static void
a_message_on_its_way_is_no_loss_but_is_not_rest(void **state)
{
	(void)state;
	const enum audit_case expected[] = { AUDIT_N_CASES,
		AUDIT_CASE_NOT_CONSUMED };

	for (int at_rest = 0; at_rest < 2; at_rest++) {
		struct look look;

		look_init(&look, at_rest);
		/* Its row would have a number that is in nobody's way. */
		assert_true(audit_add_message(
			look.audit, REQUEST(7, "x", 8), false));
		expect(&look, expected[at_rest], at_rest ? 7 : 0, 0);
	}
}

static void
what_was_accepted_after_the_look_began_is_not_judged(void **state)
{
	(void)state;
	struct message late = request(7, "late", 4), row = late;
	struct look look;

	late.accepted_at_ms = NOW_MS;
	row.accepted_at_ms = NOW_MS;
	row.user_id = 8;
	row.seq = 5;
	look_init(&look, false);
	assert_true(audit_add_holder(look.audit, &late));
	assert_true(audit_add_row(look.audit, &row));
	assert_true(audit_add_pending(
		look.audit, REQUEST(9, "later", 6), NOW_MS + 1));
	assert_false(audit_needs_kafka(look.audit));
	expect_none(&look);
}

static void
at_rest_it_is_judged(void **state)
{
	(void)state;
	struct message late = request(8, "late", 4);
	struct look look;

	late.accepted_at_ms = NOW_MS;
	look_init(&look, true);
	assert_true(audit_add_row(look.audit, &late));
	expect(&look, AUDIT_CASE_ROW_UNKNOWN, 8, 4);
}

static void
without_kafka_nothing_is_called_missing(void **state)
{
	(void)state;
	const struct audit_begin begin = {
		.total = TOTAL, .next = NEXT, .as_of_ms = NOW_MS
	};
	struct look look = { 0 };

	look.audit = audit_new(&begin, &look.findings);
	assert_true(audit_add_holder(look.audit, REQUEST(1, "x", 1)));
	assert_true(audit_needs_kafka(look.audit)); /* 1 lost, 2 and 3 leak */
	audit_without_kafka(look.audit);
	expect_none(&look);
}

static void
pending_is_stuck_only_after_a_while(void **state)
{
	(void)state;
	for (int64_t more_ms = 0; more_ms < 2; more_ms++) {
		struct audit_begin begin = { .total = TOTAL,
			.next = 2,
			.as_of_ms = 1000 + STUCK_MS + more_ms,
			.stuck_after_ms = STUCK_MS };
		struct look look = { 0 };

		look.audit = audit_new(&begin, &look.findings);
		assert_true(audit_add_holder(look.audit, REQUEST(1, "x", 1)));
		assert_true(audit_add_pending(
			look.audit, REQUEST(1, "x", 1), 1000));
		if (more_ms == 0)
			expect_none(&look);
		else
			expect(&look, AUDIT_CASE_PENDING_TOO_LONG, 1, 1);
	}
}

static void
an_outbox_entry_of_another_number_is_an_orphan(void **state)
{
	(void)state;
	struct look look;

	look_init(&look, false);
	assert_true(audit_add_pending(look.audit, REQUEST(1, "own", 2), 1));
	expect(&look, AUDIT_CASE_PENDING_ORPHAN, 1, 2);
	look_init(&look, false);
	assert_true(audit_add_pending(look.audit, NULL, 1));
	expect(&look, AUDIT_CASE_PENDING_ORPHAN, 0, 0);
}

static void
a_number_nobody_holds_has_leaked(void **state)
{
	(void)state;
	const struct audit_begin begin = { .total = TOTAL, .next = 2 };
	struct look look = { 0 };

	look.audit = audit_new(&begin, &look.findings);
	expect(&look, AUDIT_CASE_NUMBER_LEAKED, 0, 1);
}

static void
look_at_slice(struct look *look, uint32_t n_slices, uint32_t slice)
{
	const struct audit_begin begin = { .total = 100,
		.next = 101,
		.as_of_ms = NOW_MS,
		.n_slices = n_slices,
		.slice = slice };

	look->findings = (struct audit_findings){ 0 };
	look->audit = audit_new(&begin, &look->findings);
	assert_non_null(look->audit);
	/* Users 1 .. 97 have rows, 98 is lost, 99 is rejected, 100 leaked. */
	for (int64_t user = 1; user <= 99; user++) {
		const struct message *own = REQUEST(user, "own", user);

		assert_true(audit_add_holder(look->audit, own));
		assert_true(audit_add_holder(look->audit, own));
		if (user <= 97)
			assert_true(audit_add_row(look->audit, own));
		else if (user == 99)
			assert_true(audit_add_rejection(look->audit, own));
	}
	assert_true(audit_judge(look->audit));
}

static void
slices_together_find_what_one_look_finds(void **state)
{
	(void)state;
	uint64_t lost = 0, rejected = 0;
	struct look look;

	look_at_slice(&look, 1, 0);
	assert_int_equal(look.findings.n, 3);
	audit_free(look.audit);
	audit_findings_fini(&look.findings);
	for (uint32_t slice = 0; slice < 7; slice++) {
		look_at_slice(&look, 7, slice);
		lost += look.findings.counts[AUDIT_LOST_ACCEPT];
		rejected += look.findings.counts[AUDIT_STATE_MISMATCH];
		/* Numbers are everybody's. */
		assert_int_equal(look.findings.counts[AUDIT_LEAKED_SLOT], 1);
		assert_int_equal(
			look.findings.counts[AUDIT_DUPLICATE_NUMBER], 0);
		audit_free(look.audit);
		audit_findings_fini(&look.findings);
	}
	assert_int_equal(lost, 1);
	assert_int_equal(rejected, 1);
}

static void
a_violation_is_over_after_a_round_without_it(void **state)
{
	(void)state;
	struct reconcile_memo memo = { 0 };
	struct audit_findings none = { 0 }, lost = { 0 };

	lost.counts[AUDIT_LOST_ACCEPT] = 2;
	assert_true(reconcile_memo_note(&memo, &lost, 1));
	assert_int_equal(memo.counts[AUDIT_LOST_ACCEPT], 2);
	assert_false(reconcile_memo_note(&memo, &none, 1));

	memo.turn = 0;
	assert_false(reconcile_memo_note(&memo, &none, 3));
	assert_true(reconcile_memo_note(&memo, &lost, 3)); /* at once */
	assert_true(reconcile_memo_note(&memo, &none, 3));
	assert_true(reconcile_memo_note(&memo, &none, 3));
	assert_true(reconcile_memo_note(&memo, &none, 3));
	assert_false(reconcile_memo_note(&memo, &none, 3));
}

static void
only_what_both_looks_found_stays(void **state)
{
	(void)state;
	struct audit_findings first = { 0 }, second = { 0 };
	const struct audit_finding items[] = {
		{ .found = AUDIT_CASE_LOST, .user_id = 1, .request_id = "a" },
		{ .found = AUDIT_CASE_LOST, .user_id = 1, .request_id = "b" },
		{ .found = AUDIT_CASE_LOST, .user_id = 2, .request_id = "a" },
		{ .found = AUDIT_CASE_USER_TWICE, .user_id = 2 },
	};

	for (size_t i = 0; i < 3; i++)
		assert_true(audit_findings_add(&first, &items[i]));
	for (size_t i = 4; i > 1; i--)
		assert_true(audit_findings_add(&second, &items[i - 1]));
	audit_findings_intersect(&second, &first);
	assert_int_equal(second.n, 2);
	assert_string_equal(second.items[0].request_id, "b");
	assert_int_equal(second.items[1].user_id, 2);
	assert_int_equal(second.counts[AUDIT_LOST_ACCEPT], 2);
	assert_int_equal(second.counts[AUDIT_DUPLICATE_USER], 0);
	audit_findings_fini(&first);
	audit_findings_fini(&second);
}

static void
all_are_counted_and_a_bounded_number_kept(void **state)
{
	(void)state;
	struct audit_findings findings = { 0 };
	struct audit_finding finding = { .found = AUDIT_CASE_LOST };

	for (int i = 0; i < AUDIT_FINDINGS_MAX + 5; i++)
		assert_true(audit_findings_add(&findings, &finding));
	assert_int_equal(findings.n, AUDIT_FINDINGS_MAX);
	assert_int_equal(
		findings.counts[AUDIT_LOST_ACCEPT], AUDIT_FINDINGS_MAX + 5);
	audit_findings_fini(&findings);
}

static long
resident_pages(void)
{
	FILE *statm = fopen("/proc/self/statm", "re");
	long size = 0, resident = 0;

	assert_non_null(statm);
	assert_int_equal(fscanf(statm, "%ld %ld", &size, &resident), 2);
	assert_int_equal(fclose(statm), 0);
	return resident;
}

/* Though something that stays was allocated behind it, as in a daemon. */
static void
a_big_look_gives_its_memory_back(void **state)
{
	(void)state;
	if (UNIT_SANITIZED)
		skip(); /* its allocator keeps what is freed */
	const long before = resident_pages();
	struct look look;

	look_init(&look, false);
	for (int64_t user = 100; user < 50000; user++)
		assert_true(
			audit_add_holder(look.audit, REQUEST(user, "x", user)));
	char *stays = strdup("behind");
	const long most = resident_pages() - before;

	audit_free(look.audit);
	assert_true(most > 1000);
	assert_true(resident_pages() - before < most / 4);
	audit_findings_fini(&look.findings);
	free(stays);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_adds_up_has_no_finding),
		cmocka_unit_test(a_holder_without_a_trace_is_lost),
		cmocka_unit_test(
			a_message_on_its_way_is_no_loss_but_is_not_rest),
		cmocka_unit_test(
			what_was_accepted_after_the_look_began_is_not_judged),
		cmocka_unit_test(at_rest_it_is_judged),
		cmocka_unit_test(without_kafka_nothing_is_called_missing),
		cmocka_unit_test(pending_is_stuck_only_after_a_while),
		cmocka_unit_test(
			an_outbox_entry_of_another_number_is_an_orphan),
		cmocka_unit_test(a_number_nobody_holds_has_leaked),
		cmocka_unit_test(slices_together_find_what_one_look_finds),
		cmocka_unit_test(a_violation_is_over_after_a_round_without_it),
		cmocka_unit_test(only_what_both_looks_found_stays),
		cmocka_unit_test(all_are_counted_and_a_bounded_number_kept),
		cmocka_unit_test(a_big_look_gives_its_memory_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
