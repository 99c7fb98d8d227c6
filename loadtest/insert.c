/* SPDX-License-Identifier: MIT */
/*
 * insert - the bare batched INSERT, to measure the consumer's against.
 *
 *	insert URI [ROWS [BATCH]]
 *
 * One connection, unnest() over binary arrays, one transaction per batch: no
 * Kafka, no JSON, no offset, no rejections, no check of the total.  The table
 * and its keys are the real ones.  Prints rows/s.
 */
#include "common/clock.h"
#include "common/error.h"
#include "common/pg.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SQL                                                                    \
	"INSERT INTO user_coupon"                                              \
	" (coupon_id, user_id, seq, request_id, accepted_at)"                  \
	" SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[],"      \
	" $4::text[], $5::timestamptz[]) ON CONFLICT DO NOTHING"

enum { COLUMNS = 5 };

static void
must(bool ok, PGconn *conn)
{
	if (ok)
		return;
	(void)fprintf(stderr, "insert: %s", PQerrorMessage(conn));
	exit(EXIT_FAILURE); /* NOLINT(concurrency-mt-unsafe): one thread */
}

static int64_t
new_event(PGconn *conn, int64_t rows)
{
	char sql[200];

	(void)snprintf(sql, sizeof(sql),
		"INSERT INTO coupon (name, total, opens_at, closes_at) VALUES"
		" ('bare insert', %" PRId64 ", now(), now() + '1 day')"
		" RETURNING id",
		rows);
	PGresult *result = PQexec(conn, sql);
	must(PQresultStatus(result) == PGRES_TUPLES_OK, conn);
	int64_t id = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return id;
}

/* Users in no order, as they come in life. */
static void
fill(struct pg_array columns[COLUMNS], int64_t coupon, int64_t first, int64_t n)
{
	static const enum pg_array_type types[COLUMNS] = { PG_ARRAY_INT8,
		PG_ARRAY_INT8, PG_ARRAY_INT8, PG_ARRAY_TEXT,
		PG_ARRAY_TIMESTAMPTZ };
	int64_t now_ms = clock_wall_ms();
	char request[32];

	for (int i = 0; i < COLUMNS; i++)
		pg_array_start(&columns[i], types[i]);
	for (int64_t seq = first; seq < first + n; seq++) {
		(void)snprintf(
			request, sizeof(request), "01JD%022" PRId64, seq);
		pg_array_int8(&columns[0], coupon);
		pg_array_int8(&columns[1], seq * 7919 % 1000003 + 1);
		pg_array_int8(&columns[2], seq);
		pg_array_text(&columns[3], request);
		pg_array_timestamp_ms(&columns[4], now_ms);
	}
	for (int i = 0; i < COLUMNS; i++)
		pg_array_finish(&columns[i]);
}

static void
insert(PGconn *conn, const struct pg_array columns[COLUMNS])
{
	const char *values[COLUMNS];
	int lengths[COLUMNS];
	int formats[COLUMNS];

	for (int i = 0; i < COLUMNS; i++) {
		values[i] = columns[i].data;
		lengths[i] = (int)columns[i].len;
		formats[i] = 1;
	}
	PGresult *result = PQexecPrepared(
		conn, "insert", COLUMNS, values, lengths, formats, 1);
	must(PQresultStatus(result) == PGRES_COMMAND_OK, conn);
	PQclear(result);
}

int
main(int argc, char **argv)
{
	struct pg_array columns[COLUMNS] = { 0 };
	int64_t rows = argc > 2 ? strtoll(argv[2], NULL, 10) : 200000;
	int64_t batch = argc > 3 ? strtoll(argv[3], NULL, 10) : 500;

	if (argc < 2 || rows < 1 || batch < 1) {
		(void)fprintf(stderr, "insert URI [ROWS [BATCH]]\n");
		return 2;
	}
	PGconn *conn = PQconnectdb(argv[1]);
	must(PQstatus(conn) == CONNECTION_OK, conn);
	int64_t coupon = new_event(conn, rows);
	PQclear(PQprepare(conn, "insert", SQL, 0, NULL));

	int64_t start_ns = clock_now_ns();
	for (int64_t seq = 1; seq <= rows; seq += batch) {
		int64_t left = rows - seq + 1;
		fill(columns, coupon, seq, left < batch ? left : batch);
		insert(conn, columns);
	}
	double seconds = (double)(clock_now_ns() - start_ns) / NS_PER_S;
	printf("%" PRId64 " rows in %.2f s: %.0f rows/s\n", rows, seconds,
		(double)rows / seconds);
	for (int i = 0; i < COLUMNS; i++)
		pg_array_free(&columns[i]);
	PQfinish(conn);
	return EXIT_SUCCESS;
}
