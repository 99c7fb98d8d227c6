/* SPDX-License-Identifier: MIT */
/*
 * pipeline - the Redis commands of one HTTP loop, sent over leased
 * connections without anybody waiting.
 *
 * Each loop has one pipeline; all calls are from the loop's thread.  A
 * command is embedded in the request that sends it.  The pipeline leases
 * connections from the shard's pool as commands need them, puts up to
 * redis.pool.max-pipeline commands in flight on each, writes once per turn,
 * matches replies in order and gives a lease back when nothing is in flight
 * on it.  A command for which no connection has room holds a place of its own
 * in the pool's queue, so `waiting` counts requests.
 *
 * Late replies: a command whose deadline passes is answered (TIMEOUT), its
 * place in the reply order is abandoned and its reply dropped.  A connection
 * is destroyed only when its oldest command has waited redis.timeout without
 * a byte coming, or on an I/O or protocol error; then each command on it is
 * sent again at most once, within its deadline and a retry budget (10 %).
 */
#ifndef API_PIPELINE_H
#define API_PIPELINE_H

#include "common/error.h"
#include "common/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct http_loop;
struct metrics;
struct pipeline;
struct redisReply;
struct redis_script;
struct redis_shards;
struct settings;

#define REDIS_COMMAND_ARGS_MAX 16

struct redis_command;

/*
 * The command's end, exactly once.  `reply` (borrowed for the call) is
 * non-NULL when Redis answered, also with an error reply turned into `err`;
 * otherwise err says why: EXHAUSTED, CONNECT_FAILING ... (never sent),
 * TIMEOUT or CONNECTION_LOST.
 */
typedef void redis_command_fn(struct redis_command *command,
	const struct redisReply *reply, const struct error *err);

struct redis_command {
	/* Set by the caller before pipeline_submit(). */
	int64_t coupon_id;                 /* chooses the shard */
	const struct redis_script *script; /* EVALSHA this ... */
	int n_keys; /* ... with argv[0..n_keys) as keys */
	/*
	 * 0: a call of its own.  Else the script takes many requests and
	 * answers an array: all commands of this script and event have the
	 * first n_common of argv in common (the first one's are sent), and
	 * those of a turn are joined in one call.
	 */
	int n_common;
	int argc;
	const char *argv[REDIS_COMMAND_ARGS_MAX]; /* the caller's memory */
	size_t argvlen[REDIS_COMMAND_ARGS_MAX];
	int64_t deadline_ns;
	redis_command_fn *done;
	/* For the caller to read in done(). */
	bool sent;       /* a copy may have reached Redis */
	bool sent_twice; /* see DESIGN 5: only some replies can be trusted */
	/* The pipeline's, set by pipeline_submit(). */
	struct pool_waiter waiter;
	TAILQ_ENTRY(redis_command) by_deadline;
	TAILQ_ENTRY(redis_command) line; /* waiting or failed */
	struct redis_lease *lease;       /* while in flight */
	size_t place;                    /* on that lease */
	unsigned char state;
	unsigned char copies; /* how many may have reached Redis */
	bool retried;
	bool by_text; /* EVAL: Redis did not know the SHA-1 */
};

struct pipeline *pipeline_new(struct http_loop *loop,
	struct redis_shards *shards, struct metrics *metrics);
/* Fails what is left with ERROR_CLOSED and gives the leases back. */
void pipeline_free(struct pipeline *pipeline);

/*
 * Live, for every pipeline of the process; any thread.  Call it before the
 * first pipeline_new(), too.
 */
void pipelines_configure(const struct settings *settings);

/* Never blocks, never calls done() before it returns. */
void pipeline_submit(struct pipeline *pipeline, struct redis_command *command);

/* Once per turn: write what was appended, answer what is overdue. */
void pipeline_turn(struct pipeline *pipeline);

/* When pipeline_turn() must run at the latest; INT64_MAX if never. */
int64_t pipeline_next_deadline_ns(const struct pipeline *pipeline);

/* Commands submitted and not ended (each has a request behind it). */
size_t pipeline_in_flight(const struct pipeline *pipeline);

/*
 * Has every command that was written to Redis before `since_ns` ended?  (What
 * was abandoned has ended.)  Any thread.
 */
bool pipeline_is_answered_since(
	const struct pipeline *pipeline, int64_t since_ns);

#endif
