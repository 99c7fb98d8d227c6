/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * hiredis is used for what it does without waiting (formatting, buffers,
 * parsing); waiting is ours, with poll() and the caller's deadline, because
 * hiredis knows only a time-out per system call and starts it anew with each.
 *
 * A reply belongs to the oldest command without one.  Should a call end
 * before its reply came, the next user of the connection would get it: that
 * is how other people's data is handed out.  So `unanswered` counts the
 * commands whose reply is still to come, the callers destroy such a
 * connection (redis_verdict()), and should one slip back into the pool all
 * the same, redis_call() refuses to use it.
 */
#include "common/redis.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/redis_conn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct redis_conn {
	redisContext *context;
	unsigned unanswered; /* commands appended whose reply was not read */
};

/* Wait until the socket is ready for `events`. */
static int
await_ready(struct redis_conn *conn, short events, int64_t deadline_ns,
	struct error *err)
{
	struct pollfd pfd = { .fd = redis_conn_fd(conn), .events = events };

	for (;;) {
		int n = poll(&pfd, 1, clock_poll_timeout_ms(deadline_ns));

		if (n > 0)
			return 0;
		if (n == 0)
			return error_set(
				err, ERROR_TIMEOUT, "redis: no answer in time");
		if (errno != EINTR)
			return error_set(err, ERROR_SYSTEM, "redis: poll: %s",
				strerrordesc_np(errno));
	}
}

static int
lost(struct redis_conn *conn, struct error *err)
{
	return error_set(
		err, ERROR_CONNECTION_LOST, "redis: %s", conn->context->errstr);
}

static int
flush(struct redis_conn *conn, int64_t deadline_ns, struct error *err)
{
	for (;;) {
		int done = 0;

		if (redisBufferWrite(conn->context, &done) != REDIS_OK)
			return lost(conn, err);
		if (done)
			return 0;

		int rc = await_ready(conn, POLLOUT, deadline_ns, err);

		if (rc < 0)
			return rc;
	}
}

int
redis_send(struct redis_conn *conn, const struct redis_args *args,
	struct error *err)
{
	if (redisAppendCommandArgv(conn->context, args->argc, args->argv,
		    args->argvlen) != REDIS_OK)
		return error_set(err, ERROR_NO_MEMORY, "redis: out of memory");
	conn->unanswered++;
	return 0;
}

/* "OOM command not allowed ..." -> its first word and its text. */
static int
error_reply(const struct redisReply *reply, struct error *err)
{
	char code[sizeof(err->code)] = "";
	size_t len = strcspn(reply->str, " ");

	if (len < sizeof(code))
		memcpy(code, reply->str, len);
	return error_set_code(
		err, ERROR_REDIS_ERROR, code, "redis: %s", reply->str);
}

/* The next reply, whatever it says. */
static int
next_reply(struct redis_conn *conn, int64_t deadline_ns,
	struct redisReply **ret, struct error *err)
{
	for (;;) {
		void *reply = NULL;

		if (redisGetReplyFromReader(conn->context, &reply) != REDIS_OK)
			return lost(conn, err);
		if (reply != NULL) {
			*ret = reply;
			return 0;
		}

		int rc = await_ready(conn, POLLIN, deadline_ns, err);

		if (rc < 0)
			return rc;
		if (redisBufferRead(conn->context) != REDIS_OK)
			return lost(conn, err);
	}
}

int
redis_receive(struct redis_conn *conn, int64_t deadline_ns,
	struct redisReply **ret_reply, struct error *err)
{
	struct redisReply *reply = NULL;
	int rc = flush(conn, deadline_ns, err);

	if (rc == 0)
		rc = next_reply(conn, deadline_ns, &reply, err);
	if (reply == NULL)
		return rc;
	conn->unanswered--;
	if (reply->type == REDIS_REPLY_ERROR) {
		rc = error_reply(reply, err);
		freeReplyObject(reply);
		return rc;
	}
	*ret_reply = reply;
	return 0;
}

/* The second line of defence of the rule above. */
static int
refuse_if_dirty(const struct redis_conn *conn, struct error *err)
{
	if (conn->unanswered == 0 && conn->context->err == 0)
		return 0;
	return error_set(err, ERROR_CONNECTION_LOST,
		"redis: the connection has an unread reply");
}

int
redis_call(struct redis_conn *conn, int64_t deadline_ns,
	const struct redis_args *args, struct redisReply **ret_reply,
	struct error *err)
{
	int rc = refuse_if_dirty(conn, err);

	if (rc == 0)
		rc = redis_send(conn, args, err);
	if (rc == 0)
		rc = redis_receive(conn, deadline_ns, ret_reply, err);
	return rc;
}

int
redis_callf(struct redis_conn *conn, int64_t deadline_ns,
	struct redisReply **ret_reply, struct error *err, const char *format,
	...)
{
	int rc = refuse_if_dirty(conn, err);
	va_list ap;

	if (rc < 0)
		return rc;
	va_start(ap, format);
	rc = redisvAppendCommand(conn->context, format, ap);
	va_end(ap);
	if (rc != REDIS_OK)
		return error_set(err, ERROR_NO_MEMORY, "redis: %s",
			conn->context->errstr);
	conn->unanswered++;
	return redis_receive(conn, deadline_ns, ret_reply, err);
}

/* In front of a script's own arguments. */
enum { EVAL_VERB, EVAL_SCRIPT, EVAL_N_KEYS, EVAL_ARGS };

static void
set_head(const char **argv, size_t *len, const char *verb, const char *script)
{
	argv[EVAL_VERB] = verb;
	len[EVAL_VERB] = strlen(verb);
	argv[EVAL_SCRIPT] = script;
	len[EVAL_SCRIPT] = strlen(script);
}

int
redis_eval(struct redis_conn *conn, int64_t deadline_ns,
	const struct redis_script_call *call, struct redisReply **ret_reply,
	struct error *err)
{
	const size_t n_args = (size_t)call->args.argc;
	const char **argv = calloc(n_args + EVAL_ARGS, sizeof(*argv));
	size_t *len = calloc(n_args + EVAL_ARGS, sizeof(*len));
	const struct redis_args args = { (int)n_args + EVAL_ARGS, argv, len };
	char n_keys[16];
	int rc;

	if (argv == NULL || len == NULL) {
		free(argv);
		free(len);
		return error_set(err, ERROR_NO_MEMORY, "redis: out of memory");
	}
	set_head(argv, len, "EVALSHA", call->script->sha1);
	argv[EVAL_N_KEYS] = n_keys;
	len[EVAL_N_KEYS] =
		(size_t)snprintf(n_keys, sizeof(n_keys), "%d", call->n_keys);
	for (size_t i = 0; i < n_args; i++) {
		argv[EVAL_ARGS + i] = call->args.argv[i];
		len[EVAL_ARGS + i] = call->args.argvlen[i];
	}
	rc = redis_call(conn, deadline_ns, &args, ret_reply, err);
	if (rc == -ERROR_REDIS_ERROR && strcmp(err->code, "NOSCRIPT") == 0) {
		set_head(argv, len, "EVAL", call->script->text);
		rc = redis_call(conn, deadline_ns, &args, ret_reply, err);
	}
	free(argv);
	free(len);
	return rc;
}

bool
redis_refuses_all(const struct error *err)
{
	static const char *const codes[] = { "BUSY", "CLUSTERDOWN", "LOADING",
		"MASTERDOWN", "MISCONF", "NOAUTH", "NOPERM", "NOREPLICAS",
		"OOM", "READONLY", "WRONGPASS" };

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (strcmp(err->code, codes[i]) == 0)
			return true;
	return false;
}

enum pool_return
redis_verdict(int rc)
{
	return rc == 0 || rc == -ERROR_REDIS_ERROR ? POOL_REUSE : POOL_DESTROY;
}

struct redisContext *
redis_conn_context(struct redis_conn *conn)
{
	return conn->context;
}

int
redis_conn_fd(const struct redis_conn *conn)
{
	return (int)conn->context->fd;
}

void
redis_conn_close(struct redis_conn *conn)
{
	if (conn == NULL)
		return;
	if (conn->context != NULL)
		redisFree(conn->context);
	free(conn);
}

/* Best effort: a connection without these still works. */
static void
tune_socket(int fd, int64_t user_timeout_ns)
{
	const int on = 1, idle_s = 15, interval_s = 5, probes = 3;
	const unsigned user_ms = (unsigned)(user_timeout_ns / NS_PER_MS);

	(void)fcntl(fd, F_SETFD, FD_CLOEXEC); /* hiredis 0.14 does not */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(
		fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s,
		sizeof(interval_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	(void)setsockopt(
		fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_ms, sizeof(user_ms));
}

static int
await_connected(struct redis_conn *conn, int64_t deadline_ns, struct error *err)
{
	int failure = 0;
	socklen_t len = sizeof(failure);
	int rc = await_ready(conn, POLLOUT, deadline_ns, err);

	if (rc < 0)
		return rc;
	if (getsockopt(redis_conn_fd(conn), SOL_SOCKET, SO_ERROR, &failure,
		    &len) != 0)
		failure = errno;
	if (failure == 0)
		return 0;
	return error_set(err, ERROR_CONNECT_FAILING, "redis: %s",
		strerrordesc_np(failure));
}

static int
connect_to(struct redis_conn *conn, const struct redis_target *target,
	int64_t deadline_ns, struct error *err)
{
	if (conn->context == NULL)
		return error_set(err, ERROR_NO_MEMORY, "redis: out of memory");
	if (conn->context->err != 0)
		return error_set(err, ERROR_CONNECT_FAILING, "redis: %s",
			conn->context->errstr);

	int rc = await_connected(conn, deadline_ns, err);

	if (rc == 0)
		tune_socket(redis_conn_fd(conn), target->user_timeout_ns);
	return rc;
}

int
redis_conn_open(const struct redis_target *target, int64_t deadline_ns,
	struct redis_conn **ret, struct error *err)
{
	struct redis_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return error_set(err, ERROR_NO_MEMORY, "redis: out of memory");
	conn->context = redisConnectNonBlock(target->host, target->port);

	int rc = connect_to(conn, target, deadline_ns, err);

	if (rc < 0) {
		redis_conn_close(conn);
		return rc;
	}
	*ret = conn;
	return 0;
}

void
redis_key(char buf[REDIS_KEY_SIZE], int64_t coupon_id, const char *part)
{
	(void)snprintf(
		buf, REDIS_KEY_SIZE, "{c:%" PRId64 "}:%s", coupon_id, part);
}
