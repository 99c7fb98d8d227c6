/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * A pass asks each event's outbox for stale entries (outbox_stale.lua, which
 * also drops entries that belong to nobody), a batch at a time, oldest first.
 * Only when there are some is the event's lock taken: an idle pass writes
 * nothing.  The lock is never given back, it runs out; who finds his own name
 * in it goes on.
 *
 * What this process has in flight is skipped, but leased like the rest:
 * otherwise a batch full of it would hide what lies behind.  Nothing is sent
 * while the producer has no broker or a long queue; the pass ends there and
 * the next one looks again.
 */
#include "api/relay.h"

#include "api/breaker_probe.h"
#include "api/event_errors.h"
#include "api/producer.h"
#include "api/scripts.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/redis.h"
#include "common/sync.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdatomic.h>

#define LOCK_MS 2000
#define CALL_TIMEOUT_NS (2 * NS_PER_S)
#define INTERVAL_MAX_NS (1 * NS_PER_S)
#define PROBE_INTERVAL_NS (200 * NS_PER_MS)

enum { BATCH = 500 };

/* clang-format off */
static const struct metric_family sent_family METRIC_FAMILY = {
	.name = "coupon.relay.sent",
	.kind = METRIC_COUNTER,
	.description = "Outbox entries that the relay sent again.",
};
static const struct metric_family dropped_family METRIC_FAMILY = {
	.name = "coupon.relay.dropped",
	.kind = METRIC_COUNTER,
	.description = "Outbox entries removed because no user holds them.",
};
/* clang-format on */

struct relay {
	struct relay_config config;
	_Atomic int64_t relay_after_ns;
	char me[REQUEST_ID_MAX + 1]; /* whose lock it is */
	struct counter *sent;
	struct counter *dropped;
	pthread_t thread;
	struct mutex lock;
	struct cond changed; /* stopping was set */
	struct locked {      /* only through locked() */
		bool stopping;
		struct relay_status status;
		int64_t passed_at_ns; /* 0: never */
	} locked_;
	/* Of the relay's thread: said why not, once; a batch of leases. */
	bool complained;
	char members[BATCH][OUTBOX_MEMBER_SIZE];
	const char *argv[2 * BATCH + 3];
	size_t argvlen[2 * BATCH + 3];
};

static struct locked *locked(struct relay *relay) REQUIRES(relay->lock);

static struct locked *
locked(struct relay *relay)
{
	return &relay->locked_;
}

/* One event's share of a pass: its connection, its keys. */
struct event_pass {
	struct relay *relay;
	struct redis_conn *conn;
	int64_t coupon_id;
	int64_t deadline_ns;
	struct relay_status *status;
};

/* Take the event's lock, or find it ours from the last pass. */
static int
take_lock(struct event_pass *pass, bool *ret_mine, struct error *err)
{
	char key[REDIS_KEY_SIZE];
	struct redisReply *reply;

	redis_key(key, pass->coupon_id, "relay");
	int rc = redis_callf(pass->conn, pass->deadline_ns, &reply, err,
		"SET %s %s NX GET PX %d", key, pass->relay->me, LOCK_MS);

	if (rc != 0)
		return rc;
	*ret_mine = reply->type == REDIS_REPLY_NIL ||
		    (reply->type == REDIS_REPLY_STRING &&
			    strcmp(reply->str, pass->relay->me) == 0);
	freeReplyObject(reply);
	return 0;
}

/* Stale entries of the event. */
struct stale_batch {
	struct redisReply *reply; /* freeReplyObject() it */
	int64_t now_ms;
	size_t removed, count;
};

static int
read_stale(struct event_pass *pass, struct stale_batch *ret, struct error *err)
{
	struct event_keys keys;
	const char *argv[SCRIPT_OUTBOX_STALE_KEYS + 2];
	size_t argvlen[SCRIPT_OUTBOX_STALE_KEYS + 2];
	char age_ms[24], most[24];

	event_keys_init(&keys, pass->coupon_id);
	int argc = event_keys_to_argv(
		&keys, SCRIPT_OUTBOX_STALE_KEYS, argv, argvlen);

	argvlen[argc] = (size_t)snprintf(age_ms, sizeof(age_ms), "%" PRId64,
		atomic_load(&pass->relay->relay_after_ns) / NS_PER_MS);
	argv[argc++] = age_ms;
	argvlen[argc] = (size_t)snprintf(most, sizeof(most), "%d", BATCH);
	argv[argc++] = most;
	const struct redis_script_call call = { &scripts[SCRIPT_OUTBOX_STALE],
		SCRIPT_OUTBOX_STALE_KEYS, { argc, argv, argvlen } };
	int rc = redis_eval(
		pass->conn, pass->deadline_ns, &call, &ret->reply, err);

	if (rc != 0)
		return rc;
	if (outbox_stale_parse(
		    ret->reply, &ret->now_ms, &ret->removed, &ret->count) == 0)
		return 0;
	freeReplyObject(ret->reply);
	return error_set(err, ERROR_REDIS_ERROR,
		"outbox_stale.lua gave an answer that is not ours");
}

/* True: a copy is on its way, sent now or before. */
static bool
send_entry(struct event_pass *pass, const struct message *message)
{
	struct producer *producer = pass->relay->config.producer;
	struct inflight_key key = {
		.coupon_id = message->coupon_id,
		.user_id = message->user_id,
	};

	memcpy(key.request_id, message->request_id,
		strlen(message->request_id));
	if (inflight_has(producer_inflight(producer), &key)) {
		pass->status->skipped++;
		return true;
	}
	if (!producer_send(producer, message, NULL))
		return false;
	pass->status->sent++;
	counter_add(pass->relay->sent, 1);
	return true;
}

/* ZADD pending XX score member ...: not stale again before the lease ends. */
static int
lease(struct event_pass *pass, size_t n, int64_t now_ms, struct error *err)
{
	struct relay *relay = pass->relay;
	char key[REDIS_KEY_SIZE], score[24];
	struct redisReply *reply;
	int argc = 0;
	int64_t age_ms = atomic_load(&relay->relay_after_ns) / NS_PER_MS;

	if (n == 0)
		return 0;
	redis_key(key, pass->coupon_id, "pending");
	(void)snprintf(score, sizeof(score), "%" PRId64,
		now_ms + RELAY_LEASE_MS - age_ms);
	relay->argv[argc++] = "ZADD";
	relay->argv[argc++] = key;
	relay->argv[argc++] = "XX";
	for (size_t i = 0; i < n; i++) {
		relay->argv[argc++] = score;
		relay->argv[argc++] = relay->members[i];
	}
	for (int i = 0; i < argc; i++)
		relay->argvlen[i] = strlen(relay->argv[i]);
	const struct redis_args args = { argc, relay->argv, relay->argvlen };
	int rc = redis_call(pass->conn, pass->deadline_ns, &args, &reply, err);

	if (rc == 0)
		freeReplyObject(reply);
	return rc;
}

/* Send one batch.  *ret_more: it was full and all of it went out. */
static int
relay_batch(struct event_pass *pass, const struct stale_batch *stale,
	bool *ret_more, struct error *err)
{
	struct relay *relay = pass->relay;
	size_t n = 0;

	for (size_t i = 0; i < stale->count && n < BATCH; i++) {
		struct message message;

		if (outbox_entry_parse(
			    stale->reply, i, pass->coupon_id, &message) != 0)
			continue;
		if (!send_entry(pass, &message))
			break;
		(void)outbox_member(&message, relay->members[n++]);
	}
	*ret_more = n == BATCH;
	return lease(pass, n, stale->now_ms, err);
}

static int
relay_event(struct event_pass *pass, struct error *err)
{
	bool more = true;
	int rc = 0;

	while (rc == 0 && more &&
		producer_is_ready(pass->relay->config.producer)) {
		struct stale_batch stale;
		bool mine = false;

		pass->deadline_ns = clock_now_ns() + CALL_TIMEOUT_NS;
		rc = read_stale(pass, &stale, err);
		if (rc != 0)
			return rc;
		counter_add(pass->relay->dropped, stale.removed);
		pass->status->removed += stale.removed;
		more = false;
		if (stale.count > 0)
			rc = take_lock(pass, &mine, err);
		if (rc == 0 && mine)
			rc = relay_batch(pass, &stale, &more, err);
		freeReplyObject(stale.reply);
	}
	return rc;
}

/* The ids of the events that this shard has. */
static int
read_events(struct pool *pool, struct redisReply **ret, struct error *err)
{
	int64_t deadline_ns = clock_now_ns() + CALL_TIMEOUT_NS;
	struct pool_entry *entry;
	int rc = pool_acquire(pool, "relay", deadline_ns, &entry, err);

	if (rc != 0)
		return rc;
	rc = redis_callf(entry->resource, deadline_ns, ret, err, "SMEMBERS %s",
		EVENTS_INDEX_KEY);
	pool_release(pool, &entry, redis_verdict(rc));
	return rc;
}

/* A loan per event: others come in between. */
static int
relay_on_loan(struct event_pass *pass, struct pool *pool, struct error *err)
{
	struct pool_entry *entry;
	int rc = pool_acquire(
		pool, "relay", clock_now_ns() + CALL_TIMEOUT_NS, &entry, err);

	if (rc != 0)
		return rc;
	pass->conn = entry->resource;
	pass->status->events++;
	rc = relay_event(pass, err);
	pool_release(pool, &entry, redis_verdict(rc));
	return rc;
}

static int
relay_shard(struct relay *relay, struct pool *pool, struct relay_status *status,
	struct error *err)
{
	struct event_errors errors = { 0 };
	struct redisReply *events;
	int rc = read_events(pool, &events, err);

	if (rc != 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < events->elements; i++) {
		struct event_pass pass = {
			.relay = relay,
			.coupon_id = strtoll(events->element[i]->str, NULL, 10),
			.status = status,
		};

		rc = relay_on_loan(&pass, pool, err);
		if (rc != 0 && !relay->complained)
			LOG_WARN("outbox of an event not relayed",
				LOG_INT("coupon", pass.coupon_id),
				LOG_ERR(err));
		rc = event_errors_note(&errors, pass.coupon_id, rc, err);
	}
	freeReplyObject(events);
	return event_errors_end(&errors, rc, err);
}

static void
relay_pass(struct relay *relay)
{
	struct redis_shards *shards = relay->config.shards;
	struct relay_status status = { 0 };
	struct error err;
	int64_t started_ns = clock_now_ns();
	bool incomplete = false;

	for (size_t i = 0; i < redis_shards_count(shards); i++) {
		if (relay_shard(relay, redis_shards_pool_at(shards, i), &status,
			    &err) == 0)
			continue;
		(void)snprintf(
			status.error, sizeof(status.error), "%s", err.msg);
		incomplete = true;
		if (!relay->complained)
			LOG_WARN("relay pass incomplete", LOG_ERR(&err));
	}
	relay->complained = incomplete;
	if (status.sent > 0)
		LOG_INFO("relay sent outbox entries again",
			LOG_INT("sent", status.sent),
			LOG_INT("in_flight", status.skipped));
	status.last_pass_took_ns = clock_now_ns() - started_ns;
	mutex_lock(&relay->lock);
	locked(relay)->status = status;
	locked(relay)->passed_at_ns = clock_now_ns();
	mutex_unlock(&relay->lock);
}

/* Half of relay-after, so that no entry waits much longer than that. */
static int64_t
interval_ns(const struct relay *relay)
{
	int64_t half = atomic_load(&relay->relay_after_ns) / 2;

	return half < INTERVAL_MAX_NS ? half : INTERVAL_MAX_NS;
}

static void
probe(struct relay *relay)
{
	if (relay->config.breaker != NULL)
		breaker_probe(relay->config.breaker,
			redis_shards_pool_at(relay->config.shards, 0),
			clock_now_ns() + PROBE_INTERVAL_NS);
}

/* False once the relay is to stop. */
static bool
wait_until(struct relay *relay, int64_t deadline_ns)
{
	bool in_time = true;

	mutex_lock(&relay->lock);
	while (!locked(relay)->stopping && in_time)
		in_time = cond_wait_until(
			&relay->changed, &relay->lock, deadline_ns);
	bool stopping = locked(relay)->stopping;

	mutex_unlock(&relay->lock);
	return !stopping;
}

static void *
relay_main(void *arg)
{
	struct relay *relay = arg;
	int64_t next_pass_ns = clock_now_ns() + interval_ns(relay);
	int64_t wake_ns = next_pass_ns;

	thread_set_name("relay");
	while (wait_until(relay, wake_ns)) {
		probe(relay);
		if (clock_now_ns() >= next_pass_ns) {
			relay_pass(relay);
			next_pass_ns = clock_now_ns() + interval_ns(relay);
		}
		wake_ns = next_pass_ns;
		if (wake_ns > clock_now_ns() + PROBE_INTERVAL_NS)
			wake_ns = clock_now_ns() + PROBE_INTERVAL_NS;
	}
	return NULL;
}

struct relay *
relay_start(const struct relay_config *config)
{
	struct relay *relay = calloc(1, sizeof(*relay));

	if (relay == NULL)
		abort();
	relay->config = *config;
	request_id_generate(relay->me);
	relay->sent =
		metrics_counter(config->metrics, &sent_family, METRIC_NO_TAGS);
	relay->dropped = metrics_counter(
		config->metrics, &dropped_family, METRIC_NO_TAGS);
	relay_configure(relay, config->settings);
	mutex_init(&relay->lock);
	cond_init(&relay->changed);
	sync_must(pthread_create(&relay->thread, NULL, relay_main, relay));
	return relay;
}

void
relay_stop(struct relay *relay)
{
	if (relay == NULL)
		return;
	mutex_lock(&relay->lock);
	locked(relay)->stopping = true;
	cond_signal(&relay->changed);
	mutex_unlock(&relay->lock);
	sync_must(pthread_join(relay->thread, NULL));
	cond_fini(&relay->changed);
	mutex_fini(&relay->lock);
	free(relay);
}

void
relay_configure(struct relay *relay, const struct settings *settings)
{
	atomic_store(&relay->relay_after_ns, settings->outbox_relay_after_ns);
}

void
relay_status(struct relay *relay, struct relay_status *ret)
{
	mutex_lock(&relay->lock);
	int64_t at_ns = locked(relay)->passed_at_ns;

	*ret = locked(relay)->status;
	mutex_unlock(&relay->lock);
	ret->interval_ns = interval_ns(relay);
	ret->last_pass_age_ns = at_ns == 0 ? -1 : clock_now_ns() - at_ns;
}
