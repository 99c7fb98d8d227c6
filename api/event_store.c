/* SPDX-License-Identifier: MIT */
#include "api/event_store.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/pg_query.h"

#include <assert.h>
#include <inttypes.h>

/*
 * DESIGN
 *
 * Every change is one statement, so there is no transaction to leave open and
 * a retry after a lost answer finds either nothing done or all of it.  An
 * UPDATE names in its WHERE what must hold; when no row matched, the event is
 * read to say why.  Between the two somebody else may have changed it: the
 * answer is then about the later state, which is as good.
 *
 * The UPDATE of a total locks the row against the consumer, which reads the
 * total FOR SHARE before it rejects a number as too high.
 *
 * Times go in as RFC 3339: a double, which to_timestamp() would take, does
 * not hold milliseconds of the year 9999.
 */

/* clang-format off */
#define COLUMNS                                                              \
	" c.id, c.name, c.total, c.opens_at, c.closes_at, c.closed,"         \
	" c.version, c.fence_epoch, c.counted_to,"                           \
	" c.counted_to + (SELECT count(*) FROM user_coupon u"                \
	" WHERE u.coupon_id = c.id AND u.seq > c.counted_to)"

enum column {
	COLUMN_ID, COLUMN_NAME, COLUMN_TOTAL, COLUMN_OPENS_AT,
	COLUMN_CLOSES_AT, COLUMN_CLOSED, COLUMN_VERSION, COLUMN_FENCE_EPOCH,
	COLUMN_COUNTED_TO, COLUMN_ISSUED, N_COLUMNS,
	/* of the board */
	COLUMN_TIMED = N_COLUMNS, COLUMN_P50, COLUMN_P99,
};

static const struct pg_statement select_event = { "event_get",
	"SELECT" COLUMNS " FROM coupon c WHERE c.id = $1::bigint", 1 };

static const struct pg_statement select_created = { "event_created",
	"SELECT" COLUMNS " FROM coupon c WHERE c.creation_key = $1", 1 };

static const struct pg_statement select_events = { "event_list",
	"SELECT" COLUMNS " FROM coupon c WHERE c.id > $1::bigint"
	" ORDER BY c.id LIMIT $2::bigint", 2 };

/* The unique key (coupon_id, seq) finds the newest rows. */
static const struct pg_statement select_board = { "event_board",
	"SELECT" COLUMNS ", t.n, coalesce(t.p50, 0), coalesce(t.p99, 0)"
	" FROM coupon c, LATERAL (SELECT count(*) AS n,"
	" percentile_disc(0.5) WITHIN GROUP (ORDER BY ms) AS p50,"
	" percentile_disc(0.99) WITHIN GROUP (ORDER BY ms) AS p99"
	" FROM (SELECT (extract(epoch FROM issued_at - accepted_at)"
	" * 1000)::bigint AS ms FROM user_coupon u"
	" WHERE u.coupon_id = c.id ORDER BY seq DESC LIMIT 500) newest) t"
	" ORDER BY c.closed OR c.closes_at < now(), c.id DESC"
	" LIMIT $1::bigint", 1 };

/* The lock on the new id: see SCHEMA_LOCK in common/schema.h. */
static const struct pg_statement insert_event = { "event_create",
	"WITH new AS MATERIALIZED (SELECT"
	" nextval(pg_get_serial_sequence('coupon', 'id')) AS id),"
	" locked AS MATERIALIZED (SELECT id FROM new,"
	" LATERAL pg_advisory_xact_lock(id)),"
	" c AS (INSERT INTO coupon (id, name, total, opens_at, closes_at,"
	" creation_key) SELECT id, $1, $2::integer, $3::timestamptz,"
	" $4::timestamptz, $5 FROM locked"
	" ON CONFLICT (creation_key) DO NOTHING RETURNING *)"
	"SELECT" COLUMNS " FROM c", 5 };

static const struct pg_statement update_open = { "event_open",
	"WITH c AS (UPDATE coupon SET version = version + 1,"
	" opens_at = date_trunc('milliseconds', now())"
	" WHERE id = $1::bigint AND NOT closed AND closes_at > now()"
	" AND opens_at > now() RETURNING *)"
	"SELECT" COLUMNS " FROM c", 1 };

static const struct pg_statement update_close = { "event_close",
	"WITH c AS (UPDATE coupon SET version = version + 1, closed = true"
	" WHERE id = $1::bigint AND NOT closed RETURNING *)"
	"SELECT" COLUMNS " FROM c", 1 };

static const struct pg_statement update_total = { "event_total",
	"WITH c AS (UPDATE coupon SET version = version + 1,"
	" total = $2::integer WHERE id = $1::bigint AND NOT closed"
	" AND closes_at > now() AND total < $2::integer RETURNING *)"
	"SELECT" COLUMNS " FROM c", 2 };

/*
 * To the last number before the first gap, as far as one call looks: in order,
 * a row's number is counted_to plus its place until a number is missing, and
 * never again behind that.
 */
static const struct pg_statement update_counted = { "event_counted",
	"UPDATE coupon c SET counted_to = last.seq FROM (SELECT max(seq) AS seq"
	" FROM (SELECT seq, $2::bigint + row_number() OVER (ORDER BY seq)"
	" AS due FROM user_coupon WHERE coupon_id = $1::bigint"
	" AND seq > $2::bigint ORDER BY seq LIMIT 200000) further"
	" WHERE seq = due) last"
	" WHERE c.id = $1::bigint AND c.counted_to = $2::bigint"
	" AND last.seq IS NOT NULL", 2 };

static const struct pg_statement select_user_coupons = { "user_coupons",
	"SELECT coupon_id, user_id, seq, request_id, '', accepted_at,"
	" issued_at FROM user_coupon WHERE user_id = $1::bigint"
	" AND coupon_id > $2::bigint ORDER BY coupon_id LIMIT $3::bigint", 3 };

static const struct pg_statement select_status = { "status",
	"(SELECT coupon_id, user_id, seq, request_id, '' AS reason,"
	" accepted_at, issued_at AS decided_at FROM user_coupon"
	" WHERE coupon_id = $1::bigint AND user_id = $2::bigint"
	" AND ($3 = '' OR request_id = $3))"
	" UNION ALL "
	"(SELECT coupon_id, user_id, seq, request_id, reason, accepted_at,"
	" rejected_at FROM issue_rejection WHERE coupon_id = $1::bigint"
	" AND user_id = $2::bigint AND ($3 = '' OR request_id = $3)"
	" ORDER BY rejected_at DESC LIMIT 1)", 3 };
/* clang-format on */

/* Longest decimal int64 and its NUL. */
#define NUMBER_SIZE 24

struct query {
	const struct pg_statement *statement;
	const char *values[5];
};

static int
execute(struct pool *pool, int64_t deadline_ns, const struct query *query,
	PGresult **ret, struct error *err)
{
	const struct pg_query call = { pool, deadline_ns, query->statement,
		query->values };

	return pg_query(&call, ret, err);
}

static void
copy_text(char *buf, size_t size, const PGresult *result, int row, int column)
{
	(void)snprintf(buf, size, "%s", PQgetvalue(result, row, column));
}

static void
read_coupon(const PGresult *result, int row, struct coupon *ret)
{
	ret->id = pg_int8(result, row, COLUMN_ID);
	copy_text(ret->name, sizeof(ret->name), result, row, COLUMN_NAME);
	ret->total = pg_int4(result, row, COLUMN_TOTAL);
	ret->opens_at_ms = pg_timestamp_ms(result, row, COLUMN_OPENS_AT);
	ret->closes_at_ms = pg_timestamp_ms(result, row, COLUMN_CLOSES_AT);
	ret->closed = *PQgetvalue(result, row, COLUMN_CLOSED) != 0;
	ret->version = pg_int8(result, row, COLUMN_VERSION);
	ret->fence_epoch = pg_int8(result, row, COLUMN_FENCE_EPOCH);
	ret->counted_to = pg_int8(result, row, COLUMN_COUNTED_TO);
	ret->issued = pg_int8(result, row, COLUMN_ISSUED);
}

/* The one row of a query; -ERROR_NOT_FOUND when it has none. */
static int
fetch_coupon(struct pool *pool, int64_t deadline_ns, const struct query *query,
	struct coupon *ret, struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;
	int rc = execute(pool, deadline_ns, query, &result, err);

	if (rc != 0)
		return rc;
	if (PQntuples(result) == 0)
		return error_set(err, ERROR_NOT_FOUND, "no such event");
	read_coupon(result, 0, ret);
	return 0;
}

int
event_store_create(const struct store_call *call,
	const struct event_creation *creation, enum event_change *ret_change,
	struct coupon *ret, struct error *err)
{
	char total[NUMBER_SIZE];
	char opens_at[CLOCK_RFC3339_SIZE];
	char closes_at[CLOCK_RFC3339_SIZE];
	const struct query insert = { &insert_event,
		{ creation->name, total, opens_at, closes_at, creation->key } };
	const struct query find = { &select_created, { creation->key } };
	struct pool *pool = pg_write_pool(call->pg);

	(void)snprintf(total, sizeof(total), "%" PRId64, creation->total);
	clock_format_rfc3339(creation->opens_at_ms, opens_at);
	clock_format_rfc3339(creation->closes_at_ms, closes_at);
	int rc = fetch_coupon(pool, call->deadline_ns, &insert, ret, err);
	if (rc == 0) {
		*ret_change = EVENT_CHANGED;
		return 0;
	}
	if (rc != -ERROR_NOT_FOUND)
		return rc;
	rc = fetch_coupon(pool, call->deadline_ns, &find, ret, err);
	if (rc == 0)
		*ret_change = EVENT_UNCHANGED;
	return rc;
}

/* Why an UPDATE matched no row. */
static enum event_change
explain(const struct event_request *request, const struct coupon *coupon)
{
	bool over = coupon->closed || coupon->closes_at_ms <= clock_wall_ms();

	switch (request->action) {
	case EVENT_ACTION_OPEN:
		return over ? EVENT_CLOSED : EVENT_UNCHANGED;
	case EVENT_ACTION_CLOSE:
		return EVENT_UNCHANGED;
	case EVENT_ACTION_TOTAL:
		break;
	}
	if (over)
		return EVENT_CLOSED;
	return request->total < coupon->total ? EVENT_TOTAL_LOWERED
					      : EVENT_UNCHANGED;
}

int
event_store_change(const struct store_call *call,
	const struct event_request *request, enum event_change *ret_change,
	struct coupon *ret, struct error *err)
{
	static const struct pg_statement *const updates[] = {
		[EVENT_ACTION_OPEN] = &update_open,
		[EVENT_ACTION_CLOSE] = &update_close,
		[EVENT_ACTION_TOTAL] = &update_total,
	};
	char id[NUMBER_SIZE];
	char total[NUMBER_SIZE];
	const struct query update = { updates[request->action], { id, total } };
	const struct query read = { &select_event, { id } };
	struct pool *pool = pg_write_pool(call->pg);

	(void)snprintf(id, sizeof(id), "%" PRId64, request->coupon_id);
	(void)snprintf(total, sizeof(total), "%" PRId64, request->total);
	int rc = fetch_coupon(pool, call->deadline_ns, &update, ret, err);
	if (rc == 0) {
		*ret_change = EVENT_CHANGED;
		return 0;
	}
	if (rc == -ERROR_NOT_FOUND)
		rc = fetch_coupon(pool, call->deadline_ns, &read, ret, err);
	if (rc == 0)
		*ret_change = explain(request, ret);
	if (rc == -ERROR_NOT_FOUND) {
		*ret_change = EVENT_NOT_FOUND;
		return 0;
	}
	return rc;
}

static int
get_from(struct pool *pool, const struct store_call *call, int64_t coupon_id,
	struct coupon *ret, struct error *err)
{
	char id[NUMBER_SIZE];
	const struct query query = { &select_event, { id } };

	(void)snprintf(id, sizeof(id), "%" PRId64, coupon_id);
	return fetch_coupon(pool, call->deadline_ns, &query, ret, err);
}

int
event_store_get(const struct store_call *call, int64_t coupon_id,
	struct coupon *ret, struct error *err)
{
	int rc = get_from(pg_read_pool(call->pg), call, coupon_id, ret, err);

	if (rc == -ERROR_NOT_FOUND && pg_pools_has_replica(call->pg))
		rc = event_store_get_latest(call, coupon_id, ret, err);
	return rc;
}

int
event_store_get_latest(const struct store_call *call, int64_t coupon_id,
	struct coupon *ret, struct error *err)
{
	return get_from(pg_write_pool(call->pg), call, coupon_id, ret, err);
}

int
event_store_list(const struct store_call *call, int64_t after,
	struct coupon_page *page, struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;
	char key[NUMBER_SIZE];
	char limit[NUMBER_SIZE];
	const struct query query = { &select_events, { key, limit } };

	assert(page->limit <= PAGE_MAX);
	(void)snprintf(key, sizeof(key), "%" PRId64, after);
	(void)snprintf(limit, sizeof(limit), "%zu", page->limit);
	int rc = execute(pg_read_pool(call->pg), call->deadline_ns, &query,
		&result, err);
	if (rc != 0)
		return rc;
	page->count = (size_t)PQntuples(result);
	for (size_t i = 0; i < page->count; i++)
		read_coupon(result, (int)i, &page->items[i]);
	return 0;
}

int
event_store_count(const struct store_call *call, const struct coupon *coupon,
	struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;
	char id[NUMBER_SIZE];
	char counted_to[NUMBER_SIZE];
	const struct query query = { &update_counted, { id, counted_to } };

	(void)snprintf(id, sizeof(id), "%" PRId64, coupon->id);
	(void)snprintf(counted_to, sizeof(counted_to), "%" PRId64,
		coupon->counted_to);
	return execute(pg_write_pool(call->pg), call->deadline_ns, &query,
		&result, err);
}

int
event_store_board(const struct store_call *call,
	struct board_item items[BOARD_MAX], size_t *ret_count,
	struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;
	char limit[NUMBER_SIZE];
	const struct query query = { &select_board, { limit } };

	(void)snprintf(limit, sizeof(limit), "%d", BOARD_MAX);
	int rc = execute(pg_read_pool(call->pg), call->deadline_ns, &query,
		&result, err);
	if (rc != 0)
		return rc;
	*ret_count = (size_t)PQntuples(result);
	for (int i = 0; i < (int)*ret_count; i++) {
		read_coupon(result, i, &items[i].coupon);
		items[i].timed = pg_int8(result, i, COLUMN_TIMED);
		items[i].p50_ms = pg_int8(result, i, COLUMN_P50);
		items[i].p99_ms = pg_int8(result, i, COLUMN_P99);
	}
	return 0;
}

static void
read_user_coupon(const PGresult *result, int row, struct user_coupon *ret)
{
	ret->coupon_id = pg_int8(result, row, 0);
	ret->user_id = pg_int8(result, row, 1);
	ret->seq = pg_int8(result, row, 2);
	copy_text(ret->request_id, sizeof(ret->request_id), result, row, 3);
	copy_text(ret->reason, sizeof(ret->reason), result, row, 4);
	ret->accepted_at_ms = PQgetisnull(result, row, 5)
				      ? 0
				      : pg_timestamp_ms(result, row, 5);
	ret->decided_at_ms = pg_timestamp_ms(result, row, 6);
}

int
event_store_user_coupons(const struct store_call *call, int64_t user_id,
	int64_t after, struct user_coupon_page *page, struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;
	char user[NUMBER_SIZE];
	char key[NUMBER_SIZE];
	char limit[NUMBER_SIZE];
	const struct query query = { &select_user_coupons,
		{ user, key, limit } };

	assert(page->limit <= PAGE_MAX);
	(void)snprintf(user, sizeof(user), "%" PRId64, user_id);
	(void)snprintf(key, sizeof(key), "%" PRId64, after);
	(void)snprintf(limit, sizeof(limit), "%zu", page->limit);
	int rc = execute(pg_read_pool(call->pg), call->deadline_ns, &query,
		&result, err);
	if (rc != 0)
		return rc;
	page->count = (size_t)PQntuples(result);
	for (size_t i = 0; i < page->count; i++)
		read_user_coupon(result, (int)i, &page->items[i]);
	return 0;
}

static int
fetch_status(struct pool *pool, int64_t deadline_ns, const struct query *query,
	struct user_coupon *ret, struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;
	int rc = execute(pool, deadline_ns, query, &result, err);

	if (rc != 0)
		return rc;
	if (PQntuples(result) == 0)
		return error_set(err, ERROR_NOT_FOUND, "no such request");
	read_user_coupon(result, 0, ret);
	return 0;
}

int
event_store_status(const struct store_call *call, const struct user_coupon *key,
	struct user_coupon *ret, struct error *err)
{
	char coupon[NUMBER_SIZE];
	char user[NUMBER_SIZE];
	const struct query query = { &select_status,
		{ coupon, user, key->request_id } };

	(void)snprintf(coupon, sizeof(coupon), "%" PRId64, key->coupon_id);
	(void)snprintf(user, sizeof(user), "%" PRId64, key->user_id);
	int rc = fetch_status(
		pg_read_pool(call->pg), call->deadline_ns, &query, ret, err);
	if (rc == -ERROR_NOT_FOUND && pg_pools_has_replica(call->pg))
		rc = fetch_status(pg_write_pool(call->pg), call->deadline_ns,
			&query, ret, err);
	return rc;
}
