/* SPDX-License-Identifier: MIT */
/*
 * scripts - the Lua scripts that decide in Redis, and what they answer.
 *
 * What Redis holds of an event (one hash slot, {c:ID}):
 *
 *	event    hash: total next opensAt closesAt closed version lastSeen
 *	         epoch (highest fence ever) fenced (that epoch, or 0)
 *	users    hash: USER -> REQUEST:SEQ:ACCEPTED_MS, who holds a number
 *	         USER:REQUEST -> REASON:SEQ:ACCEPTED_MS, rejected (0: no time)
 *	pending  zset, the outbox: USER:REQUEST:SEQ scored by accept time (ms)
 *	free     zset: numbers that a rebuild gave back
 *
 * plus the set `coupon:events` of the ids that Redis has, in no event's slot
 * and therefore written by the loader, not by a script.
 *
 * Every script takes the first n of event, users, pending, free as its KEYS;
 * its own comment says how many, its arguments and its answer.  Removing from
 * the outbox is a plain ZREM.  The parsers return 0, or -ERROR_REDIS_ERROR
 * for a reply that is none of ours, with *ret unspecified.  Any thread.
 */
#ifndef API_SCRIPTS_H
#define API_SCRIPTS_H

#include "common/compiler.h"
#include "common/message.h"
#include "common/redis.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct redisReply;

/* X(ID, file name, number of keys) */
#define SCRIPTS(X)                                                             \
	X(ISSUE, issue, 4)                                                     \
	X(STATUS, status, 3)                                                   \
	X(EVENT_READ, event_read, 4)                                           \
	X(EVENT_UPDATE, event_update, 1)                                       \
	X(OUTBOX_STALE, outbox_stale, 3)                                       \
	X(OUTBOX_RESTORE, outbox_restore, 3)                                   \
	X(FENCE, fence, 1)                                                     \
	X(REBUILD_COMMIT, rebuild_commit, 6)

enum script_id {
#define X(id, file, keys) SCRIPT_##id,
	SCRIPTS(X)
#undef X
		SCRIPTS_COUNT,
};

/* SCRIPT_ISSUE_KEYS ...: how many KEYS the script takes. */
enum script_keys {
#define X(id, file, keys) SCRIPT_##id##_KEYS = (keys),
	SCRIPTS(X)
#undef X
};

/* For redis_shards_new(); scripts[SCRIPT_ISSUE] ... for redis_eval(). */
extern struct redis_script scripts[SCRIPTS_COUNT];

#define EVENTS_INDEX_KEY "coupon:events"

/* The keys of one event, in the order the scripts take them. */
enum { EVENT_KEYS = 4 };
struct event_keys {
	char name[EVENT_KEYS][REDIS_KEY_SIZE];
	size_t len[EVENT_KEYS];
};
void event_keys_init(struct event_keys *keys, int64_t coupon_id);

/* Point argv[0..n) at the first n keys (borrowed); returns n. */
int event_keys_to_argv(const struct event_keys *keys, int n, const char **argv,
	size_t *argvlen);

/* What users holds for a user. */
#define REJECTION_REASON_MAX 31
struct issue_entry {
	char request_id[REQUEST_ID_MAX + 1];
	int64_t seq;
	int64_t accepted_at_ms;
};
struct issue_rejection {
	char reason[REJECTION_REASON_MAX + 1];
	int64_t seq;
	int64_t accepted_at_ms; /* 0: not known */
};

/*
 * issue.lua.  ARGV: outbox.limit, then user id and request id of each request.
 * Its reply is an array; issue_reply_parse() reads one element of it.
 */
enum issue_status {
	ISSUE_ACCEPTED,
	ISSUE_DUPLICATE,
	ISSUE_REJECTED,
	ISSUE_SOLD_OUT,
	ISSUE_NOT_OPEN,
	ISSUE_CLOSED,
	ISSUE_OUTBOX_FULL,
	ISSUE_FENCED,
	ISSUE_MISSING,
};

struct issue_reply {
	enum issue_status status;
	bool earlier; /* ACCEPTED: the answer that a first copy got */
	/*
	 * ACCEPTED: seq and time (request_id only when `earlier`).
	 * DUPLICATE: the earlier request, its seq and time.
	 */
	struct issue_entry entry;
	struct issue_rejection rejection; /* REJECTED */
	int64_t opens_at_ms;              /* NOT_OPEN, and Redis's time: */
	int64_t now_ms;
};
int issue_reply_parse(
	const struct redisReply *reply, struct issue_reply *ret) NODISCARD;

/* "ACCEPTED" ...: static. */
const char *issue_status_name(enum issue_status status);

enum event_presence { EVENT_MISSING, EVENT_FENCED, EVENT_LIVE };

/* status.lua.  ARGV: user id, request id or "" */
struct status_reply {
	enum event_presence event;
	bool held;     /* entry is set: PENDING or ISSUED, PostgreSQL knows */
	bool pending;  /* it still waits in the outbox */
	bool rejected; /* rejection is set; wins over `held` */
	struct issue_entry entry;
	struct issue_rejection rejection;
};
int status_reply_parse(
	const struct redisReply *reply, struct status_reply *ret) NODISCARD;

/* event_read.lua.  No ARGV. */
struct event_figures {
	enum event_presence event; /* MISSING: nothing else is meant */
	int64_t total, next, free, pending;
	int64_t opens_at_ms, closes_at_ms;
	bool closed; /* by /close, or a request came after closes_at */
	int64_t version, epoch;
	int64_t oldest_ms; /* least score of the outbox, -1 when it is empty */
	int64_t now_ms;    /* by Redis */
};
int event_figures_parse(
	const struct redisReply *reply, struct event_figures *ret) NODISCARD;

/* Numbers that can still be given out. */
int64_t event_figures_remaining(const struct event_figures *figures);
/* "SCHEDULED", "OPEN", "SOLD_OUT", "CLOSED" or "FENCED". */
const char *event_figures_state(const struct event_figures *figures);

/*
 * outbox_stale.lua.  ARGV: age in ms, most entries.  Entry i of *ret_count is
 * read by outbox_entry_parse(); the reply stays the caller's.
 */
int outbox_stale_parse(const struct redisReply *reply, int64_t *ret_now_ms,
	size_t *ret_removed, size_t *ret_count) NODISCARD;
int outbox_entry_parse(const struct redisReply *reply, size_t i,
	int64_t coupon_id, struct message *ret) NODISCARD;

/*
 * A field of users and its value.  False: it is a rejection, or none of ours.
 */
bool users_entry_parse(const char *field, const char *value, int64_t coupon_id,
	struct message *ret) NODISCARD;
/* The same for a rejection: USER:REQUEST and REASON:SEQ:ACCEPTED_MS. */
bool users_rejection_parse(const char *field, const char *value,
	int64_t coupon_id, struct message *ret);

/* USER:REQUEST:SEQ, the member of the outbox for ZREM and ZADD. */
#define OUTBOX_MEMBER_SIZE (REQUEST_ID_MAX + 48)
size_t outbox_member(
	const struct message *message, char buf[OUTBOX_MEMBER_SIZE]);
/* The reverse; accepted_at_ms becomes 0.  False: none of ours. */
bool outbox_member_parse(
	const char *member, int64_t coupon_id, struct message *ret);

#endif
