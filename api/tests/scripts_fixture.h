/* SPDX-License-Identifier: MIT */
/*
 * scripts_fixture - the scripts on a real Redis, called like functions.
 * Include it in one test file.
 */
#ifndef API_TESTS_SCRIPTS_FIXTURE_H
#define API_TESTS_SCRIPTS_FIXTURE_H

#include "api/scripts.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/redis_conn.h"
#include "common/tests/redis_server.h"
#include "common/tests/unit.h"

#include <hiredis/hiredis.h>
#include <signal.h>

static struct redis_server server;
static struct redis_conn *conn;

static inline int64_t
soon(void)
{
	return clock_now_ns() + 5 * NS_PER_S;
}

static inline void
note_sha1(void *ctx, size_t i, const char *sha1)
{
	(void)ctx;
	memcpy(scripts[i].sha1, sha1, sizeof(scripts[i].sha1));
}

static inline void
reconnect(void)
{
	const struct redis_target target = { .host = "127.0.0.1",
		.port = server.port };
	const struct redis_setup setup = { .scripts = scripts,
		.n_scripts = SCRIPTS_COUNT,
		.loaded = note_sha1 };
	struct redis_facts facts;
	struct error err;

	redis_conn_close(conn);
	conn = NULL;
	if (redis_conn_open(&target, soon(), &conn, &err) != 0 ||
		redis_conn_setup(conn, &setup, soon(), &facts, &err) != 0)
		fail_msg("%s", err.msg);
}

static inline int
start_server(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	redis_server_start(&server);
	reconnect();
	return 0;
}

static inline int
stop_server(void **state)
{
	(void)state;
	redis_conn_close(conn);
	redis_server_stop(&server);
	return 0;
}

/* The reply of a command that must succeed. */
#define REDIS(...)                                                             \
	({                                                                     \
		struct redisReply *reply_ = NULL;                              \
		struct error err_;                                             \
		if (redis_callf(conn, soon(), &reply_, &err_, __VA_ARGS__) !=  \
			0)                                                     \
			fail_msg("%s", err_.msg);                              \
		reply_;                                                        \
	})
#define DO(...) freeReplyObject(REDIS(__VA_ARGS__))

static inline long long
redis_integer(struct redisReply *reply)
{
	const long long value = reply->integer;

	assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
	freeReplyObject(reply);
	return value;
}

/* Call a script for coupon 1 with these arguments; free the reply. */
static inline struct redisReply *
call_script(enum script_id id, int n_keys, int argc, const char *const *args)
{
	const char *argv[32];
	size_t argvlen[32];
	struct event_keys keys;
	struct redisReply *reply = NULL;
	struct error err;
	int n;

	event_keys_init(&keys, 1);
	n = event_keys_to_argv(&keys, n_keys < EVENT_KEYS ? n_keys : EVENT_KEYS,
		argv, argvlen);
	for (int i = 0; i < argc; i++) {
		argv[n + i] = args[i];
		argvlen[n + i] = strlen(args[i]);
	}

	/* What a script takes beyond the event's keys, `args` begins with. */
	const struct redis_script_call call = { &scripts[id], n_keys,
		{ n + argc, argv, argvlen } };

	if (redis_eval(conn, soon(), &call, &reply, &err) != 0)
		fail_msg("%s: %s", scripts[id].name, err.msg);
	return reply;
}
#define CALL(id, ...)                                                          \
	call_script(SCRIPT_##id, SCRIPT_##id##_KEYS,                           \
		(int)ARRAY_SIZE(((const char *[]){ __VA_ARGS__ })),            \
		(const char *[]){ __VA_ARGS__ })

/* One call for n requests: args is the outbox limit, user, request, user ... */
static inline void
issue_each(const char *const *args, size_t n, struct issue_reply *ret)
{
	struct redisReply *reply = call_script(
		SCRIPT_ISSUE, SCRIPT_ISSUE_KEYS, (int)(2 * n + 1), args);

	assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
	assert_int_equal(reply->elements, n);
	memset(ret, 0, n * sizeof(*ret));
	for (size_t i = 0; i < n; i++) {
		if (issue_reply_parse(reply->element[i], &ret[i]) != 0)
			fail_msg("issue.lua said %s", reply->element[i]->str);
	}
	freeReplyObject(reply);
}

static inline struct issue_reply
issue_up_to(const char *user, const char *request, const char *outbox_limit)
{
	struct issue_reply ret;

	issue_each((const char *[]){ outbox_limit, user, request }, 1, &ret);
	return ret;
}

static inline struct issue_reply
issue(const char *user, const char *request)
{
	return issue_up_to(user, request, "100000");
}

static inline struct status_reply
status_of(const char *user, const char *request)
{
	struct redisReply *reply = CALL(STATUS, user, request);
	struct status_reply ret;

	assert_int_equal(status_reply_parse(reply, &ret), 0);
	freeReplyObject(reply);
	return ret;
}

static inline struct event_figures
figures(void)
{
	struct redisReply *reply =
		call_script(SCRIPT_EVENT_READ, SCRIPT_EVENT_READ_KEYS, 0, NULL);
	struct event_figures ret;

	assert_int_equal(event_figures_parse(reply, &ret), 0);
	freeReplyObject(reply);
	return ret;
}

static inline void
load(const char *total)
{
	DO("FLUSHALL");
	DO("HSET {c:1}:event total %s next 1 opensAt 1000"
	   " closesAt 99999999999999 closed 0 version 1 epoch 0 fenced 0"
	   " lastSeen 0",
		total);
}

#endif
