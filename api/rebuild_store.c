/* SPDX-License-Identifier: MIT */
#include "api/rebuild_store.h"

#include "common/error.h"
#include "common/pg_query.h"

#include <inttypes.h>
#include <string.h>

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)
#define ALIVE "interval '" STRINGIFY(INSTANCE_ALIVE_S) " s'"
#define LEASE "interval '5 s'"

/* clang-format off */
static const struct pg_statement take = { "rebuild_take",
	"WITH lease AS (INSERT INTO event_rebuild (coupon_id, holder,"
	" expires_at) SELECT id, $2, now() + " LEASE " FROM coupon"
	" WHERE id = $1::bigint"
	" ON CONFLICT (coupon_id) DO UPDATE SET holder = excluded.holder,"
	" expires_at = excluded.expires_at"
	" WHERE event_rebuild.expires_at < now()"
	" OR event_rebuild.holder = excluded.holder RETURNING coupon_id)"
	"UPDATE coupon c SET fence_epoch ="
	" greatest(c.fence_epoch, $3::bigint) + 1 FROM lease"
	" WHERE c.id = lease.coupon_id"
	" RETURNING c.fence_epoch, c.version, c.total, c.opens_at,"
	" c.closes_at, c.closed", 3 };

static const struct pg_statement exists = { "rebuild_exists",
	"SELECT 1::bigint FROM coupon WHERE id = $1::bigint", 1 };

static const struct pg_statement renew = { "rebuild_renew",
	"UPDATE event_rebuild SET expires_at = now() + " LEASE
	" WHERE coupon_id = $1::bigint AND holder = $2"
	" RETURNING coupon_id", 2 };

static const struct pg_statement release = { "rebuild_release",
	"DELETE FROM event_rebuild WHERE coupon_id = $1::bigint"
	" AND holder = $2", 2 };

static const struct pg_statement leased = { "rebuild_leased",
	"SELECT coupon_id FROM event_rebuild WHERE coupon_id = $1::bigint"
	" AND expires_at > now()", 1 };

static const struct pg_statement missing_acks = { "rebuild_acks",
	"SELECT count(*) FROM api_instance i"
	" WHERE i.seen_at > now() - " ALIVE
	" AND NOT EXISTS (SELECT FROM fence_ack a"
	" WHERE a.coupon_id = $1::bigint AND a.instance_id = i.instance_id"
	" AND a.epoch >= $2::bigint)", 2 };

static const struct pg_statement rejections = { "rebuild_rejections",
	"SELECT user_id, request_id, seq, accepted_at, reason"
	" FROM issue_rejection WHERE coupon_id = $1::bigint"
	" AND (user_id, request_id) > ($2::bigint, $3::text)"
	" ORDER BY user_id, request_id LIMIT $4::bigint", 4 };

static const struct pg_statement rows = { "rebuild_rows",
	"SELECT user_id, request_id, seq, accepted_at FROM user_coupon"
	" WHERE coupon_id = $1::bigint"
	" AND (user_id, request_id) > ($2::bigint, $3)"
	" ORDER BY user_id, request_id LIMIT $4::bigint", 4 };

static const struct pg_statement offsets = { "rebuild_offsets",
	"SELECT partition, next_offset FROM consumer_offset"
	" WHERE group_id = $1 AND topic = $2", 2 };

static const struct pg_statement highest = { "rebuild_highest",
	"SELECT coalesce(max(seq), 0) FROM user_coupon"
	" WHERE coupon_id = $1::bigint", 1 };

static const struct pg_statement beat = { "instance_beat",
	"WITH old AS (DELETE FROM api_instance"
	" WHERE seen_at < now() - interval '1 day')"
	"INSERT INTO api_instance (instance_id, seen_at) VALUES ($1, now())"
	" ON CONFLICT (instance_id) DO UPDATE SET seen_at = now()", 1 };

static const struct pg_statement leave = { "instance_leave",
	"DELETE FROM api_instance WHERE instance_id = $1", 1 };

static const struct pg_statement fences = { "instance_fences",
	"SELECT c.id, c.fence_epoch FROM event_rebuild r"
	" JOIN coupon c ON c.id = r.coupon_id"
	" LEFT JOIN fence_ack a ON a.coupon_id = c.id AND a.instance_id = $1"
	" WHERE r.expires_at > now() AND coalesce(a.epoch, 0) < c.fence_epoch"
	" ORDER BY c.id LIMIT $2::bigint", 2 };

static const struct pg_statement ack = { "instance_ack",
	"INSERT INTO fence_ack (coupon_id, instance_id, epoch)"
	" VALUES ($1::bigint, $2, $3::bigint)"
	" ON CONFLICT (coupon_id, instance_id) DO UPDATE"
	" SET epoch = greatest(fence_ack.epoch, excluded.epoch)", 3 };
/* clang-format on */

/* Longest decimal int64 and its NUL. */
#define NUMBER_SIZE 24
#define PAGE "10000"

static const char *
number(char buf[NUMBER_SIZE], int64_t value)
{
	(void)snprintf(buf, NUMBER_SIZE, "%" PRId64, value);
	return buf;
}

static int
query(const struct store_call *call, const struct pg_statement *statement,
	const char *const *values, PGresult **ret, struct error *err)
{
	const struct pg_query q = { pg_write_pool(call->pg), call->deadline_ns,
		statement, values };

	return pg_query(&q, ret, err);
}

/* For what has no result to read. */
static int
run(const struct store_call *call, const struct pg_statement *statement,
	const char *const *values, struct error *err)
{
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;

	return query(call, statement, values, &result, err);
}

/* The single bigint of a single row; 0 when there is no row. */
static int
query_number(const struct store_call *call,
	const struct pg_statement *statement, const char *const *values,
	int64_t *ret, struct error *err)
{
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	int rc = query(call, statement, values, &result, err);

	if (rc == 0)
		*ret = PQntuples(result) > 0 ? pg_int8(result, 0, 0) : 0;
	return rc;
}

int
rebuild_store_take(const struct store_call *call,
	const struct rebuild_claim *claim, bool *ret_taken,
	struct rebuild_event *ret, struct error *err)
{
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	char id[NUMBER_SIZE], epoch[NUMBER_SIZE];
	const char *const values[] = { number(id, claim->coupon_id),
		claim->holder, number(epoch, claim->redis_epoch) };
	int rc = query(call, &take, values, &result, err);
	int64_t known = 0;

	if (rc != 0)
		return rc;
	*ret_taken = PQntuples(result) > 0;
	if (*ret_taken) {
		*ret = (struct rebuild_event){
			.coupon_id = claim->coupon_id,
			.epoch = pg_int8(result, 0, 0),
			.version = pg_int8(result, 0, 1),
			.total = pg_int4(result, 0, 2),
			.opens_at_ms = pg_timestamp_ms(result, 0, 3),
			.closes_at_ms = pg_timestamp_ms(result, 0, 4),
			.closed = *PQgetvalue(result, 0, 5) != 0,
		};
		return 0;
	}
	rc = query_number(call, &exists, values, &known, err);
	if (rc == 0 && known == 0)
		rc = error_set(err, ERROR_NOT_FOUND,
			"PostgreSQL has no event %" PRId64, claim->coupon_id);
	return rc;
}

int
rebuild_store_renew(const struct store_call *call, int64_t coupon_id,
	const char *holder, struct error *err)
{
	char id[NUMBER_SIZE];
	const char *const values[] = { number(id, coupon_id), holder };
	int64_t renewed = 0;
	int rc = query_number(call, &renew, values, &renewed, err);

	if (rc == 0 && renewed == 0)
		rc = error_set(err, ERROR_CANCELLED,
			"another api rebuilds event %" PRId64 " now",
			coupon_id);
	return rc;
}

int
rebuild_store_release(const struct store_call *call, int64_t coupon_id,
	const char *holder, struct error *err)
{
	char id[NUMBER_SIZE];
	const char *const values[] = { number(id, coupon_id), holder };

	return run(call, &release, values, err);
}

int
rebuild_store_is_leased(const struct store_call *call, int64_t coupon_id,
	bool *ret, struct error *err)
{
	char id[NUMBER_SIZE];
	const char *const values[] = { number(id, coupon_id) };
	int64_t found = 0;
	int rc = query_number(call, &leased, values, &found, err);

	if (rc == 0)
		*ret = found != 0;
	return rc;
}

int
rebuild_store_missing_acks(const struct store_call *call,
	const struct rebuild_event *event, int64_t *ret, struct error *err)
{
	char id[NUMBER_SIZE], epoch[NUMBER_SIZE];
	const char *const values[] = { number(id, event->coupon_id),
		number(epoch, event->epoch) };

	return query_number(call, &missing_acks, values, ret, err);
}

int
rebuild_store_highest(const struct store_call *call, int64_t coupon_id,
	int64_t *ret, struct error *err)
{
	char id[NUMBER_SIZE];
	const char *const values[] = { number(id, coupon_id) };

	return query_number(call, &highest, values, ret, err);
}

/* ---- the cut ---- */

/* A read inside the snapshot's transaction, on its connection. */
struct cut_read {
	const struct rebuild_cut *cut;
	struct pg_conn *conn;
	struct pg_wait wait;
};

static int
read_in(const struct cut_read *read, const struct pg_statement *statement,
	const char *const *values, PGresult **ret, struct error *err)
{
	const struct pg_params params = {
		.values = values,
		.binary_result = true,
	};

	return pg_execute(
		read->conn, &read->wait, statement, &params, ret, err);
}

static void
read_request(
	const PGresult *result, int row, int64_t coupon_id, struct message *ret)
{
	*ret = (struct message){
		.coupon_id = coupon_id,
		.user_id = pg_int8(result, row, 0),
		.seq = pg_int8(result, row, 2),
	};
	(void)snprintf(ret->request_id, sizeof(ret->request_id), "%s",
		PQgetvalue(result, row, 1));
	if (!PQgetisnull(result, row, 3))
		ret->accepted_at_ms = pg_timestamp_ms(result, row, 3);
}

/* One page to the reader; *last is where the next page begins. */
static int
hand_over(const struct cut_read *read, const PGresult *result,
	struct message *last, struct error *err)
{
	const struct rebuild_cut *cut = read->cut;
	bool are_rejections = PQnfields(result) == 5;
	int rc = 0;

	for (int row = 0; rc == 0 && row < PQntuples(result); row++) {
		read_request(result, row, cut->coupon_id, last);
		rc = cut->request(cut->arg, last,
			are_rejections ? PQgetvalue(result, row, 4) : NULL,
			err);
	}
	return rc != 0 ? rc : cut->tick(cut->arg, err);
}

static int
read_all(const struct cut_read *read, const struct pg_statement *statement,
	struct error *err)
{
	struct message last = { 0 };
	int n = 1, rc = 0;

	while (rc == 0 && n > 0) {
		CLEANUP(pg_result_cleanup) PGresult *result = NULL;
		char id[NUMBER_SIZE], user[NUMBER_SIZE];
		const char *const values[] = { number(id, read->cut->coupon_id),
			number(user, last.user_id), last.request_id, PAGE };

		rc = read_in(read, statement, values, &result, err);
		if (rc != 0)
			break;
		n = PQntuples(result);
		rc = hand_over(read, result, &last, err);
	}
	return rc;
}

static int
take_offsets(
	const PGresult *result, struct rebuild_offsets *ret, struct error *err)
{
	ret->n = (size_t)PQntuples(result);
	ret->items = calloc(ret->n + 1, sizeof(*ret->items));
	if (ret->items == NULL)
		return error_set(
			err, ERROR_NO_MEMORY, "rebuild: out of memory");
	for (int i = 0; i < PQntuples(result); i++)
		ret->items[i] = (struct kafka_scan_offset){
			.partition = pg_int4(result, i, 0),
			.next_offset = pg_int8(result, i, 1),
		};
	return 0;
}

static int
read_offsets(const struct cut_read *read, struct rebuild_offsets *ret,
	struct error *err)
{
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	const char *const values[] = { read->cut->group_id, read->cut->topic };
	int rc = read_in(read, &offsets, values, &result, err);

	return rc != 0 ? rc : take_offsets(result, ret, err);
}

static int
read_cut(const struct cut_read *read, struct rebuild_offsets *ret,
	struct error *err)
{
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	int rc = pg_command(read->conn, &read->wait,
		"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", &result,
		err);

	if (rc == 0)
		rc = read_all(read, &rejections, err);
	if (rc == 0)
		rc = read_all(read, &rows, err);
	if (rc == 0)
		rc = read_offsets(read, ret, err);
	if (rc != 0)
		return rc;
	pg_result_cleanup(&result);
	result = NULL;
	rc = pg_command(read->conn, &read->wait, "COMMIT", &result, err);
	if (rc != 0)
		free(ret->items);
	return rc;
}

int
rebuild_store_read(const struct store_call *call, const struct rebuild_cut *cut,
	struct rebuild_offsets *ret, struct error *err)
{
	struct pool *pool = pg_write_pool(call->pg);
	struct pool_entry *entry;
	int rc = pool_acquire(pool, "rebuild", call->deadline_ns, &entry, err);

	if (rc != 0)
		return rc;
	const struct cut_read read = {
		.cut = cut,
		.conn = entry->resource,
		.wait = { call->deadline_ns, -1 },
	};

	rc = read_cut(&read, ret, err);
	/* An open transaction is not idle: pg_verdict() destroys it then. */
	pool_release(pool, &entry, pg_verdict(entry->resource, rc));
	return rc;
}

int
rebuild_store_offsets(const struct store_call *call, const char *group_id,
	const char *topic, struct rebuild_offsets *ret, struct error *err)
{
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	const char *const values[] = { group_id, topic };
	int rc = query(call, &offsets, values, &result, err);

	return rc != 0 ? rc : take_offsets(result, ret, err);
}

/* ---- instances ---- */

int
instance_store_beat(
	const struct store_call *call, const char *instance, struct error *err)
{
	const char *const values[] = { instance };

	return run(call, &beat, values, err);
}

int
instance_store_leave(
	const struct store_call *call, const char *instance, struct error *err)
{
	const char *const values[] = { instance };

	return run(call, &leave, values, err);
}

int
instance_store_fences(const struct store_call *call, const char *instance,
	struct instance_fences *ret, struct error *err)
{
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	char limit[NUMBER_SIZE];
	const char *const values[] = { instance,
		number(limit, INSTANCE_FENCES_MAX) };
	int rc = query(call, &fences, values, &result, err);

	if (rc != 0)
		return rc;
	ret->n = (size_t)PQntuples(result);
	for (size_t i = 0; i < ret->n; i++)
		ret->items[i] = (struct instance_fence){
			.coupon_id = pg_int8(result, (int)i, 0),
			.epoch = pg_int8(result, (int)i, 1),
		};
	return 0;
}

int
instance_store_ack(const struct store_call *call, const char *instance,
	const struct instance_fence *fence, struct error *err)
{
	char id[NUMBER_SIZE], epoch[NUMBER_SIZE];
	const char *const values[] = { number(id, fence->coupon_id), instance,
		number(epoch, fence->epoch) };

	return run(call, &ack, values, err);
}
