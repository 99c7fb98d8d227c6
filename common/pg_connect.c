/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * libpq's connect_timeout works only in its blocking functions: with several
 * hosts and PQconnectPoll(), a first host that swallows packets would take
 * all the time there is.  So the URI is taken apart and the hosts are tried
 * one by one, each with an equal share of what is left, beginning with the
 * one that worked last (readers: with the next one, which spreads them).
 *
 * Names are looked up by libpq, which blocks; that happens on a thread of the
 * pool only.
 */
#include "common/clock.h"
#include "common/pg_internal.h"

#include <poll.h>

#define PARAMS_MAX 96
#define HOST_SIZE 256

/* What every session promises: nobody who stops may block others for long. */
static const char session_sql[] =
	"SET lock_timeout = '3s';"
	"SET statement_timeout = '10s';"
	"SET idle_in_transaction_session_timeout = '5s';"
	"SET TimeZone = 'UTC'";

struct pg_target {
	PQconninfoOption *options; /* NULL-keyword-terminated */
	char *password;            /* NULL: as libpq finds it */
	const char *application;
	bool writable;
	unsigned n_hosts;
	atomic_uint first; /* the host to begin with */
};

struct params {
	const char *keys[PARAMS_MAX + 1], *values[PARAMS_MAX + 1];
	size_t n;
};

static const char *
option(const struct pg_target *target, const char *key)
{
	for (const PQconninfoOption *o = target->options; o->keyword; o++)
		if (strcmp(o->keyword, key) == 0)
			return o->val;
	return NULL;
}

static unsigned
count_items(const char *list)
{
	unsigned n = 1;

	for (; list != NULL && *list != '\0'; list++)
		n += *list == ',';
	return n;
}

/* The i-th of a comma-separated list; of a single one always that. */
static void
item(const char *list, unsigned i, char buf[HOST_SIZE])
{
	const bool single = strchr(list, ',') == NULL;

	for (; i > 0 && !single; i--)
		list = strchr(list, ',') + 1;
	(void)snprintf(buf, HOST_SIZE, "%.*s", (int)strcspn(list, ","), list);
}

static void
put(struct params *params, const char *key, const char *value)
{
	if (params->n == PARAMS_MAX)
		abort(); /* libpq 15 has 42 */
	params->keys[params->n] = key;
	params->values[params->n++] = value;
}

/* Ours unless the URI says something. */
static void
put_defaults(const struct pg_target *target, struct params *params)
{
	const char *const defaults[][2] = {
		{ "application_name", target->application },
		{ "client_encoding", "UTF8" },
		{ "target_session_attrs",
			target->writable ? "read-write" : "any" },
		{ "keepalives_idle", "10" },
		{ "keepalives_interval", "3" },
		{ "keepalives_count", "3" },
		{ "tcp_user_timeout", "5000" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++)
		if (option(target, defaults[i][0]) == NULL)
			put(params, defaults[i][0], defaults[i][1]);
}

/* Of several hosts, only the one to be tried. */
struct one_host {
	char host[HOST_SIZE], hostaddr[HOST_SIZE], port[HOST_SIZE];
};

static const char *
narrowed(const PQconninfoOption *o, unsigned i, struct one_host *one)
{
	char *buf = NULL;

	if (strcmp(o->keyword, "host") == 0)
		buf = one->host;
	else if (strcmp(o->keyword, "hostaddr") == 0)
		buf = one->hostaddr;
	else if (strcmp(o->keyword, "port") == 0)
		buf = one->port;
	if (buf == NULL)
		return o->val;
	item(o->val, i, buf);
	return buf;
}

static PGconn *
start(const struct pg_target *target, unsigned i)
{
	struct params params = { .n = 0 };
	struct one_host one;

	for (const PQconninfoOption *o = target->options; o->keyword; o++) {
		if (o->val == NULL)
			continue;
		if (target->password != NULL &&
			strcmp(o->keyword, "password") == 0)
			continue;
		put(&params, o->keyword, narrowed(o, i, &one));
	}
	if (target->password != NULL)
		put(&params, "password", target->password);
	put_defaults(target, &params);
	return PQconnectStartParams(params.keys, params.values, 0);
}

static int
shake_hands(PGconn *raw, const struct pg_wait *wait, struct error *err)
{
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	while (status == PGRES_POLLING_READING ||
		status == PGRES_POLLING_WRITING) {
		if (PQstatus(raw) == CONNECTION_BAD)
			break;
		const int rc = pg_await(raw,
			status == PGRES_POLLING_READING ? POLLIN : POLLOUT,
			wait, err);
		if (rc != 0)
			return rc;
		status = PQconnectPoll(raw);
	}
	if (status != PGRES_POLLING_OK)
		return pg_error(raw, ERROR_DATABASE_DOWN, "connect", err);
	return 0;
}

static void
ignore_notice(void *arg, const PGresult *result)
{
	(void)arg;
	(void)result;
}

static int
set_session(PGconn *raw, const struct pg_wait *wait, struct error *err)
{
	struct pg_conn conn = { .raw = raw };
	PGresult *result = NULL;
	const int rc = pg_command(&conn, wait, session_sql, &result, err);

	PQclear(result);
	return rc;
}

static int
connect_host(const struct pg_target *target, unsigned i,
	const struct pg_wait *wait, PGconn **ret, struct error *err)
{
	PGconn *raw = start(target, i);
	int rc;

	if (raw == NULL)
		return error_set(err, ERROR_NO_MEMORY, "connect: no memory");
	PQsetNoticeReceiver(raw, ignore_notice, NULL);
	rc = shake_hands(raw, wait, err);
	if (rc == 0 && PQsetnonblocking(raw, 1) != 0)
		rc = pg_error(raw, ERROR_DATABASE_DOWN, "connect", err);
	if (rc == 0)
		rc = set_session(raw, wait, err);
	if (rc != 0) {
		PQfinish(raw);
		return rc;
	}
	*ret = raw;
	return 0;
}

int
pg_connect(struct pg_target *target, const struct pg_wait *wait, PGconn **ret,
	struct error *err)
{
	const unsigned first = atomic_load(&target->first);
	int rc = 0;

	for (unsigned i = 0; i < target->n_hosts; i++) {
		const unsigned host = (first + i) % target->n_hosts;
		const int64_t now = clock_now_ns();
		const struct pg_wait share = {
			.deadline_ns = now + (wait->deadline_ns - now) /
						     (target->n_hosts - i),
			.cancel_fd = wait->cancel_fd,
		};

		rc = connect_host(target, host, &share, ret, err);
		if (rc == 0)
			atomic_store(&target->first,
				target->writable ? host : host + 1);
		if (rc == 0 || rc == -ERROR_CANCELLED)
			return rc;
	}
	return rc;
}

struct pg_target *
pg_target_new(const char *uri, const char *password, const char *application,
	bool writable)
{
	struct pg_target *target = calloc(1, sizeof(*target));

	if (target == NULL)
		abort();
	target->options = PQconninfoParse(uri, NULL);
	if (target->options == NULL) {
		free(target);
		return NULL;
	}
	if (password != NULL && *password != '\0') {
		target->password = strdup(password);
		if (target->password == NULL)
			abort();
	}
	target->application = application;
	target->writable = writable;
	target->n_hosts = count_items(option(target, "hostaddr"));
	if (target->n_hosts == 1)
		target->n_hosts = count_items(option(target, "host"));
	return target;
}

void
pg_target_free(struct pg_target *target)
{
	if (target == NULL)
		return;
	PQconninfoFree(target->options);
	free(target->password);
	free(target);
}
