/* SPDX-License-Identifier: MIT */
#include "api/event_loader.h"

#include "api/coupon.h"
#include "api/event_store.h"
#include "api/rebuild.h"
#include "api/scripts.h"
#include "common/error.h"
#include "common/redis.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>

/* One lent connection for the commands of one call. */
struct link {
	struct pool *pool;
	struct pool_entry *entry;
	int64_t deadline_ns;
	int rc; /* of the last command: how to give it back */
};

static int
link_open(struct link *link, struct pool *pool, int64_t deadline_ns,
	struct error *err)
{
	link->pool = pool;
	link->deadline_ns = deadline_ns;
	link->rc = 0;
	return pool_acquire(pool, "event", deadline_ns, &link->entry, err);
}

static void
link_close(struct link *link)
{
	pool_release(link->pool, &link->entry, redis_verdict(link->rc));
}

/* A script of one event; *ret_reply is the caller's. */
static int
run(struct link *link, enum script_id script, const struct coupon *coupon,
	struct redisReply **ret_reply, struct error *err)
{
	/* The fields in the order of event_update.lua. */
	const int64_t fields[] = { coupon->total, coupon->opens_at_ms,
		coupon->closes_at_ms, coupon->closed ? 1 : 0, coupon->version };
	static const struct {
		int n_keys;
		int n_fields;
	} shapes[SCRIPTS_COUNT] = {
		[SCRIPT_EVENT_UPDATE] = { SCRIPT_EVENT_UPDATE_KEYS, 5 },
		[SCRIPT_EVENT_READ] = { SCRIPT_EVENT_READ_KEYS, 0 },
	};
	char text[ARRAY_SIZE(fields)][24];
	const char *argv[EVENT_KEYS + ARRAY_SIZE(fields)];
	size_t argvlen[EVENT_KEYS + ARRAY_SIZE(fields)];
	struct event_keys keys;

	event_keys_init(&keys, coupon->id);
	int argc =
		event_keys_to_argv(&keys, shapes[script].n_keys, argv, argvlen);
	for (int i = 0; i < shapes[script].n_fields; i++) {
		argvlen[argc] = (size_t)snprintf(
			text[i], sizeof(text[i]), "%" PRId64, fields[i]);
		argv[argc++] = text[i];
	}
	const struct redis_script_call call = { &scripts[script],
		shapes[script].n_keys, { argc, argv, argvlen } };

	link->rc = redis_eval(link->entry->resource, link->deadline_ns, &call,
		ret_reply, err);
	return link->rc;
}

static int
run_for_integer(struct link *link, enum script_id script,
	const struct coupon *coupon, long long *ret, struct error *err)
{
	struct redisReply *reply;
	int rc = run(link, script, coupon, &reply, err);

	if (rc != 0)
		return rc;
	bool good = reply->type == REDIS_REPLY_INTEGER;
	*ret = good ? reply->integer : 0;
	freeReplyObject(reply);
	return good ? 0
		    : error_set(err, ERROR_REDIS_ERROR, "%s: unexpected reply",
			      scripts[script].name);
}

/* An event that has been handed to the rebuild: is it there in time? */
static int
await_rebuild(const struct event_loader *loader, int64_t coupon_id,
	int64_t deadline_ns, enum event_load *ret, struct error *err)
{
	struct event_figures figures;

	*ret = EVENT_REBUILT;
	if (!rebuild_await(loader->rebuild, coupon_id, deadline_ns))
		return 0;
	int rc = event_figures_read(
		loader, coupon_id, deadline_ns, &figures, err);

	if (rc == 0 && figures.event == EVENT_LIVE)
		*ret = EVENT_LOADED;
	return rc;
}

static int
ask_rebuild(const struct event_loader *loader, int64_t coupon_id,
	enum rebuild_cause cause, struct error *err)
{
	if (rebuild_request(loader->rebuild, coupon_id, cause))
		return 0;
	return error_set(err, ERROR_BUSY, "too many events wait for a rebuild");
}

int
event_load(const struct event_loader *loader, int64_t coupon_id,
	int64_t deadline_ns, enum event_load *ret, struct error *err)
{
	const struct store_call call = { loader->pg, deadline_ns };
	struct coupon coupon;
	int rc = event_store_get(&call, coupon_id, &coupon, err);

	if (rc == -ERROR_NOT_FOUND) {
		*ret = EVENT_UNKNOWN;
		return 0;
	}
	if (rc == 0)
		rc = ask_rebuild(loader, coupon_id, REBUILD_MISSING, err);
	if (rc != 0)
		return rc;
	return await_rebuild(loader, coupon_id, deadline_ns, ret, err);
}

int
event_publish(const struct event_loader *loader, const struct coupon *coupon,
	int64_t deadline_ns, struct error *err)
{
	struct link link;
	long long updated;
	int rc = link_open(&link, redis_shard_pool(loader->shards, coupon->id),
		deadline_ns, err);

	if (rc != 0)
		return rc;
	rc = run_for_integer(&link, SCRIPT_EVENT_UPDATE, coupon, &updated, err);
	link_close(&link);
	if (rc != 0 || updated >= 0)
		return rc;
	enum event_load ignored; /* what is not done yet goes on without us */
	rc = ask_rebuild(loader, coupon->id, REBUILD_NEW, err);
	return rc != 0 ? rc
		       : await_rebuild(loader, coupon->id, deadline_ns,
				 &ignored, err);
}

int
event_figures_read(const struct event_loader *loader, int64_t coupon_id,
	int64_t deadline_ns, struct event_figures *ret, struct error *err)
{
	const struct coupon coupon = { .id = coupon_id };
	struct redisReply *reply;
	struct link link;
	int rc = link_open(&link, redis_shard_pool(loader->shards, coupon_id),
		deadline_ns, err);

	if (rc != 0)
		return rc;
	rc = run(&link, SCRIPT_EVENT_READ, &coupon, &reply, err);
	link_close(&link);
	if (rc != 0)
		return rc;
	rc = event_figures_parse(reply, ret);
	freeReplyObject(reply);
	return rc == 0 ? 0
		       : error_set(err, ERROR_REDIS_ERROR,
				 "event_read: unexpected reply");
}
