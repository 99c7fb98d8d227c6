/* SPDX-License-Identifier: MIT */
#include "consumer/writer.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/pg.h"
#include "consumer/batch.h"
#include "consumer/columns.h"
#include "consumer/lease.h"
#include "consumer/position.h"
#include "consumer/settle.h"

#include <assert.h>
#include <inttypes.h>
#include <poll.h>

/*
 * DESIGN
 *
 * The usual batch is one statement and one round trip: insert_rows() inserts
 * what PostgreSQL accepts and moves the offset only if that was everything.
 * It needs no transaction block; a statement is one.
 *
 * When the offset did not move, somebody else may own the partition, or has
 * moved it (an earlier attempt of ours whose answer was lost included); the
 * row of consumer_offset says so.  If it is as we believe, some rows did not
 * go in.  Those that did stay: inserting again finds them.  Then
 *
 *	classify    what became of each, in a statement (and so a snapshot)
 *	            of its own: the first one cannot see its own rows
 *	letters     acknowledged by Kafka, before anything is final
 *	settle      rejections and the offset, in one transaction
 *
 * and from the start again while there are rows that nothing speaks against
 * (whoever was in their way has rolled back, a total was raised).
 *
 * A row that PostgreSQL refuses for its data (SQLSTATE 22xxx, 23xxx) fails
 * the whole statement; bisect() finds it in log2(n) statements, and it
 * becomes a dead letter and a rejection.
 *
 * Rows go in sorted by (coupon, user), so that two owners of a partition
 * (the old one does not know yet) cannot deadlock on the primary key; on the
 * numbers they can, and 40P01 is tried again.
 */
#define ROUNDS_MAX 8
#define PAUSE_MS 2 /* doubled each round */

struct writer {
	const struct writer_env *env;
	struct columns columns;
};

static const struct pg_statement insert_rows = {
	.name = "insert_rows",
	.sql = "WITH inserted AS ("
	       " INSERT INTO user_coupon"
	       "  (coupon_id, user_id, seq, request_id, accepted_at)"
	       " SELECT i.coupon_id, i.user_id, i.seq, i.request_id,"
	       "  i.accepted_at"
	       " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[],"
	       "  $4::text[], $5::timestamptz[]) WITH ORDINALITY"
	       "  AS i(coupon_id, user_id, seq, request_id, accepted_at, ord)"
	       " JOIN coupon c ON c.id = i.coupon_id"
	       " WHERE i.seq BETWEEN 1 AND c.total"
	       " AND NOT EXISTS (SELECT FROM issue_rejection r"
	       "  WHERE r.coupon_id = i.coupon_id AND r.user_id = i.user_id"
	       "  AND r.request_id = i.request_id)"
	       " ORDER BY i.coupon_id, i.user_id, i.ord"
	       " ON CONFLICT DO NOTHING RETURNING 1),"
	       /* A sub-select over `inserted`: user_coupon itself would show
		* the table as it was before the statement. */
	       " moved AS ("
	       " UPDATE consumer_offset"
	       " SET next_offset = $11::bigint, updated_at = now(),"
	       "  newest_ms = greatest(newest_ms, $13::bigint)"
	       " WHERE group_id = $6 AND topic = $7"
	       " AND partition = $8::integer AND owner_epoch = $9::bigint"
	       " AND next_offset = $10::bigint"
	       " AND (SELECT count(*) FROM inserted) = $12::bigint"
	       " RETURNING 1)"
	       " SELECT (SELECT count(*) FROM inserted),"
	       "  (SELECT count(*) FROM moved)",
	.n_params = 13,
};

struct writer *
writer_new(const struct writer_env *env)
{
	struct writer *writer = calloc(1, sizeof(*writer));

	if (writer == NULL)
		abort(); /* out of memory while a partition is assigned */
	writer->env = env;
	return writer;
}

void
writer_free(struct writer *writer)
{
	if (writer == NULL)
		return;
	columns_free(&writer->columns);
	free(writer);
}

static bool
is_open(const struct batch_item *item)
{
	return item->verdict == VERDICT_OPEN;
}

static bool
is_data_error(const struct error *err)
{
	return strncmp(err->code, "22", 2) == 0 ||
	       strncmp(err->code, "23", 2) == 0;
}

/* Deadlock, serialization failure: the same again will do. */
static bool
is_conflict(const struct error *err)
{
	return strcmp(err->code, "40P01") == 0 ||
	       strcmp(err->code, "40001") == 0;
}

/* Which items, and whether the offset is to move with them. */
struct span {
	size_t from, to;
	bool move;
};

struct inserted {
	size_t rows;
	bool moved;
};

static int
insert(struct writer *writer, const struct write *write,
	const struct span *span, struct inserted *ret, struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;
	const struct position *pos = write->pos;
	struct column_params p;

	columns_fill(
		&writer->columns, write->batch, is_open, span->from, span->to);
	column_params_start(&p, &writer->columns, COLUMN_ACCEPTED + 1);
	column_params_text(&p, pos->group);
	column_params_text(&p, pos->topic);
	column_params_number(&p, pos->partition);
	column_params_number(&p, pos->epoch);
	column_params_number(&p, pos->next_offset);
	column_params_number(&p, write->batch->end);
	column_params_number(&p, span->move ? (int64_t)writer->columns.n : -1);
	column_params_number(&p, write->batch->newest_ms);
	int rc = pg_execute(write->lease->conn, &write->lease->wait,
		&insert_rows, &p.params, &result, err);
	if (rc != 0)
		return rc;
	ret->rows = (size_t)pg_int8(result, 0, 0);
	ret->moved = pg_int8(result, 0, 1) == 1;
	return 0;
}

/* Insert [from, to) without what PostgreSQL refuses: that becomes INVALID. */
static int
bisect(struct writer *writer, const struct write *write, size_t from, size_t to,
	struct error *err)
{
	struct inserted ignored;
	int rc = insert(writer, write, &(struct span){ from, to, false },
		&ignored, err);

	if (rc != -ERROR_DATABASE_ERROR || !is_data_error(err))
		return rc;
	if (to - from == 1) {
		struct batch_item *item = &write->batch->items[from];

		item->verdict = VERDICT_INVALID;
		batch_item_letter(item, "INVALID", err->msg);
		return 0;
	}
	size_t middle = from + (to - from) / 2;
	rc = bisect(writer, write, from, middle, err);
	return rc != 0 ? rc : bisect(writer, write, middle, to, err);
}

/* All open items; the offset too, if nothing else is to be written. */
static int
insert_open(struct writer *writer, const struct write *write,
	struct inserted *ret, struct error *err)
{
	const struct span all = {
		.from = 0,
		.to = write->batch->n,
		.move = batch_rejections(write->batch) == 0,
	};

	*ret = (struct inserted){ 0 };
	if (batch_count(write->batch, VERDICT_OPEN) == 0)
		return 0;
	int rc = insert(writer, write, &all, ret, err);
	if (rc == -ERROR_DATABASE_ERROR && is_data_error(err))
		rc = bisect(writer, write, all.from, all.to, err);
	return rc;
}

static int
send_letters(
	struct writer *writer, const struct write *write, struct error *err)
{
	if (!batch_has_letters(write->batch))
		return 0;
	return writer->env->send_letters(
		writer->env->ctx, write->batch, &write->lease->wait, err);
}

/*
 * PostgreSQL may have lost an event that Redis still has (a promoted
 * standby): not for us to end its requests.
 */
static void
spare_events_of_redis(struct writer *writer, struct batch *batch)
{
	int64_t asked = 0; /* no coupon's id */
	bool may_exist = false;

	for (size_t i = 0; i < batch->n; i++) {
		struct batch_item *item = &batch->items[i];

		if (item->verdict != VERDICT_EVENT_UNKNOWN)
			continue;
		if (item->message.coupon_id != asked) {
			asked = item->message.coupon_id;
			may_exist = writer->env->event_may_exist(
				writer->env->ctx, asked);
		}
		if (!may_exist)
			continue;
		item->verdict = VERDICT_SET_ASIDE;
		batch_item_letter(item, "EVENT_UNKNOWN",
			"PostgreSQL does not know the event, Redis may");
	}
}

/* The rows that belong in are in; make the rest final. */
static int
settle(struct writer *writer, const struct write *write, bool *ret_done,
	struct error *err)
{
	enum settle_result result;

	if (batch_rejections(write->batch) == 0)
		return position_move(write->lease, write->pos,
			&(struct position_step){
				write->batch->end, write->batch->newest_ms },
			ret_done, err);
	int rc = settle_commit(&writer->columns, write, &result, err);
	if (rc == 0)
		*ret_done = result == SETTLE_DONE;
	return rc;
}

/* The offset did not move although rows were inserted: DESIGN above. */
static int
resolve(struct writer *writer, const struct write *write, bool *ret_done,
	struct written *ret, struct error *err)
{
	enum position_state state;
	int rc = position_read(
		write->lease, write->pos, &state, &ret->next_offset, err);

	if (rc != 0)
		return rc;
	if (state != POSITION_MINE) {
		ret->result =
			state == POSITION_MOVED ? WRITE_MOVED : WRITE_LOST;
		*ret_done = true;
		return 0;
	}
	rc = settle_classify(&writer->columns, write, err);
	if (rc != 0)
		return rc;
	spare_events_of_redis(writer, write->batch);
	rc = send_letters(writer, write, err);
	if (rc != 0 || batch_count(write->batch, VERDICT_OPEN) > 0)
		return rc;
	return settle(writer, write, ret_done, err);
}

static int
attempt(struct writer *writer, const struct write *write, bool *ret_done,
	struct written *ret, struct error *err)
{
	struct inserted inserted;
	int rc = send_letters(writer, write, err);

	if (rc == 0)
		rc = insert_open(writer, write, &inserted, err);
	if (rc != 0)
		return rc;
	ret->rows += inserted.rows;
	if (!inserted.moved)
		return resolve(writer, write, ret_done, ret, err);
	ret->at_once = inserted.rows == write->batch->n;
	*ret_done = true;
	return 0;
}

/* Give whoever is in our way time to commit or roll back. */
static int
pause_round(const struct pg_wait *wait, int round, struct error *err)
{
	struct pollfd fd = { .fd = wait->cancel_fd, .events = POLLIN };

	if (clock_now_ns() >= wait->deadline_ns)
		return error_set(err, ERROR_TIMEOUT,
			"the batch could not be settled in time");
	if (poll(&fd, 1, PAUSE_MS << round) > 0)
		return error_set(err, ERROR_CANCELLED,
			"told to stop while a batch was being settled");
	return 0;
}

int
writer_write(struct writer *writer, const struct write *write,
	struct written *ret, struct error *err)
{
	struct written written = { .result = WRITE_DONE,
		.next_offset = write->batch->end };

	assert(write->pos->next_offset == write->batch->start);
	batch_reopen(write->batch);
	for (int round = 0; round < ROUNDS_MAX; round++) {
		bool done = false;
		int rc = attempt(writer, write, &done, &written, err);

		if (rc == 0 && done) {
			*ret = written;
			return 0;
		}
		if (rc == 0 || is_conflict(err))
			rc = pause_round(&write->lease->wait, round, err);
		if (rc != 0)
			return rc;
	}
	return error_set(err, ERROR_DATABASE_ERROR,
		"offset %" PRId64 ": not settled in %d rounds",
		write->batch->start, ROUNDS_MAX);
}
