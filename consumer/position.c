/* SPDX-License-Identifier: MIT */
#include "consumer/position.h"

#include "common/error.h"
#include "common/pg.h"
#include "consumer/lease.h"

#include <inttypes.h>

#define INT64_TEXT 21

static const struct pg_statement take = {
	.name = "position_take",
	.sql = "INSERT INTO consumer_offset AS o"
	       " (group_id, topic, partition, next_offset, owner_epoch)"
	       " VALUES ($1, $2, $3::integer, $4::bigint, 1)"
	       " ON CONFLICT (group_id, topic, partition) DO UPDATE"
	       " SET owner_epoch = o.owner_epoch + 1, updated_at = now()"
	       " RETURNING owner_epoch, next_offset, newest_ms",
	.n_params = 4,
};

static const struct pg_statement read_row = {
	.name = "position_read",
	.sql = "SELECT owner_epoch, next_offset FROM consumer_offset"
	       " WHERE group_id = $1 AND topic = $2"
	       " AND partition = $3::integer",
	.n_params = 3,
};

static const struct pg_statement move = {
	.name = "position_move",
	.sql = "UPDATE consumer_offset"
	       " SET next_offset = $6::bigint, updated_at = now(),"
	       "  newest_ms = greatest(newest_ms, $7::bigint)"
	       " WHERE group_id = $1 AND topic = $2"
	       " AND partition = $3::integer"
	       " AND owner_epoch = $4::bigint AND next_offset = $5::bigint"
	       " RETURNING next_offset",
	.n_params = 7,
};

/* Parameters are text, results binary. */
static int
execute(const struct lease *lease, const struct pg_statement *statement,
	const char *const *values, PGresult **ret, struct error *err)
{
	const struct pg_params params = { .values = values,
		.binary_result = true };

	return pg_execute(
		lease->conn, &lease->wait, statement, &params, ret, err);
}

int
position_take(const struct lease *lease, struct position *pos,
	int64_t first_offset, struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;
	char partition[INT64_TEXT];
	char first[INT64_TEXT];

	(void)snprintf(
		partition, sizeof(partition), "%" PRId32, pos->partition);
	(void)snprintf(first, sizeof(first), "%" PRId64, first_offset);
	const char *const values[] = { pos->group, pos->topic, partition,
		first };
	int rc = execute(lease, &take, values, &result, err);
	if (rc != 0)
		return rc;
	pos->epoch = pg_int8(result, 0, 0);
	pos->next_offset = pg_int8(result, 0, 1);
	pos->newest_ms = pg_int8(result, 0, 2);
	return 0;
}

int
position_read(const struct lease *lease, const struct position *pos,
	enum position_state *ret_state, int64_t *ret_next, struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;
	char partition[INT64_TEXT];

	(void)snprintf(
		partition, sizeof(partition), "%" PRId32, pos->partition);
	const char *const values[] = { pos->group, pos->topic, partition };
	int rc = execute(lease, &read_row, values, &result, err);
	if (rc != 0)
		return rc;
	if (PQntuples(result) == 0 || pg_int8(result, 0, 0) != pos->epoch) {
		*ret_state = POSITION_LOST;
		return 0;
	}
	*ret_next = pg_int8(result, 0, 1);
	*ret_state =
		*ret_next == pos->next_offset ? POSITION_MINE : POSITION_MOVED;
	return 0;
}

int
position_move(const struct lease *lease, const struct position *pos,
	const struct position_step *step, bool *ret_moved, struct error *err)
{
	PGresult *result CLEANUP(pg_result_cleanup) = NULL;
	char partition[INT64_TEXT];
	char epoch[INT64_TEXT];
	char from[INT64_TEXT];
	char next[INT64_TEXT];
	char newest[INT64_TEXT];

	(void)snprintf(
		partition, sizeof(partition), "%" PRId32, pos->partition);
	(void)snprintf(epoch, sizeof(epoch), "%" PRId64, pos->epoch);
	(void)snprintf(from, sizeof(from), "%" PRId64, pos->next_offset);
	(void)snprintf(next, sizeof(next), "%" PRId64, step->to);
	(void)snprintf(newest, sizeof(newest), "%" PRId64, step->newest_ms);
	const char *const values[] = { pos->group, pos->topic, partition, epoch,
		from, next, newest };
	int rc = execute(lease, &move, values, &result, err);
	if (rc != 0)
		return rc;
	*ret_moved = PQntuples(result) == 1;
	return 0;
}
