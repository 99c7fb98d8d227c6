/* SPDX-License-Identifier: MIT */
#include "consumer/letter_store.h"

#include "common/error.h"
#include "common/pg.h"

#include <assert.h>

#define WAIT_NS (10 * NS_PER_S)

enum column {
	COLUMN_PARTITION,
	COLUMN_OFFSET,
	COLUMN_WRITTEN,
	COLUMN_COUPON,
	COLUMN_USER,
	COLUMN_REQUEST,
	COLUMNS
};

static const enum pg_array_type types[COLUMNS] = {
	[COLUMN_PARTITION] = PG_ARRAY_INT4,
	[COLUMN_OFFSET] = PG_ARRAY_INT8,
	[COLUMN_WRITTEN] = PG_ARRAY_TIMESTAMPTZ,
	[COLUMN_COUPON] = PG_ARRAY_INT8,
	[COLUMN_USER] = PG_ARRAY_INT8,
	[COLUMN_REQUEST] = PG_ARRAY_TEXT,
};

static const struct pg_statement look_up = {
	.name = "letters_look_up",
	.sql = "SELECT coalesce(m.mark, ''), coalesce(to_char("
	       "  m.marked_at AT TIME ZONE 'UTC',"
	       "  'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), ''),"
	       " u.user_id IS NOT NULL, coalesce(r.reason, '')"
	       " FROM unnest($1::integer[], $2::bigint[], $3::timestamptz[],"
	       "  $4::bigint[], $5::bigint[], $6::text[]) WITH ORDINALITY"
	       "  AS l(partition, letter_offset, written_at, coupon_id,"
	       "   user_id, request_id, ord)"
	       " LEFT JOIN dead_letter_mark m ON m.topic = $7"
	       "  AND m.partition = l.partition"
	       "  AND m.letter_offset = l.letter_offset"
	       "  AND m.written_at = l.written_at"
	       " LEFT JOIN user_coupon u ON u.coupon_id = l.coupon_id"
	       "  AND u.user_id = l.user_id AND u.request_id = l.request_id"
	       " LEFT JOIN issue_rejection r ON r.coupon_id = l.coupon_id"
	       "  AND r.user_id = l.user_id AND r.request_id = l.request_id"
	       " ORDER BY l.ord",
	.n_params = COLUMNS + 1,
};

static const struct pg_statement record = {
	.name = "letters_mark",
	.sql = "INSERT INTO dead_letter_mark"
	       " (partition, letter_offset, written_at, topic, mark)"
	       " SELECT l.*, $4, $5 FROM unnest($1::integer[], $2::bigint[],"
	       "  $3::timestamptz[]) AS l"
	       " ON CONFLICT (topic, partition, letter_offset, written_at)"
	       " DO UPDATE SET mark = excluded.mark, marked_at = now()",
	.n_params = COLUMN_WRITTEN + 3,
};

static void
fill(struct pg_array arrays[COLUMNS], const struct letter *letters, size_t n)
{
	for (size_t c = 0; c < COLUMNS; c++)
		pg_array_start(&arrays[c], types[c]);
	for (size_t i = 0; i < n; i++) {
		const struct letter *letter = &letters[i];
		const struct message *message = &letter->message;

		pg_array_int4(&arrays[COLUMN_PARTITION], letter->partition);
		pg_array_int8(&arrays[COLUMN_OFFSET], letter->offset);
		pg_array_timestamp_ms(
			&arrays[COLUMN_WRITTEN], letter->written_at_ms);
		/* No request has these ids. */
		pg_array_int8(&arrays[COLUMN_COUPON],
			letter->identified ? message->coupon_id : 0);
		pg_array_int8(&arrays[COLUMN_USER],
			letter->identified ? message->user_id : 0);
		pg_array_text(&arrays[COLUMN_REQUEST],
			letter->identified ? message->request_id : "");
	}
	for (size_t c = 0; c < COLUMNS; c++)
		pg_array_finish(&arrays[c]);
}

/* Parameters: so many columns of the letters as arrays, then `texts`. */
struct query {
	const struct pg_statement *statement;
	const struct letter *letters;
	size_t n;
	const char *const *texts;
	int n_texts;
};

static int
execute(const struct letter_store *store, const struct query *query,
	struct pg_array arrays[COLUMNS], PGresult **ret, struct error *err)
{
	const char *values[COLUMNS + 2] = { 0 };
	int lengths[COLUMNS + 2] = { 0 };
	int formats[COLUMNS + 2] = { 0 };
	const struct pg_params params = {
		.values = values, .lengths = lengths, .formats = formats
	};
	const struct pg_wait wait = { clock_now_ns() + WAIT_NS, -1 };
	int n_arrays = query->statement->n_params - query->n_texts;
	struct pool_entry *entry;

	for (int i = 0; i < n_arrays; i++) {
		values[i] = arrays[i].data;
		lengths[i] = (int)arrays[i].len;
		formats[i] = 1;
	}
	for (int i = 0; i < query->n_texts; i++)
		values[n_arrays + i] = query->texts[i];
	int rc = pool_acquire(store->pool, query->statement->name,
		wait.deadline_ns, &entry, err);
	if (rc != 0)
		return rc;
	rc = pg_execute(
		entry->resource, &wait, query->statement, &params, ret, err);
	pool_release(store->pool, &entry, pg_verdict(entry->resource, rc));
	return rc;
}

static int
run(const struct letter_store *store, const struct query *query, PGresult **ret,
	struct error *err)
{
	struct pg_array arrays[COLUMNS] = { 0 };

	fill(arrays, query->letters, query->n);
	int rc = execute(store, query, arrays, ret, err);
	for (size_t c = 0; c < COLUMNS; c++)
		pg_array_free(&arrays[c]);
	return rc;
}

static void
take_row(struct letter *letter, const PGresult *result, int row)
{
	const char *mark = PQgetvalue(result, row, 0);

	for (enum letter_mark m = MARK_NONE; m < MARKS; m++)
		if (strcmp(mark, letter_mark_name(m)) == 0)
			letter->mark = m;
	(void)snprintf(letter->marked_at, sizeof(letter->marked_at), "%s",
		PQgetvalue(result, row, 1));
	letter->issued = *PQgetvalue(result, row, 2) == 't';
	(void)snprintf(letter->outcome, sizeof(letter->outcome), "%s",
		letter->issued ? "ISSUED" : PQgetvalue(result, row, 3));
}

int
letter_store_look_up(const struct letter_store *store, struct letter *letters,
	size_t n, struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;
	const struct query query = { &look_up, letters, n, &store->topic, 1 };
	int rc = run(store, &query, &result, err);

	if (rc != 0)
		return rc;
	assert((size_t)PQntuples(result) == n);
	for (size_t i = 0; i < n; i++)
		take_row(&letters[i], result, (int)i);
	return 0;
}

int
letter_store_mark(const struct letter_store *store,
	const struct letter *letters, size_t n, enum letter_mark mark,
	struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;
	const char *const texts[] = { store->topic, letter_mark_name(mark) };
	const struct query query = { &record, letters, n, texts,
		ARRAY_SIZE(texts) };

	return run(store, &query, &result, err);
}
