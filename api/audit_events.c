/* SPDX-License-Identifier: MIT */
#include "api/audit_events.h"

#include "api/audit_look.h"
#include "api/event_store.h"
#include "api/scripts.h"
#include "common/error.h"
#include "common/redis.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

struct ids {
	int64_t *items;
	size_t n, size;
};

static int
add_id(struct ids *ids, int64_t id, struct error *err)
{
	if (ids->n == ids->size) {
		size_t size = ids->size == 0 ? 64 : 2 * ids->size;
		int64_t *items = realloc(ids->items, size * sizeof(*items));

		if (items == NULL)
			return error_set(
				err, ERROR_NO_MEMORY, "audit: out of memory");
		ids->items = items;
		ids->size = size;
	}
	ids->items[ids->n++] = id;
	return 0;
}

static int
add_from_database(
	const struct audit_look *look, struct ids *ids, struct error *err)
{
	const struct store_call call = { look->pg, look->deadline_ns };
	struct coupon_page page = { .limit = PAGE_MAX, .count = PAGE_MAX };
	int64_t after = 0;
	int rc = 0;

	while (rc == 0 && page.count == page.limit) {
		rc = event_store_list(&call, after, &page, err);
		for (size_t i = 0; rc == 0 && i < page.count; i++) {
			after = page.items[i].id;
			rc = add_id(ids, after, err);
		}
	}
	return rc;
}

static int
add_from_shard(const struct audit_look *look, struct pool *pool,
	struct ids *ids, struct error *err)
{
	struct redisReply *reply;
	struct pool_entry *entry;
	int rc = pool_acquire(pool, "audit", look->deadline_ns, &entry, err);

	if (rc != 0)
		return rc;
	rc = redis_callf(entry->resource, look->deadline_ns, &reply, err,
		"SMEMBERS " EVENTS_INDEX_KEY);
	pool_release(pool, &entry, redis_verdict(rc));
	if (rc != 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < reply->elements; i++)
		rc = add_id(
			ids, strtoll(reply->element[i]->str, NULL, 10), err);
	freeReplyObject(reply);
	return rc;
}

static int
compare_ids(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void
sort_and_dedupe(struct ids *ids)
{
	size_t n = 0;

	if (ids->n > 0)
		qsort(ids->items, ids->n, sizeof(*ids->items), compare_ids);
	for (size_t i = 0; i < ids->n; i++)
		if (n == 0 || ids->items[n - 1] != ids->items[i])
			ids->items[n++] = ids->items[i];
	ids->n = n;
}

int
audit_events(const struct audit_look *look, int64_t **ret, size_t *ret_n,
	struct error *err)
{
	struct ids ids = { 0 };
	int rc = add_from_database(look, &ids, err);

	for (size_t i = 0; rc == 0 && i < redis_shards_count(look->shards); i++)
		rc = add_from_shard(
			look, redis_shards_pool_at(look->shards, i), &ids, err);
	if (rc != 0) {
		free(ids.items);
		return rc;
	}
	sort_and_dedupe(&ids);
	*ret = ids.items;
	*ret_n = ids.n;
	return 0;
}
