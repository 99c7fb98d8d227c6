/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * The rebuilt users and free numbers are written under keys of their own,
 * named after the epoch, in the event's hash slot; one script renames them.
 * They are set to expire together with each batch, so that a rebuild leaves
 * nothing for long wherever it ends, and two of them never write to the same
 * keys.
 */
#include "api/rebuild_redis.h"

#include "api/rebuild_plan.h"
#include "api/rebuild_store.h"
#include "api/scripts.h"
#include "common/error.h"
#include "common/redis.h"
#include "common/redis_scan.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>

#define EXPIRE_S 600

enum { BATCH = 500, FIELD_SIZE = 96, VALUE_SIZE = 128, NUMBER_SIZE = 24 };

/* A connection borrowed for one stage. */
struct stage {
	const struct rebuild_redis *call;
	struct pool *pool;
	struct pool_entry *entry;
};

static int
stage_begin(struct stage *stage, const struct rebuild_redis *call,
	struct error *err)
{
	stage->call = call;
	stage->pool = redis_shard_pool(call->shards, call->coupon_id);
	return pool_acquire(
		stage->pool, "rebuild", call->deadline_ns, &stage->entry, err);
}

static void
stage_end(struct stage *stage, int rc)
{
	pool_release(stage->pool, &stage->entry, redis_verdict(rc));
}

static int
unexpected(struct error *err, const char *what)
{
	return error_set(
		err, ERROR_REDIS_ERROR, "redis: unexpected reply to %s", what);
}

enum { ARGS_MAX = 16 };

/* A script that answers 0 or 1. */
struct script_run {
	enum script_id script;
	int n_keys;
	const char *argv[ARGS_MAX]; /* keys and arguments, then NULL */
};

static int
run_script(const struct stage *stage, const struct script_run *run, bool *ret,
	struct error *err)
{
	const char *argv[ARGS_MAX];
	size_t argvlen[ARGS_MAX];
	struct redisReply *reply;
	int argc = 0;

	for (; run->argv[argc] != NULL; argc++) {
		argv[argc] = run->argv[argc];
		argvlen[argc] = strlen(argv[argc]);
	}
	const struct redis_script_call call = { &scripts[run->script],
		run->n_keys, { argc, argv, argvlen } };
	int rc = redis_eval(stage->entry->resource, stage->call->deadline_ns,
		&call, &reply, err);

	if (rc != 0)
		return rc;
	if (reply->type == REDIS_REPLY_INTEGER)
		*ret = reply->integer == 1;
	else
		rc = unexpected(err, scripts[run->script].name);
	freeReplyObject(reply);
	return rc;
}

static const char *
number(char buf[NUMBER_SIZE], int64_t value)
{
	(void)snprintf(buf, NUMBER_SIZE, "%" PRId64, value);
	return buf;
}

int
rebuild_redis_fence(const struct rebuild_redis *call, int64_t epoch,
	bool *ret_fenced, struct error *err)
{
	struct event_keys keys;
	struct stage stage;
	char text[NUMBER_SIZE];
	int rc = stage_begin(&stage, call, err);

	if (rc != 0)
		return rc;
	event_keys_init(&keys, call->coupon_id);
	const struct script_run run = { SCRIPT_FENCE, SCRIPT_FENCE_KEYS,
		{ keys.name[0], number(text, epoch) } };

	rc = run_script(&stage, &run, ret_fenced, err);
	stage_end(&stage, rc);
	return rc;
}

/* ---- reading ---- */

struct reading {
	const struct rebuild_redis *call;
	struct rebuild_plan *plan;
};

static int
add_entry(void *arg, const char *field, const char *value, struct error *err)
{
	const struct reading *reading = arg;
	struct message entry;

	if (users_entry_parse(field, value, reading->call->coupon_id, &entry) &&
		!rebuild_plan_add_entry(reading->plan, &entry))
		return error_set(
			err, ERROR_NO_MEMORY, "rebuild: out of memory");
	return 0;
}

static int
tick(void *arg, struct error *err)
{
	const struct reading *reading = arg;

	return reading->call->tick(reading->call->arg, err);
}

int
rebuild_redis_read(const struct rebuild_redis *call, struct rebuild_plan *plan,
	struct error *err)
{
	struct reading reading = { call, plan };
	char key[REDIS_KEY_SIZE];
	struct stage stage;
	int rc = stage_begin(&stage, call, err);

	if (rc != 0)
		return rc;
	redis_key(key, call->coupon_id, "users");
	const struct redis_scan scan = {
		.command = "HSCAN",
		.key = key,
		.deadline_ns = call->deadline_ns,
		.pair = add_entry,
		.tick = tick,
		.arg = &reading,
	};

	rc = redis_scan(stage.entry->resource, &scan, err);
	stage_end(&stage, rc);
	return rc;
}

/* ---- writing ---- */

/* Collects arguments of one big command and sends it when it is full. */
struct writer {
	const struct stage *stage;
	const char *command;
	const char *key;
	size_t n; /* pairs */
	int rc;
	struct error *err;
	char fields[BATCH][FIELD_SIZE];
	char values[BATCH][VALUE_SIZE];
	const char *argv[2 * BATCH + 2];
	size_t argvlen[2 * BATCH + 2];
};

/* With each batch anew: nobody may come back to do it at the end. */
static int
send_expire(const struct writer *w)
{
	char seconds[NUMBER_SIZE];
	const char *argv[] = { "EXPIRE", w->key, number(seconds, EXPIRE_S) };
	size_t argvlen[ARRAY_SIZE(argv)];

	for (size_t i = 0; i < ARRAY_SIZE(argv); i++)
		argvlen[i] = strlen(argv[i]);
	const struct redis_args args = { ARRAY_SIZE(argv), argv, argvlen };

	return redis_send(w->stage->entry->resource, &args, w->err);
}

/* A refusal does not end it: the connection is used again, and every reply
 * must have been read by then. */
static int
receive(const struct writer *w, int n_replies)
{
	int rc = 0;

	for (int i = 0; i < n_replies && (rc == 0 || rc == -ERROR_REDIS_ERROR);
		i++) {
		struct redisReply *reply;
		int one = redis_receive(w->stage->entry->resource,
			w->stage->call->deadline_ns, &reply, w->err);

		if (one == 0)
			freeReplyObject(reply);
		else
			rc = one;
	}
	return rc;
}

static int
flush(struct writer *w)
{
	const struct rebuild_redis *call = w->stage->call;
	int argc = 0;

	if (w->rc != 0 || w->n == 0)
		return w->rc;
	w->argv[argc++] = w->command;
	w->argv[argc++] = w->key;
	for (size_t i = 0; i < w->n; i++) {
		w->argv[argc++] = w->fields[i];
		w->argv[argc++] = w->values[i];
	}
	for (int i = 0; i < argc; i++)
		w->argvlen[i] = strlen(w->argv[i]);
	w->n = 0;
	const struct redis_args args = { argc, w->argv, w->argvlen };

	w->rc = redis_send(w->stage->entry->resource, &args, w->err);
	if (w->rc == 0)
		w->rc = send_expire(w);
	if (w->rc == 0)
		w->rc = receive(w, 2);
	if (w->rc == 0)
		w->rc = call->tick(call->arg, w->err);
	return w->rc;
}

static bool
next_pair(struct writer *w)
{
	if (++w->n == BATCH)
		(void)flush(w);
	return w->rc == 0;
}

static bool
write_user(void *arg, const struct message *request, const char *reason)
{
	struct writer *w = arg;

	if (reason == NULL) {
		(void)number(w->fields[w->n], request->user_id);
		(void)snprintf(w->values[w->n], VALUE_SIZE,
			"%s:%" PRId64 ":%" PRId64, request->request_id,
			request->seq, request->accepted_at_ms);
	} else {
		(void)snprintf(w->fields[w->n], FIELD_SIZE, "%" PRId64 ":%s",
			request->user_id, request->request_id);
		(void)snprintf(w->values[w->n], VALUE_SIZE,
			"%s:%" PRId64 ":%" PRId64, reason, request->seq,
			request->accepted_at_ms);
	}
	return next_pair(w);
}

static void
write_free(struct writer *w, const struct rebuild_plan *plan)
{
	for (int64_t seq = rebuild_plan_free_number(plan, 1); seq != 0;
		seq = rebuild_plan_free_number(plan, seq + 1)) {
		/* ZADD wants the score first. */
		(void)number(w->fields[w->n], seq);
		(void)number(w->values[w->n], seq);
		if (!next_pair(w))
			return;
	}
}

/* The rebuilt users and free numbers, under their temporary keys. */
static int
write_plan(const struct stage *stage, const struct rebuild_plan *plan,
	const char *users, const char *free_numbers, struct error *err)
{
	struct writer *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return error_set(
			err, ERROR_NO_MEMORY, "rebuild: out of memory");
	w->stage = stage;
	w->err = err;
	w->command = "HSET";
	w->key = users;
	if (rebuild_plan_each_rejection(plan, write_user, w) &&
		rebuild_plan_each_user(plan, write_user, w))
		(void)flush(w);
	w->command = "ZADD";
	w->key = free_numbers;
	if (w->rc == 0)
		write_free(w, plan);
	int rc = flush(w);

	free(w);
	return rc;
}

/* The index that relay and reconciler find the event by. */
static int
add_to_index(const struct stage *stage, struct error *err)
{
	struct redisReply *reply;
	int rc = redis_callf(stage->entry->resource, stage->call->deadline_ns,
		&reply, err, "SADD %s %" PRId64, EVENTS_INDEX_KEY,
		stage->call->coupon_id);

	if (rc == 0)
		freeReplyObject(reply);
	return rc;
}

/* Where the rebuilt event lies until it is in force. */
struct aside {
	char users[REDIS_KEY_SIZE + 48];
	char numbers[REDIS_KEY_SIZE + 48];
	const struct rebuild_event *event;
	const struct rebuild_plan *plan;
};

static int
put_in_force(const struct stage *stage, const struct aside *aside,
	bool *ret_done, struct error *err)
{
	const struct rebuild_event *event = aside->event;
	char text[7][NUMBER_SIZE];
	struct event_keys keys;

	event_keys_init(&keys, event->coupon_id);
	const struct script_run run = {
		SCRIPT_REBUILD_COMMIT,
		SCRIPT_REBUILD_COMMIT_KEYS,
		{ keys.name[0], keys.name[1], keys.name[2], keys.name[3],
			aside->users, aside->numbers,
			number(text[0], event->epoch),
			number(text[1], rebuild_plan_next(aside->plan)),
			number(text[2], rebuild_plan_latest_ms(aside->plan)),
			number(text[3], event->version),
			number(text[4], event->total),
			number(text[5], event->opens_at_ms),
			number(text[6], event->closes_at_ms),
			event->closed ? "1" : "0" },
	};

	return run_script(stage, &run, ret_done, err);
}

int
rebuild_redis_commit(const struct rebuild_redis *call,
	const struct rebuild_event *event, const struct rebuild_plan *plan,
	bool *ret_done, struct error *err)
{
	struct aside aside = { .event = event, .plan = plan };
	struct stage stage;
	int rc = stage_begin(&stage, call, err);

	if (rc != 0)
		return rc;
	(void)snprintf(aside.users, sizeof(aside.users),
		"{c:%" PRId64 "}:rebuild:%" PRId64 ":users", event->coupon_id,
		event->epoch);
	(void)snprintf(aside.numbers, sizeof(aside.numbers),
		"{c:%" PRId64 "}:rebuild:%" PRId64 ":free", event->coupon_id,
		event->epoch);
	rc = write_plan(&stage, plan, aside.users, aside.numbers, err);
	if (rc == 0)
		rc = add_to_index(&stage, err);
	if (rc == 0)
		rc = put_in_force(&stage, &aside, ret_done, err);
	stage_end(&stage, rc);
	return rc;
}
