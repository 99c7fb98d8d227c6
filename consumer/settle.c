/* SPDX-License-Identifier: MIT */
#include "consumer/settle.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/pg.h"
#include "consumer/batch.h"
#include "consumer/columns.h"
#include "consumer/lease.h"
#include "consumer/position.h"
#include "consumer/writer.h"

#include <assert.h>

/*
 * DESIGN
 *
 * A rejection must never stand beside the row of the same request, although
 * another owner of the partition may insert that row at this moment.  Why it
 * cannot, by reason:
 *
 *   DUPLICATE, NUMBER_TAKEN   rows are never deleted, so what is in the way
 *                             of the row stays in its way
 *   NUMBER_TOO_HIGH           the total is read again under FOR SHARE; who
 *                             raises it takes FOR UPDATE and so comes after
 *                             our commit, and the INSERT that sees his total
 *                             sees our rejection as well
 *   EVENT_UNKNOWN             the same with the advisory lock on the coupon
 *                             id, which the creation of an event takes
 *   INVALID                   PostgreSQL refuses the row to everybody
 */
static const struct pg_statement classify = {
	.name = "classify",
	.sql = "SELECT CASE"
	       " WHEN own.request_id = i.request_id THEN 'S'"
	       " WHEN r.request_id IS NOT NULL THEN 'S'"
	       " WHEN own.user_id IS NOT NULL THEN 'D'"
	       " WHEN c.id IS NULL THEN 'U'"
	       " WHEN i.seq NOT BETWEEN 1 AND c.total THEN 'H'"
	       " WHEN taken.user_id IS NOT NULL THEN 'T'"
	       " ELSE 'O' END,"
	       /* An age, in us: the two clocks need not agree. */
	       " CASE WHEN own.request_id = i.request_id THEN (extract("
	       "  epoch FROM clock_timestamp() - own.issued_at) * 1000000"
	       "  )::bigint END"
	       " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[],"
	       "  $4::text[]) WITH ORDINALITY"
	       "  AS i(coupon_id, user_id, seq, request_id, ord)"
	       " LEFT JOIN coupon c ON c.id = i.coupon_id"
	       " LEFT JOIN user_coupon own ON own.coupon_id = i.coupon_id"
	       "  AND own.user_id = i.user_id"
	       " LEFT JOIN user_coupon taken ON taken.coupon_id = i.coupon_id"
	       "  AND taken.seq = i.seq"
	       " LEFT JOIN issue_rejection r ON r.coupon_id = i.coupon_id"
	       "  AND r.user_id = i.user_id AND r.request_id = i.request_id"
	       " ORDER BY i.ord",
	.n_params = 4,
};

static const struct pg_statement lock_totals = {
	.name = "lock_totals",
	.sql = "SELECT id, total FROM coupon WHERE id = ANY ($1::bigint[])"
	       " ORDER BY id FOR SHARE",
	.n_params = 1,
};

static const struct pg_statement lock_unknown = {
	.name = "lock_unknown",
	.sql = "SELECT pg_advisory_xact_lock(id) FROM (SELECT DISTINCT id"
	       " FROM unnest($1::bigint[]) AS u(id) ORDER BY id) AS ids",
	.n_params = 1,
};

static const struct pg_statement find_known = {
	.name = "find_known",
	.sql = "SELECT id, total FROM coupon WHERE id = ANY ($1::bigint[])",
	.n_params = 1,
};

static const struct pg_statement reject = {
	.name = "reject",
	.sql = "INSERT INTO issue_rejection"
	       " (coupon_id, user_id, seq, request_id, accepted_at, reason)"
	       " SELECT i.coupon_id, i.user_id, i.seq, i.request_id,"
	       "  nullif(i.accepted_at, 'epoch'), i.reason"
	       " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[],"
	       "  $4::text[], $5::timestamptz[], $6::text[])"
	       "  AS i(coupon_id, user_id, seq, request_id, accepted_at,"
	       "   reason)"
	       " WHERE NOT EXISTS (SELECT FROM user_coupon u"
	       "  WHERE u.coupon_id = i.coupon_id AND u.user_id = i.user_id"
	       "  AND u.request_id = i.request_id)"
	       " ORDER BY i.coupon_id, i.user_id, i.request_id"
	       " ON CONFLICT DO NOTHING",
	.n_params = 6,
};

static bool
is_open(const struct batch_item *item)
{
	return item->verdict == VERDICT_OPEN;
}

static bool
is_too_high(const struct batch_item *item)
{
	return item->verdict == VERDICT_NUMBER_TOO_HIGH;
}

static bool
is_unknown(const struct batch_item *item)
{
	return item->verdict == VERDICT_EVENT_UNKNOWN;
}

static bool
is_rejected(const struct batch_item *item)
{
	return verdict_is_rejection(item->verdict);
}

/* Every parameter is a column. */
static int
run(const struct write *write, const struct columns *columns,
	const struct pg_statement *statement, PGresult **ret, struct error *err)
{
	struct column_params p;

	column_params_start(&p, columns, statement->n_params);
	return pg_execute(write->lease->conn, &write->lease->wait, statement,
		&p.params, ret, err);
}

/* Letters of the statement above. */
static enum verdict
verdict_of(char letter)
{
	switch (letter) {
	case 'S':
		return VERDICT_SETTLED;
	case 'D':
		return VERDICT_DUPLICATE;
	case 'T':
		return VERDICT_NUMBER_TAKEN;
	case 'H':
		return VERDICT_NUMBER_TOO_HIGH;
	case 'U':
		return VERDICT_EVENT_UNKNOWN;
	default:
		return VERDICT_OPEN;
	}
}

int
settle_classify(
	struct columns *columns, const struct write *write, struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;
	struct batch *batch = write->batch;

	columns_fill(columns, batch, is_open, 0, batch->n);
	if (columns->n == 0)
		return 0;
	int rc = run(write, columns, &classify, &result, err);
	if (rc != 0)
		return rc;
	assert((size_t)PQntuples(result) == columns->n);
	int64_t age_us = (clock_now_ns() - batch->begun_ns) / NS_PER_US;
	for (int i = 0; (size_t)i < columns->n; i++) {
		struct batch_item *item = &batch->items[columns->items[i]];

		item->verdict = verdict_of(*PQgetvalue(result, i, 0));
		if (item->verdict == VERDICT_SETTLED &&
			!PQgetisnull(result, i, 1))
			item->inserted |= pg_int8(result, i, 1) <= age_us;
	}
	return 0;
}

/* `result` is (id, total) of events that do exist. */
static bool
reopen_fitting(
	struct batch *batch, column_filter *filter, const PGresult *result)
{
	bool reopened = false;

	for (size_t i = 0; i < batch->n; i++) {
		struct batch_item *item = &batch->items[i];

		for (int row = 0; row < PQntuples(result); row++) {
			if (!filter(item) ||
				pg_int8(result, row, 0) !=
					item->message.coupon_id ||
				pg_int4(result, row, 1) < item->message.seq)
				continue;
			item->verdict = VERDICT_OPEN;
			reopened = true;
		}
	}
	return reopened;
}

/* Hold the totals still while numbers are called too high. */
static int
confirm_too_high(struct columns *columns, const struct write *write,
	bool *reopened, struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;

	columns_fill(columns, write->batch, is_too_high, 0, write->batch->n);
	if (columns->n == 0)
		return 0;
	int rc = run(write, columns, &lock_totals, &result, err);
	if (rc == 0)
		*reopened |= reopen_fitting(write->batch, is_too_high, result);
	return rc;
}

/* Keep events from being created while they are called unknown. */
static int
confirm_unknown(struct columns *columns, const struct write *write,
	bool *reopened, struct error *err)
{
	PGresult *locked CLEANUP(pg_result_cleanup) = NULL;
	PGresult *known CLEANUP(pg_result_cleanup) = NULL;

	columns_fill(columns, write->batch, is_unknown, 0, write->batch->n);
	if (columns->n == 0)
		return 0;
	int rc = run(write, columns, &lock_unknown, &locked, err);
	if (rc == 0)
		rc = run(write, columns, &find_known, &known, err);
	if (rc == 0)
		*reopened |= reopen_fitting(write->batch, is_unknown, known);
	return rc;
}

static int
write_rejections(
	struct columns *columns, const struct write *write, struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;

	columns_fill(columns, write->batch, is_rejected, 0, write->batch->n);
	return run(write, columns, &reject, &result, err);
}

static int
command(const struct write *write, const char *sql, struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;

	return pg_command(
		write->lease->conn, &write->lease->wait, sql, &result, err);
}

/* Everything between BEGIN and COMMIT; *ret DONE means: commit. */
static int
in_transaction(struct columns *columns, const struct write *write,
	enum settle_result *ret, struct error *err)
{
	bool reopened = false;
	bool moved = false;
	int rc = confirm_too_high(columns, write, &reopened, err);

	if (rc == 0)
		rc = confirm_unknown(columns, write, &reopened, err);
	if (rc == 0 && reopened) {
		*ret = SETTLE_REOPENED;
		return 0;
	}
	if (rc == 0)
		rc = write_rejections(columns, write, err);
	if (rc == 0)
		rc = position_move(write->lease, write->pos,
			&(struct position_step){
				write->batch->end, write->batch->newest_ms },
			&moved, err);
	if (rc == 0)
		*ret = moved ? SETTLE_DONE : SETTLE_NOT_MINE;
	return rc;
}

int
settle_commit(struct columns *columns, const struct write *write,
	enum settle_result *ret, struct error *err)
{
	enum settle_result result = SETTLE_NOT_MINE;
	struct error ignored;

	assert(batch_count(write->batch, VERDICT_OPEN) == 0);
	assert(!batch_has_letters(write->batch));
	int rc = command(write, "BEGIN", err);
	if (rc != 0)
		return rc;
	rc = in_transaction(columns, write, &result, err);
	if (rc == 0 && result == SETTLE_DONE)
		rc = command(write, "COMMIT", err);
	else if (rc == 0)
		rc = command(write, "ROLLBACK", err);
	else if (rc == -ERROR_DATABASE_ERROR)
		/* Leaves the connection fit for another attempt, or broken,
		 * which the next statement on it says. */
		(void)!command(write, "ROLLBACK", &ignored);
	if (rc == 0)
		*ret = result;
	return rc;
}
