/* SPDX-License-Identifier: MIT */
/* Every branch of writing a batch, against a real PostgreSQL. */
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/pg.h"
#include "common/schema.h"
#include "common/tests/pg_fixture.h"
#include "common/tests/unit.h"
#include "consumer/batch.h"
#include "consumer/lease.h"
#include "consumer/position.h"
#include "consumer/writer.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#define ROWS "SELECT count(*) FROM user_coupon"
#define REJECTIONS "SELECT count(*) FROM issue_rejection"
#define OFFSET "SELECT next_offset FROM consumer_offset"

static struct {
	struct metrics *metrics;
	struct pg_pools *pools;
	struct pool_entry *entry;
	struct lease lease;
	PGconn *other; /* somebody else's session */
	struct writer_env env;
	struct writer *writer;
	struct batch batch;
	struct position pos;
	struct written written;
	struct error err;
	int letters;    /* sent */
	int letters_rc; /* what sending returns */
	bool redis_knows;
} t;

static int
send_letters(void *ctx, struct batch *batch, const struct pg_wait *wait,
	struct error *err)
{
	(void)ctx;
	(void)wait;
	if (t.letters_rc != 0)
		return error_set(err, ERROR_KAFKA_ERROR, "no broker");
	for (size_t i = 0; i < batch->n; i++) {
		if (batch->items[i].letter != LETTER_DUE)
			continue;
		batch->items[i].letter = LETTER_SENT;
		t.letters++;
	}
	return 0;
}

static bool
event_may_exist(void *ctx, int64_t coupon_id)
{
	(void)ctx;
	(void)coupon_id;
	return t.redis_knows;
}

static void
sql(const char *text)
{
	PGresult *result = PQexec(t.other, text);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		fail_msg("%s: %s", text, PQerrorMessage(t.other));
	PQclear(result);
}

static long
number(const char *text)
{
	PGresult *result = PQexec(t.other, text);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", text, PQerrorMessage(t.other));
	long n = strtol(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return n;
}

static void
must_be_0(int rc)
{
	if (rc != 0)
		fail_msg("%s (%s)", t.err.msg, t.err.code);
}

static void
lend(void)
{
	must_be_0(pool_acquire(pg_write_pool(t.pools), "test",
		clock_now_ns() + 10 * NS_PER_S, &t.entry, &t.err));
	t.lease = (struct lease){
		.conn = t.entry->resource,
		.wait = { clock_now_ns() + 20 * NS_PER_S, -1 },
	};
}

static void
give_back(int rc)
{
	pool_release(
		pg_write_pool(t.pools), &t.entry, pg_verdict(t.lease.conn, rc));
}

static int
setup(void **state)
{
	struct settings settings;
	int applied;

	(void)state;
	if (!pg_fixture_is_there())
		return 0;
	const char *uri = pg_fixture_new_database();
	memset(&t, 0, sizeof(t));
	t.metrics = metrics_new();
	t.other = PQconnectdb(uri);
	pg_fixture_settings(&settings, uri);
	must_be_0(pg_pools_new(
		&settings, "test_writer", t.metrics, &t.pools, &t.err));
	lend();
	must_be_0(
		schema_migrate(t.lease.conn, &t.lease.wait, &applied, &t.err));
	t.env = (struct writer_env){ .send_letters = send_letters,
		.event_may_exist = event_may_exist };
	t.writer = writer_new(&t.env);
	t.pos = (struct position){ .group = "g", .topic = "t" };
	must_be_0(position_take(&t.lease, &t.pos, 0, &t.err));
	sql("INSERT INTO coupon (id, name, total, opens_at, closes_at)"
	    " VALUES (1, 'one', 100, now(), now() + '1 day')");
	return 0;
}

/* The items of these tests are static and come from no broker. */
static void
empty(void)
{
	for (size_t i = 0; i < t.batch.n; i++)
		free(t.batch.items[i].detail);
	t.batch.n = 0;
	batch_reset(&t.batch, t.pos.next_offset);
}

static int
teardown(void **state)
{
	(void)state;
	empty();
	writer_free(t.writer);
	give_back(0);
	assert_true(pg_pools_drain(t.pools, clock_now_ns() + NS_PER_S));
	pg_pools_free(t.pools);
	metrics_free(t.metrics);
	PQfinish(t.other);
	return 0;
}

static struct batch_item *
push(int64_t coupon, int64_t user, int64_t seq, const char *request)
{
	static struct batch_item items[64];
	struct batch_item *item = &items[t.batch.n];

	if (t.batch.n == 0) {
		t.batch.start = t.batch.end = t.pos.next_offset;
		t.batch.begun_ns = clock_now_ns();
	}
	*item = (struct batch_item){ .message = { .coupon_id = coupon,
					     .user_id = user,
					     .seq = seq,
					     .accepted_at_ms = 1 } };
	(void)snprintf(item->message.request_id,
		sizeof(item->message.request_id), "%s", request);
	t.batch.items = items;
	t.batch.n++;
	t.batch.end++;
	return item;
}

static int
write_batch(void)
{
	const struct write write = { &t.lease, &t.pos, &t.batch };

	return writer_write(t.writer, &write, &t.written, &t.err);
}

/* Write, expect it done, and go on behind it. */
static void
write_done(void)
{
	must_be_0(write_batch());
	assert_int_equal(t.written.result, WRITE_DONE);
	assert_int_equal(number(OFFSET), t.batch.end);
	t.pos.next_offset = t.batch.end;
}

static void
assert_reason(const char *request, const char *reason)
{
	char text[160];

	(void)snprintf(text, sizeof(text),
		"SELECT count(*) FROM issue_rejection"
		" WHERE request_id = '%s' AND reason = '%s'",
		request, reason);
	assert_int_equal(number(text), 1);
}

static void
new_requests_become_rows_in_one_round_trip(void **state)
{
	(void)state;
	pg_fixture_need();
	push(1, 20, 2, "b");
	push(1, 10, 1, "a");
	write_done();
	assert_true(t.written.at_once);
	assert_int_equal(t.written.rows, 2);
	assert_int_equal(number(ROWS), 2);
	assert_int_equal(number("SELECT user_id FROM user_coupon"
				" WHERE request_id = 'b' AND seq = 2"),
		20);
}

static void
a_commit_whose_answer_was_lost_is_found_by_its_offset(void **state)
{
	(void)state;
	pg_fixture_need();
	push(1, 10, 1, "a");
	must_be_0(write_batch());
	must_be_0(write_batch()); /* t.pos still says 0 */
	assert_int_equal(t.written.result, WRITE_MOVED);
	assert_int_equal(t.written.next_offset, 1);
	assert_int_equal(number(ROWS), 1);
	assert_int_equal(number(REJECTIONS), 0);
}

static void
rows_of_this_batch_are_told_from_earlier_ones(void **state)
{
	(void)state;
	pg_fixture_need();
	push(1, 10, 1, "a");
	write_done();
	empty();
	sql("UPDATE user_coupon SET issued_at = issued_at - interval '1 s'");
	/* All three settled; one was rejected, one is old, one is new. */
	const struct batch_item *old = push(1, 10, 1, "a");
	const struct batch_item *refused = push(1, 10, 2, "x");
	const struct batch_item *new = push(1, 11, 3, "b");
	write_done();
	assert_false(t.written.at_once);
	assert_false(old->inserted);
	assert_false(refused->inserted);
	assert_true(new->inserted);
}

static void
copies_of_an_issued_request_change_nothing(void **state)
{
	(void)state;
	pg_fixture_need();
	push(1, 10, 1, "a");
	push(1, 10, 1, "a");
	write_done();
	assert_false(t.written.at_once);
	empty();
	push(1, 10, 1, "a");
	push(1, 11, 2, "b");
	write_done();
	assert_int_equal(t.written.rows, 1);
	assert_int_equal(number(ROWS), 2);
	assert_int_equal(number(REJECTIONS), 0);
}

static void
a_users_second_request_is_a_duplicate(void **state)
{
	(void)state;
	pg_fixture_need();
	push(1, 10, 1, "first");
	push(1, 10, 2, "second");
	write_done();
	assert_int_equal(number(ROWS), 1);
	assert_reason("second", "DUPLICATE");
}

static void
the_first_of_two_requests_in_a_batch_gets_the_row(void **state)
{
	(void)state;
	pg_fixture_need();
	push(1, 10, 90, "first");
	push(1, 10, 2, "second");
	write_done();
	assert_int_equal(number("SELECT seq FROM user_coupon"), 90);
}

static void
a_number_is_given_once(void **state)
{
	(void)state;
	pg_fixture_need();
	push(1, 10, 1, "a");
	push(1, 11, 1, "b");
	write_done();
	assert_int_equal(number(ROWS), 1);
	assert_reason("b", "NUMBER_TAKEN");
}

static void
no_number_beyond_the_total_is_issued(void **state)
{
	(void)state;
	pg_fixture_need();
	push(1, 10, 100, "last");
	push(1, 11, 101, "beyond");
	write_done();
	assert_int_equal(number(ROWS), 1);
	assert_reason("beyond", "NUMBER_TOO_HIGH");
}

static void
a_rejected_request_stays_so_after_stock_was_added(void **state)
{
	(void)state;
	pg_fixture_need();
	push(1, 11, 101, "beyond");
	write_done();
	sql("UPDATE coupon SET total = 200");
	empty();
	push(1, 11, 101, "beyond");
	write_done();
	assert_int_equal(number(ROWS), 0);
	assert_int_equal(number(REJECTIONS), 1);
}

/* The other session's transaction ends while the writer waits for it. */
static void *
end_soon(void *arg)
{
	const char *text = arg;

	(void)poll(NULL, 0, 200);
	sql(text);
	return NULL;
}

static void
write_while_other_ends_with(const char *text)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, end_soon,
				 (void *)(uintptr_t)text),
		0);
	int rc = write_batch();
	(void)pthread_join(thread, NULL);
	must_be_0(rc);
	assert_int_equal(t.written.result, WRITE_DONE);
}

static void
a_total_raised_meanwhile_lets_the_number_in(void **state)
{
	(void)state;
	pg_fixture_need();
	sql("BEGIN");
	sql("SELECT total FROM coupon WHERE id = 1 FOR UPDATE");
	sql("UPDATE coupon SET total = 200 WHERE id = 1");
	push(1, 11, 101, "fits");
	write_while_other_ends_with("COMMIT");
	assert_int_equal(number(ROWS), 1);
	assert_int_equal(number(REJECTIONS), 0);
	assert_int_equal(number(OFFSET), 1);
}

static void
a_request_of_an_event_nobody_knows_is_rejected(void **state)
{
	(void)state;
	pg_fixture_need();
	push(7, 10, 1, "a");
	write_done();
	assert_reason("a", "EVENT_UNKNOWN");
	assert_int_equal(t.letters, 0);
}

static void
an_event_that_redis_knows_is_set_aside_without_an_end(void **state)
{
	(void)state;
	pg_fixture_need();
	t.redis_knows = true;
	push(7, 10, 1, "a");
	push(1, 11, 1, "b");
	write_done();
	assert_int_equal(number(REJECTIONS), 0);
	assert_int_equal(number(ROWS), 1);
	assert_int_equal(t.letters, 1);
	assert_string_equal(t.batch.items[0].reason, "EVENT_UNKNOWN");
}

static void
an_event_created_meanwhile_gets_its_row(void **state)
{
	(void)state;
	pg_fixture_need();
	sql("BEGIN");
	sql("SELECT pg_advisory_xact_lock(7)");
	sql("INSERT INTO coupon (id, name, total, opens_at, closes_at)"
	    " VALUES (7, 'seven', 100, now(), now() + '1 day')");
	push(7, 10, 1, "a");
	write_while_other_ends_with("COMMIT");
	assert_int_equal(number(ROWS), 1);
	assert_int_equal(number(REJECTIONS), 0);
}

static void
the_former_owner_moves_no_offset(void **state)
{
	(void)state;
	pg_fixture_need();
	struct position successor = t.pos;

	must_be_0(position_take(&t.lease, &successor, 0, &t.err));
	assert_int_equal(successor.epoch, t.pos.epoch + 1);
	push(1, 10, 1, "a");
	must_be_0(write_batch());
	assert_int_equal(t.written.result, WRITE_LOST);
	assert_int_equal(number(OFFSET), 0);
}

static void
the_former_owner_rejects_nothing(void **state)
{
	(void)state;
	pg_fixture_need();
	struct position successor = t.pos;

	must_be_0(position_take(&t.lease, &successor, 0, &t.err));
	push(1, 11, 101, "b");
	must_be_0(write_batch());
	assert_int_equal(t.written.result, WRITE_LOST);
	assert_int_equal(number(REJECTIONS), 0);
}

static void
a_position_that_was_set_back_is_followed(void **state)
{
	(void)state;
	pg_fixture_need();
	push(1, 10, 1, "a");
	write_done();
	empty();
	sql("UPDATE consumer_offset SET next_offset = 0");
	push(1, 11, 2, "b");
	must_be_0(write_batch());
	assert_int_equal(t.written.result, WRITE_MOVED);
	assert_int_equal(t.written.next_offset, 0);
}

static void
a_position_that_is_gone_is_lost(void **state)
{
	(void)state;
	pg_fixture_need();
	sql("DELETE FROM consumer_offset");
	push(1, 10, 1, "a");
	must_be_0(write_batch());
	assert_int_equal(t.written.result, WRITE_LOST);
}

/* PostgreSQL will not have user 13. */
static void
refuse_13(const char *sqlstate)
{
	char text[300];

	(void)snprintf(text, sizeof(text),
		"CREATE FUNCTION no_13() RETURNS trigger LANGUAGE plpgsql AS"
		" $$ BEGIN IF NEW.user_id = 13 THEN RAISE EXCEPTION 'no 13'"
		" USING ERRCODE = '%s'; END IF; RETURN NEW; END $$",
		sqlstate);
	sql(text);
	sql("CREATE TRIGGER no_13 BEFORE INSERT ON user_coupon FOR EACH ROW"
	    " EXECUTE FUNCTION no_13()");
}

static void
a_row_refused_for_its_data_is_found_among_the_others(void **state)
{
	(void)state;
	pg_fixture_need();
	char request[16];

	refuse_13("22001");
	for (int user = 1; user <= 40; user++) {
		(void)snprintf(request, sizeof(request), "r%d", user);
		push(1, user, user, request);
	}
	write_done();
	assert_int_equal(number(ROWS), 39);
	assert_reason("r13", "INVALID");
	assert_int_equal(t.letters, 1);
	assert_non_null(strstr(t.batch.items[12].detail, "no 13"));
}

static void
any_other_error_ends_the_attempt_and_leaves_everything(void **state)
{
	(void)state;
	pg_fixture_need();
	refuse_13("53100"); /* disk full */
	push(1, 13, 1, "a");
	assert_int_equal(write_batch(), -ERROR_DATABASE_ERROR);
	assert_string_equal(t.err.code, "53100");
	assert_int_equal(number(OFFSET), 0);
	assert_int_equal(number(REJECTIONS), 0);
	sql("DROP TRIGGER no_13 ON user_coupon");
	write_done();
	assert_int_equal(number(ROWS), 1);
}

/* The first row of the table is the victim of a deadlock. */
static void
deadlock_once(const char *table)
{
	char text[160];

	sql("CREATE SEQUENCE attempts");
	sql("CREATE FUNCTION once() RETURNS trigger LANGUAGE plpgsql AS $$"
	    " BEGIN IF nextval('attempts') = 1 THEN RAISE EXCEPTION 'x'"
	    " USING ERRCODE = '40P01'; END IF; RETURN NEW; END $$");
	(void)snprintf(text, sizeof(text),
		"CREATE TRIGGER once BEFORE INSERT ON %s FOR EACH ROW"
		" EXECUTE FUNCTION once()",
		table);
	sql(text);
}

static void
a_deadlock_is_tried_again(void **state)
{
	(void)state;
	pg_fixture_need();
	deadlock_once("user_coupon");
	push(1, 10, 1, "a");
	write_done();
	assert_int_equal(number("SELECT last_value FROM attempts"), 2);
}

static void
a_deadlock_while_settling_is_tried_again(void **state)
{
	(void)state;
	pg_fixture_need();
	deadlock_once("issue_rejection");
	push(1, 10, 101, "a");
	write_done();
	assert_reason("a", "NUMBER_TOO_HIGH");
}

static void
nothing_is_final_before_its_letter_is_acknowledged(void **state)
{
	(void)state;
	pg_fixture_need();
	refuse_13("23514");
	t.letters_rc = -1;
	push(1, 13, 1, "a");
	assert_int_equal(write_batch(), -ERROR_KAFKA_ERROR);
	assert_int_equal(number(OFFSET), 0);
	assert_int_equal(number(REJECTIONS), 0);
	t.letters_rc = 0;
	write_done();
	assert_reason("a", "INVALID");
	assert_int_equal(t.letters, 1);
}

static void
a_letter_is_sent_once_however_often_the_batch_is_written(void **state)
{
	(void)state;
	pg_fixture_need();
	refuse_13("23514");
	push(1, 13, 1, "a");
	push(1, 14, 2, "b");
	must_be_0(write_batch());
	must_be_0(write_batch());
	assert_int_equal(t.letters, 1);
}

static void
an_unreadable_message_takes_the_offset_along(void **state)
{
	(void)state;
	pg_fixture_need();
	struct batch_item *item = push(0, 0, 0, "");

	item->initial = VERDICT_SET_ASIDE;
	batch_item_letter(item, "UNREADABLE", "no JSON");
	write_done();
	assert_int_equal(number(ROWS), 0);
	assert_int_equal(number(REJECTIONS), 0);
	assert_int_equal(t.letters, 1);
}

static void
push_invalid(int64_t user, const char *request)
{
	struct batch_item *item = push(1, user, 0, request);

	item->message.accepted_at_ms = 0;
	item->initial = VERDICT_INVALID;
	batch_item_letter(item, "INVALID", "seq");
}

static void
an_invalid_message_is_rejected_unless_its_request_has_a_row(void **state)
{
	(void)state;
	pg_fixture_need();
	push(1, 10, 1, "issued");
	write_done();
	empty();
	push_invalid(10, "issued");
	push_invalid(11, "never");
	write_done();
	assert_int_equal(number(REJECTIONS), 1);
	assert_reason("never", "INVALID");
	assert_int_equal(number("SELECT count(accepted_at)"
				" FROM issue_rejection"),
		0);
}

static void
a_row_in_the_way_that_rolls_back_lets_ours_in(void **state)
{
	(void)state;
	pg_fixture_need();
	sql("BEGIN");
	sql("INSERT INTO user_coupon"
	    " (coupon_id, user_id, seq, request_id, accepted_at)"
	    " VALUES (1, 99, 1, 'x', now())");
	push(1, 10, 1, "a");
	write_while_other_ends_with("ROLLBACK");
	assert_int_equal(number(ROWS), 1);
	assert_int_equal(number(REJECTIONS), 0);
}

static void
a_write_that_is_called_off_can_be_made_again(void **state)
{
	(void)state;
	pg_fixture_need();
	int fd = eventfd(1, EFD_CLOEXEC); /* readable */

	sql("BEGIN");
	sql("INSERT INTO user_coupon"
	    " (coupon_id, user_id, seq, request_id, accepted_at)"
	    " VALUES (1, 10, 1, 'x', now())");
	push(1, 10, 1, "a");
	t.lease.wait.cancel_fd = fd;
	int rc = write_batch();
	assert_int_equal(rc, -ERROR_CANCELLED);
	assert_int_equal(pg_verdict(t.lease.conn, rc), POOL_DESTROY);
	give_back(rc);
	(void)close(fd);
	sql("ROLLBACK");

	lend();
	must_be_0(write_batch());
	assert_int_equal(number(ROWS), 1);
	assert_int_equal(number(OFFSET), 1);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(new_requests_become_rows_in_one_round_trip),
		TEST(rows_of_this_batch_are_told_from_earlier_ones),
		TEST(a_commit_whose_answer_was_lost_is_found_by_its_offset),
		TEST(copies_of_an_issued_request_change_nothing),
		TEST(a_users_second_request_is_a_duplicate),
		TEST(the_first_of_two_requests_in_a_batch_gets_the_row),
		TEST(a_number_is_given_once),
		TEST(no_number_beyond_the_total_is_issued),
		TEST(a_rejected_request_stays_so_after_stock_was_added),
		TEST(a_total_raised_meanwhile_lets_the_number_in),
		TEST(a_request_of_an_event_nobody_knows_is_rejected),
		TEST(an_event_that_redis_knows_is_set_aside_without_an_end),
		TEST(an_event_created_meanwhile_gets_its_row),
		TEST(the_former_owner_moves_no_offset),
		TEST(the_former_owner_rejects_nothing),
		TEST(a_position_that_was_set_back_is_followed),
		TEST(a_position_that_is_gone_is_lost),
		TEST(a_row_refused_for_its_data_is_found_among_the_others),
		TEST(any_other_error_ends_the_attempt_and_leaves_everything),
		TEST(a_deadlock_is_tried_again),
		TEST(a_deadlock_while_settling_is_tried_again),
		TEST(nothing_is_final_before_its_letter_is_acknowledged),
		TEST(a_letter_is_sent_once_however_often_the_batch_is_written),
		TEST(an_unreadable_message_takes_the_offset_along),
		TEST(an_invalid_message_is_rejected_unless_its_request_has_a_row),
		TEST(a_row_in_the_way_that_rolls_back_lets_ours_in),
		TEST(a_write_that_is_called_off_can_be_made_again),
	};

	return cmocka_run_group_tests_name(
		"writer", tests, pg_fixture_start, pg_fixture_stop);
}
