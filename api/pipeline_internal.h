/* SPDX-License-Identifier: MIT */
/*
 * pipeline_internal - what pipeline.c (who may go where, and when it is too
 * late) and pipeline_lease.c (bytes out, replies in) share.
 *
 * Everything belongs to one loop's thread.
 */
#ifndef API_PIPELINE_INTERNAL_H
#define API_PIPELINE_INTERNAL_H

#include "api/pipeline.h"
#include "api/resp.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct counter;
struct redisContext;
struct timer;

enum command_state {
	COMMAND_IDLE,      /* not ours: before submit, from done() on */
	COMMAND_WAITING,   /* in lane->waiting and in the pool's queue */
	COMMAND_EXPIRED,   /* too late, but its waiter is still in an inbox */
	COMMAND_IN_FLIGHT, /* has a place on a lease */
	COMMAND_FAILED,    /* in pipeline->failed, waiter.err says why */
};

/* Why a leased connection was given up. */
/* clang-format off */
#define LEASE_LOSSES(X)                                                      \
	X(SILENT,   "silent")   /* no byte for redis.timeout */              \
	X(IO_ERROR, "io-error") /* reset, or closed by Redis */              \
	X(PROTOCOL, "protocol") /* what came is no reply, or one too many */ \
	X(STALE,    "stale")    /* closed by Redis while it was idle */      \
	X(STOPPED,  "stopped")  /* in use when the pipeline was freed */
/* clang-format on */
enum lease_loss {
#define X(name, tag) LEASE_##name,
	LEASE_LOSSES(X)
#undef X
		LEASE_LOSS_COUNT
};

TAILQ_HEAD(redis_commands, redis_command);
TAILQ_HEAD(redis_leases, redis_lease);

/*
 * One place in the order of replies; command is NULL once abandoned.  The
 * first place of a call that joins commands says how many its reply answers.
 */
struct place {
	struct redis_command *command;
	int64_t since_ns;
	size_t n_joined; /* 0: the reply is this place's alone */
};

/*
 * A leased connection.  Places are numbered from 0 and live in a ring:
 * [head, tail) await replies, [attempted, tail) have not met write() yet.
 */
struct redis_lease {
	TAILQ_ENTRY(redis_lease) link; /* in lane->leases or lane->spare */
	struct lane *lane;
	struct pool_entry *entry; /* lent to us */
	struct redisContext *context;
	int fd;
	struct place *ring;
	size_t capacity; /* a power of two */
	size_t head, tail, attempted;
	struct resp_call call; /* grows; its places are the last call.n */
	struct resp_buffer out;
	int64_t heard_ns;      /* when bytes last came */
	int64_t fair_until_ns; /* then see whether others wait */
	bool draining;         /* takes no more: others wait for it */
	bool wants_write;      /* EPOLLOUT is watched */
};

static inline struct place *
lease_place(const struct redis_lease *lease, size_t n)
{
	return &lease->ring[n & (lease->capacity - 1)];
}

/* One shard as this loop uses it. */
struct lane {
	struct pipeline *pipeline;
	struct pool *pool;
	struct redis_leases leases;
	struct redis_leases spare;     /* structs to use again */
	struct redis_commands waiting; /* FIFO, as in the pool's queue */
	size_t n_waiting;
};

struct pipeline {
	struct http_loop *loop;
	struct redis_shards *shards;
	struct pool_inbox *inbox;
	struct lane *lanes;
	size_t n_lanes;
	struct redis_commands by_deadline; /* every command, soonest first */
	struct redis_commands failed;      /* to be ended by the next turn */
	size_t in_flight;
	_Atomic int64_t oldest_ns; /* of what awaits a reply; for others */
	int64_t retry_tokens;      /* tenths of a retry */
	bool stopping;
	struct redis_script *scripts; /* borrowed from the shards */
	struct timer **timers;        /* per script */
	size_t n_scripts;
	struct counter *retries, *retries_refused, *abandoned, *late, *by_text;
	struct counter *losses[LEASE_LOSS_COUNT];
	char *inbuf; /* LEASE_READ_SIZE: one read of any lease */
};

/* Larger than the replies to a full pipeline of short answers. */
enum { LEASE_READ_SIZE = 64 * 1024 };

/* What a retry costs, and how much of it may be saved up: first sends earn 1. */
enum { PIPELINE_RETRY_COST = 10, PIPELINE_RETRY_RESERVE = 10 * 1024 };

/* The live settings. */
size_t pipeline_limit(void);
int64_t pipeline_silence_ns(void);
int64_t pipeline_max_wait_ns(void);

/* ---- pipeline.c ---- */

/* The command is over: done() is called, its memory is the caller's again. */
void pipeline_end(struct pipeline *pipeline, struct redis_command *command,
	const struct redisReply *reply, const struct error *err);

/* End every command and give every lease back. */
void pipeline_stop(struct pipeline *pipeline);

/* ---- pipeline_place.c ---- */

struct lane *pipeline_lane(
	struct pipeline *pipeline, const struct redis_command *command);

/* Find it a connection or a place in the queue; ends nothing. */
void pipeline_place(struct pipeline *pipeline, struct redis_command *command);

/* The connection under this command died under `err`: again, or over. */
void pipeline_retry(struct pipeline *pipeline, struct redis_command *command,
	const struct error *err);

/* Take the pool's answers. */
void pipeline_drain_inbox(struct pipeline *pipeline);

/* Out of the waiting line (not out of the pool's queue). */
void lane_leave(struct lane *lane, struct redis_command *command);

/* Let waiting commands ride on a lease that has room. */
void lane_refill(struct lane *lane, struct redis_lease *lease);

/* ---- pipeline_lease.c ---- */

/*
 * Takes over a lent entry; on failure it has been given back:
 * -ERROR_CONNECTION_LOST when it was dead (another may do), -ERROR_FENCED when
 * the server is in doubt, or no memory.
 */
int lease_open(struct lane *lane, struct pool_entry *entry,
	struct redis_lease **ret, struct error *err) NODISCARD;

/* Nothing may be in flight. */
void lease_return(struct redis_lease *lease);

/* Give the connection up; its commands are retried or ended with `err`. */
void lease_destroy(struct redis_lease *lease, enum lease_loss loss,
	const struct error *err);

size_t lease_in_flight(const struct redis_lease *lease);
bool lease_has_room(const struct redis_lease *lease);
bool lease_is_unwritten(const struct redis_lease *lease);

/* False when out of memory, nothing changed. */
bool lease_append(struct redis_lease *lease, struct redis_command *command,
	int64_t now_ns) NODISCARD;
/* Its reply will be dropped. */
void lease_abandon(struct redis_command *command);
/* Write what is appended.  May destroy the lease. */
void lease_flush(struct redis_lease *lease);
/* lease_destroy() with -ERROR_CONNECTION_LOST. */
void lease_lose(
	struct redis_lease *lease, enum lease_loss loss, const char *why);
/* When the silence on it ends its life; INT64_MAX when nothing is awaited. */
int64_t lease_silent_at_ns(const struct redis_lease *lease);
void lease_free(struct redis_lease *lease);

/* ---- pipeline_reply.c ---- */

/* Read what has come and answer it.  May destroy the lease. */
void lease_read(struct redis_lease *lease);

#endif
