/* SPDX-License-Identifier: MIT */
#include "api/reconcile_restore.h"

#include "api/audit_findings.h"
#include "api/scripts.h"
#include "common/error.h"
#include "common/redis.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { BATCH = 200, USER_SIZE = 24, REQUEST_SIZE = REQUEST_ID_MAX + 24 };

/* One call of the script, being filled. */
struct batch {
	const struct reconcile_restore *restore;
	struct event_keys keys;
	struct redis_conn *conn;
	int n;
	char users[BATCH][USER_SIZE];
	char requests[BATCH][REQUEST_SIZE]; /* REQUEST:SEQ */
	int64_t restored;
};

static int
send(struct batch *batch, struct error *err)
{
	const char *argv[SCRIPT_OUTBOX_RESTORE_KEYS + 2 * BATCH];
	size_t argvlen[SCRIPT_OUTBOX_RESTORE_KEYS + 2 * BATCH];
	struct redisReply *reply;
	int argc = event_keys_to_argv(
		&batch->keys, SCRIPT_OUTBOX_RESTORE_KEYS, argv, argvlen);

	if (batch->n == 0)
		return 0;
	for (int i = 0; i < batch->n; i++) {
		argv[argc] = batch->users[i];
		argvlen[argc++] = strlen(batch->users[i]);
		argv[argc] = batch->requests[i];
		argvlen[argc++] = strlen(batch->requests[i]);
	}
	batch->n = 0;
	const struct redis_script_call call = { &scripts[SCRIPT_OUTBOX_RESTORE],
		SCRIPT_OUTBOX_RESTORE_KEYS, { argc, argv, argvlen } };
	int rc = redis_eval(
		batch->conn, batch->restore->deadline_ns, &call, &reply, err);

	if (rc != 0)
		return rc;
	if (reply->type == REDIS_REPLY_INTEGER)
		batch->restored += reply->integer;
	else
		rc = error_set(err, ERROR_REDIS_ERROR,
			"outbox_restore.lua gave an answer that is not ours");
	freeReplyObject(reply);
	return rc;
}

static int
add(struct batch *batch, const struct audit_finding *finding, struct error *err)
{
	(void)snprintf(batch->users[batch->n], USER_SIZE, "%" PRId64,
		finding->user_id);
	(void)snprintf(batch->requests[batch->n], REQUEST_SIZE, "%s:%" PRId64,
		finding->request_id, finding->seq);
	return ++batch->n == BATCH ? send(batch, err) : 0;
}

int
reconcile_restore(const struct reconcile_restore *restore,
	const struct audit_findings *findings, int64_t *ret_count,
	struct error *err)
{
	struct pool *pool =
		redis_shard_pool(restore->shards, restore->coupon_id);
	struct batch batch = { .restore = restore };
	struct pool_entry *entry;
	int rc = pool_acquire(
		pool, "reconcile", restore->deadline_ns, &entry, err);

	if (rc != 0)
		return rc;
	event_keys_init(&batch.keys, restore->coupon_id);
	batch.conn = entry->resource;
	for (size_t i = 0; rc == 0 && i < findings->n; i++)
		if (audit_case_info(findings->items[i].found)->repair ==
			AUDIT_SEND)
			rc = add(&batch, &findings->items[i], err);
	if (rc == 0)
		rc = send(&batch, err);
	pool_release(pool, &entry, redis_verdict(rc));
	if (rc == 0)
		*ret_count = batch.restored;
	return rc;
}
