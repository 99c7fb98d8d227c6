/* SPDX-License-Identifier: MIT */
/*
 * redis - connections to Redis and the pool that lends them.
 *
 * A struct redis_conn is what the pool's entry->resource points to: a
 * connected, authenticated, non-blocking socket on which every script of the
 * pool's script list is loaded.  Threads that may block send one command at a
 * time with redis_call(); the HTTP loops pipeline (api/pipeline.h).
 * A redis_conn belongs to one thread at a time (its borrower).
 */
#ifndef COMMON_REDIS_H
#define COMMON_REDIS_H

#include "common/compiler.h"
#include "common/pool.h"

#include <stddef.h>
#include <stdint.h>

struct error;
struct metrics;
struct redisReply;
struct redisContext;
struct redis_conn;
struct redis_shards;
struct settings;

/*
 * A Lua script: text embedded at build, called by its SHA-1, which the first
 * server to load it tells (so there is no SHA-1 of our own).  Whoever holds a
 * connection may read it.
 */
struct redis_script {
	const char *name;
	const char *text;
	char sha1[41];
};

/*
 * All of Redis as this process sees it: one shard (a standalone server)
 * today, one per master with Redis Cluster later.  Owns the pools.
 * `scripts` is borrowed.  Never waits for a connection.
 */
struct redis_shards *redis_shards_new(const struct settings *settings,
	struct redis_script *scripts, size_t n_scripts,
	struct metrics *metrics);
void redis_shards_free(struct redis_shards *shards);
bool redis_shards_drain(struct redis_shards *shards, int64_t deadline_ns);
/* Live: sizes and times. */
void redis_shards_configure(
	struct redis_shards *shards, const struct settings *settings);

/* The pool of the shard that holds this coupon's keys. */
struct pool *redis_shard_pool(struct redis_shards *shards, int64_t coupon_id);
/* What redis_shards_new() was given. */
struct redis_script *redis_shards_scripts(
	struct redis_shards *shards, size_t *ret_count);
size_t redis_shards_count(const struct redis_shards *shards);
struct pool *redis_shards_pool_at(struct redis_shards *shards, size_t i);

/* Server facts learned on connect: health, rebuild, warnings. */
struct redis_server_info {
	char version[32];
	char run_id[48];     /* changes when the server restarts */
	uint64_t generation; /* counts changes of run_id seen */
	bool could_forget;   /* no AOF, or appendfsync is not always */
	bool could_evict;    /* maxmemory-policy is not noeviction */
	bool connected_once;
};
void redis_server_info(struct redis_shards *shards, size_t shard,
	struct redis_server_info *ret);

/*
 * A server that was restarted may have come back with older data: it is in
 * doubt until somebody has looked and trusts this generation of it, or for a
 * few seconds, so that the one who looks cannot keep it closed.  Any thread.
 */
/* For who gives out numbers by what Redis holds: the first server it meets is
 * in doubt as a restarted one is.  Right after redis_shards_new(). */
void redis_shards_doubt(struct redis_shards *shards);
bool redis_shard_is_in_doubt(
	const struct redis_shards *shards, size_t shard, int64_t now_ns);
void redis_shard_trust(
	struct redis_shards *shards, size_t shard, uint64_t generation);

/* The hiredis context under a connection, and its file descriptor. */
struct redisContext *redis_conn_context(struct redis_conn *conn);
int redis_conn_fd(const struct redis_conn *conn);

/* A command; all borrowed. */
struct redis_args {
	int argc;
	const char **argv;
	const size_t *argvlen;
};

/*
 * Send one command and wait for its reply.  0 and *ret_reply (free with
 * freeReplyObject; never of type ERROR); -ERROR_TIMEOUT, -ERROR_CONNECTION_LOST
 * (both: destroy the connection), -ERROR_REDIS_ERROR with err->code the first
 * word of Redis's error ("OOM", "READONLY"): the connection is fine.
 */
int redis_call(struct redis_conn *conn, int64_t deadline_ns,
	const struct redis_args *args, struct redisReply **ret_reply,
	struct error *err) NODISCARD;
int redis_callf(struct redis_conn *conn, int64_t deadline_ns,
	struct redisReply **ret_reply, struct error *err, const char *format,
	...) NODISCARD; /* format as redisCommand's */

/*
 * The two halves of redis_call(), for several commands in one round trip: append one,
 * which sends nothing yet and fails only for want of memory; await the next
 * reply, as redis_call() does.  As many of these as of those, also after a
 * failure, or the connection is destroyed.
 */
int redis_send(struct redis_conn *conn, const struct redis_args *args,
	struct error *err) NODISCARD;
int redis_receive(struct redis_conn *conn, int64_t deadline_ns,
	struct redisReply **ret_reply, struct error *err) NODISCARD;

/* EVALSHA, and EVAL when Redis has forgotten the script. */
struct redis_script_call {
	const struct redis_script *script;
	int n_keys; /* the first of the arguments */
	struct redis_args args;
};
int redis_eval(struct redis_conn *conn, int64_t deadline_ns,
	const struct redis_script_call *call, struct redisReply **ret_reply,
	struct error *err) NODISCARD;

/* Of an -ERROR_REDIS_ERROR: the server answers so whoever asks (it loads, is
 * full, is a replica); else it is a matter of these keys alone. */
bool redis_refuses_all(const struct error *err);

/* How to give a connection back after these calls returned `rc`. */
enum pool_return redis_verdict(int rc);

/* "{c:ID}:event" etc.; buf of REDIS_KEY_SIZE. */
#define REDIS_KEY_SIZE 40
void redis_key(char buf[REDIS_KEY_SIZE], int64_t coupon_id, const char *part);

#endif
