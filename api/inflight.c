/* SPDX-License-Identifier: MIT */
#include "api/inflight.h"

#include "common/compiler.h"
#include "common/sync.h"

#include <assert.h>

/*
 * DESIGN
 *
 * SHARDS tables, chosen by user id.  Each keeps its entries (several with the
 * same key are fine: uthash adds without looking) and a counter per event.
 * Counters stay once made: there are as many as events this process has
 * accepted requests for.
 */
enum { SHARDS = 64 }; /* power of two; far more than HTTP threads */

struct event_count {
	int64_t coupon_id;
	size_t unreported;
	UT_hash_handle hh;
};

struct shard {
	struct mutex lock;
	struct locked { /* only through locked() */
		struct inflight_entry *entries;
		struct event_count *events;
	} locked_;
} CACHE_ALIGNED;

struct inflight {
	struct shard shards[SHARDS];
};

static struct locked *locked(struct shard *shard) REQUIRES(shard->lock);

static struct locked *
locked(struct shard *shard)
{
	return &shard->locked_;
}

/* Finalizer of MurmurHash3: every input bit reaches every output bit. */
static uint64_t
mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ (x >> 33);
}

static struct shard *
shard_of(struct inflight *inflight, const struct inflight_key *key)
{
	return &inflight->shards[mix((uint64_t)key->user_id) & (SHARDS - 1)];
}

/* The request id seldom differs where coupon and user do not. */
static unsigned
hash_of(const struct inflight_key *key)
{
	return (unsigned)(mix((uint64_t)key->user_id ^
				  mix((uint64_t)key->coupon_id)) >>
			  32);
}

/* uthash is macros: what clang-tidy counts below is their expansion. */
/* NOLINTBEGIN(readability-function-size,readability-function-cognitive-complexity) */

static void
table_add(struct shard *shard, struct inflight_entry *entry)
	REQUIRES(shard->lock)
{
	unsigned hash = hash_of(&entry->key);

	HASH_ADD_BYHASHVALUE(hh, locked(shard)->entries, key,
		sizeof(entry->key), hash, entry);
}

static void
table_remove(struct shard *shard, struct inflight_entry *entry)
	REQUIRES(shard->lock)
{
	HASH_DELETE(hh, locked(shard)->entries, entry);
}

static bool
table_has(struct shard *shard, const struct inflight_key *key)
	REQUIRES(shard->lock)
{
	unsigned hash = hash_of(key);
	struct inflight_entry *entry;

	HASH_FIND_BYHASHVALUE(
		hh, locked(shard)->entries, key, sizeof(*key), hash, entry);
	return entry != NULL;
}

static struct event_count *
event_find(struct shard *shard, int64_t coupon_id) REQUIRES(shard->lock)
{
	struct event_count *event;

	HASH_FIND(hh, locked(shard)->events, &coupon_id, sizeof(coupon_id),
		event);
	return event;
}

static void
event_add(struct shard *shard, struct event_count *event) REQUIRES(shard->lock)
{
	HASH_ADD(hh, locked(shard)->events, coupon_id, sizeof(event->coupon_id),
		event);
}

static void
events_free(struct shard *shard) REQUIRES(shard->lock)
{
	struct event_count *events = locked(shard)->events;
	struct event_count *event = events;

	if (events == NULL)
		return;
	/* The elements hang in a list through hh; the table goes first. */
	HASH_CLEAR(hh, locked(shard)->events);
	for (struct event_count *next; event != NULL; event = next) {
		next = event->hh.next;
		free(event);
	}
}
/* NOLINTEND(readability-function-size,readability-function-cognitive-complexity) */

struct inflight *
inflight_new(void)
{
	struct inflight *inflight =
		aligned_alloc(CACHE_LINE, sizeof(struct inflight));

	if (inflight == NULL)
		abort();
	memset(inflight, 0, sizeof(*inflight));
	for (size_t i = 0; i < SHARDS; i++)
		mutex_init(&inflight->shards[i].lock);
	return inflight;
}

void
inflight_free(struct inflight *inflight)
{
	if (inflight == NULL)
		return;
	for (size_t i = 0; i < SHARDS; i++) {
		struct shard *shard = &inflight->shards[i];
		mutex_lock(&shard->lock);
		assert(locked(shard)->entries == NULL);
		events_free(shard);
		mutex_unlock(&shard->lock);
		mutex_fini(&shard->lock);
	}
	free(inflight);
}

/* The event's counter, made on first use. */
static struct event_count *
event_count(struct shard *shard, int64_t coupon_id) REQUIRES(shard->lock)
{
	struct event_count *event = event_find(shard, coupon_id);

	if (event != NULL)
		return event;
	event = calloc(1, sizeof(*event));
	if (event == NULL)
		abort();
	event->coupon_id = coupon_id;
	event_add(shard, event);
	return event;
}

void
inflight_add(struct inflight *inflight, struct inflight_entry *entry)
{
	struct shard *shard = shard_of(inflight, &entry->key);

	entry->reported = false;
	mutex_lock(&shard->lock);
	table_add(shard, entry);
	event_count(shard, entry->key.coupon_id)->unreported++;
	mutex_unlock(&shard->lock);
}

static void
count_report(struct shard *shard, struct inflight_entry *entry)
	REQUIRES(shard->lock)
{
	if (entry->reported)
		return;
	entry->reported = true;
	struct event_count *event = event_count(shard, entry->key.coupon_id);
	assert(event->unreported > 0);
	event->unreported--;
}

void
inflight_reported(struct inflight *inflight, struct inflight_entry *entry)
{
	struct shard *shard = shard_of(inflight, &entry->key);

	mutex_lock(&shard->lock);
	count_report(shard, entry);
	mutex_unlock(&shard->lock);
}

void
inflight_remove(struct inflight *inflight, struct inflight_entry *entry)
{
	struct shard *shard = shard_of(inflight, &entry->key);

	mutex_lock(&shard->lock);
	count_report(shard, entry);
	table_remove(shard, entry);
	mutex_unlock(&shard->lock);
}

bool
inflight_has(struct inflight *inflight, const struct inflight_key *key)
{
	struct shard *shard = shard_of(inflight, key);

	mutex_lock(&shard->lock);
	bool found = table_has(shard, key);
	mutex_unlock(&shard->lock);
	return found;
}

size_t
inflight_unreported(struct inflight *inflight, int64_t coupon_id)
{
	size_t n = 0;

	for (size_t i = 0; i < SHARDS; i++) {
		struct shard *shard = &inflight->shards[i];
		mutex_lock(&shard->lock);
		const struct event_count *event = event_find(shard, coupon_id);
		n += event != NULL ? event->unreported : 0;
		mutex_unlock(&shard->lock);
	}
	return n;
}
