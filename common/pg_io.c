/* SPDX-License-Identifier: MIT */
/* Waiting for libpq, and what its answers mean. */
#include "common/clock.h"
#include "common/pg_internal.h"

#include <errno.h>
#include <poll.h>

int
pg_await(PGconn *raw, short events, const struct pg_wait *wait,
	struct error *err)
{
	struct pollfd fds[2] = {
		{ .fd = PQsocket(raw), .events = events },
		{ .fd = wait->cancel_fd, .events = POLLIN },
	};
	int n;

	do
		n = poll(fds, 2, clock_poll_timeout_ms(wait->deadline_ns));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_set(err, ERROR_SYSTEM, "poll: %m");
	if (fds[1].revents != 0)
		return error_set(err, ERROR_CANCELLED,
			"told to stop waiting for PostgreSQL");
	if (n == 0)
		return error_set(err, ERROR_TIMEOUT,
			"PostgreSQL did not answer in time");
	return 0;
}

/* One line of at most `size` - 1 characters. */
static void
flatten(char *line, size_t size, const char *text)
{
	size_t len = 0;

	while (*text != '\0' && len + 1 < size) {
		/* "Is the server running ...": advice that hides the cause */
		if (text[0] == '\n' && text[1] == '\t')
			text += 1 + strcspn(text + 1, "\n");
		else
			line[len++] = *text++;
	}
	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == ' '))
		len--;
	line[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (line[i] == '\n' || line[i] == '\t')
			line[i] = ' ';
}

int
pg_error(PGconn *raw, enum error_kind kind, const char *what, struct error *err)
{
	char line[280];

	flatten(line, sizeof(line), PQerrorMessage(raw));
	return error_set(err, kind, "%s: %s", what, line);
}

static int
connection_lost(struct pg_conn *conn, const char *what, struct error *err)
{
	return pg_error(conn->raw, ERROR_DATABASE_DOWN, what, err);
}

static int
flush(struct pg_conn *conn, const struct pg_wait *wait, const char *what,
	struct error *err)
{
	int rc = PQflush(conn->raw);

	while (rc > 0) {
		const int waited =
			pg_await(conn->raw, POLLIN | POLLOUT, wait, err);

		if (waited != 0)
			return waited;
		/* the server may have to write before it can read */
		if (PQconsumeInput(conn->raw) == 0)
			return connection_lost(conn, what, err);
		rc = PQflush(conn->raw);
	}
	return rc == 0 ? 0 : connection_lost(conn, what, err);
}

/*
 * 0 and *ret, which is NULL after the last one.  Of a connection that broke,
 * libpq makes a result too: what the server said last, or its own words.
 */
static int
next_result(struct pg_conn *conn, const struct pg_wait *wait, PGresult **ret,
	struct error *err)
{
	bool open = true;

	while (open && PQisBusy(conn->raw) != 0) {
		const int rc = pg_await(conn->raw, POLLIN, wait, err);

		if (rc != 0)
			return rc;
		open = PQconsumeInput(conn->raw) != 0;
	}
	*ret = PQgetResult(conn->raw);
	return 0;
}

static bool
is_good(const PGresult *result)
{
	const ExecStatusType status = PQresultStatus(result);

	return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
	       status == PGRES_EMPTY_QUERY;
}

/* The first bad result, else the last one. */
static int
collect(struct pg_conn *conn, const struct pg_wait *wait, const char *what,
	PGresult **kept, struct error *err)
{
	for (;;) {
		PGresult *result = NULL;
		const int rc = next_result(conn, wait, &result, err);

		if (rc != 0 || result == NULL)
			return rc;
		if (*kept != NULL && !is_good(*kept)) {
			PQclear(result);
			continue;
		}
		PQclear(*kept);
		*kept = result;
		/* a COPY would never end by itself */
		if (!is_good(result) &&
			PQresultStatus(result) != PGRES_FATAL_ERROR)
			return error_set(err, ERROR_DATABASE_DOWN,
				"%s: unexpected %s", what,
				PQresStatus(PQresultStatus(result)));
	}
}

/* SQLSTATEs after which this server is of no use to its whole pool. */
static bool
means_down(const char *sqlstate)
{
	static const char *const codes[] = {
		"25006", /* read-only: the primary is a standby now */
		"57P01", /* admin_shutdown */
		"57P02", /* crash_shutdown */
		"57P03", /* cannot_connect_now */
	};

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (strcmp(sqlstate, codes[i]) == 0)
			return true;
	return strncmp(sqlstate, "08", 2) == 0; /* connection exceptions */
}

/* What the statement's own error means for the caller. */
static int
classify(struct pg_conn *conn, const PGresult *result, const char *what,
	struct error *err)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	char line[280];

	if (sqlstate == NULL || text == NULL) /* libpq's own: no server */
		return connection_lost(conn, what, err);
	flatten(line, sizeof(line), text);
	if (means_down(sqlstate))
		return error_set_code(err, ERROR_DATABASE_DOWN, sqlstate,
			"%s: %s", what, line);
	/* a cached plan that no longer fits, or a statement that is gone */
	if (strcmp(sqlstate, "0A000") == 0 || strcmp(sqlstate, "26000") == 0)
		conn->dirty = true;
	return error_set_code(
		err, ERROR_DATABASE_ERROR, sqlstate, "%s: %s", what, line);
}

int
pg_finish(struct pg_conn *conn, const struct pg_wait *wait, const char *what,
	PGresult **ret, struct error *err)
{
	PGresult *result = NULL;
	int rc = flush(conn, wait, what, err);

	if (rc == 0)
		rc = collect(conn, wait, what, &result, err);
	if (rc == 0 && !is_good(result))
		rc = classify(conn, result, what, err);
	if (rc == 0) {
		*ret = result;
		return 0;
	}
	PQclear(result);
	if (rc != -ERROR_DATABASE_ERROR)
		conn->dirty = true;
	if (rc == -ERROR_DATABASE_DOWN)
		pg_source_failed(conn, err);
	return rc;
}
