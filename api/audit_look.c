/* SPDX-License-Identifier: MIT */
#include "api/audit_look.h"

#include "api/coupon.h"
#include "api/event_loader.h"
#include "api/event_store.h"
#include "api/rebuild_store.h"
#include "api/scripts.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/kafka_scan.h"
#include "common/redis.h"
#include "common/redis_scan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/param.h>

/* By then somebody should have sent it: G3 promises 30 s. */
#define STUCK_MS INT64_C(30000)

/* One look under way. */
struct reading {
	const struct audit_look *look;
	struct audit_result *result;
	struct audit *audit;
	int64_t coupon_id;
	struct coupon coupon;
	struct event_figures figures; /* before anything else was read */
	struct rebuild_offsets offsets;
	/* Where each partition's unconsumed messages begin and end. */
	struct kafka_scan_partition *partitions;
	size_t n_partitions;
};

static int
no_memory(struct error *err)
{
	return error_set(err, ERROR_NO_MEMORY, "audit: out of memory");
}

static int
done_or_no_memory(bool done, struct error *err)
{
	return done ? 0 : no_memory(err);
}

static int
tick(void *arg, struct error *err)
{
	const struct audit_look *look = ((struct reading *)arg)->look;

	return look->tick == NULL ? 0 : look->tick(look->arg, err);
}

static struct store_call
store_call(const struct audit_look *look)
{
	return (struct store_call){ look->pg, look->deadline_ns };
}

/* ---- the event itself ---- */

static int
find_of_event(struct reading *r, enum audit_case found, struct error *err)
{
	const struct audit_finding finding = { .found = found };

	return done_or_no_memory(
		audit_findings_add(&r->result->findings, &finding), err);
}

static int
compare_fields(struct reading *r, struct error *err)
{
	const struct coupon *c = &r->coupon;
	const struct event_figures *f = &r->figures;

	if (f->version < c->version)
		return find_of_event(r, AUDIT_CASE_VERSION_BEHIND, err);
	if (f->version > c->version)
		return find_of_event(r, AUDIT_CASE_VERSION_AHEAD, err);
	/* Redis also notes that the window is over: closed there alone. */
	if (f->total != c->total || f->opens_at_ms != c->opens_at_ms ||
		f->closes_at_ms != c->closes_at_ms || (c->closed && !f->closed))
		return find_of_event(r, AUDIT_CASE_FIELDS_DIFFER, err);
	return 0;
}

static int
check_fence(struct reading *r, struct error *err)
{
	const struct store_call call = store_call(r->look);
	bool leased = false;
	int rc = rebuild_store_is_leased(&call, r->coupon_id, &leased, err);

	if (rc != 0 || (leased && !r->look->at_rest))
		return rc;
	return find_of_event(r, AUDIT_CASE_FENCED, err);
}

static int
check_presence(struct reading *r, struct error *err)
{
	if (r->figures.event == EVENT_FENCED)
		return check_fence(r, err);
	if (r->figures.event == EVENT_LIVE)
		return compare_fields(r, err);
	if (coupon_is_past(&r->coupon, clock_wall_ms()))
		return 0;
	return find_of_event(r, AUDIT_CASE_MISSING_IN_REDIS, err);
}

static int
read_figures(
	const struct reading *r, struct event_figures *ret, struct error *err)
{
	const struct event_loader loader = { .shards = r->look->shards,
		.pg = r->look->pg };

	return event_figures_read(
		&loader, r->coupon_id, r->look->deadline_ns, ret, err);
}

/* ---- Redis ---- */

static int
add_free(void *arg, const char *member, const char *score, struct error *err)
{
	struct reading *r = arg;

	(void)score;
	r->result->free_numbers++;
	return done_or_no_memory(
		audit_add_free(r->audit, strtoll(member, NULL, 10)), err);
}

static int
add_user(void *arg, const char *field, const char *value, struct error *err)
{
	struct reading *r = arg;
	struct message message;

	if (users_entry_parse(field, value, r->coupon_id, &message)) {
		r->result->holders++;
		return done_or_no_memory(
			audit_add_holder(r->audit, &message), err);
	}
	if (users_rejection_parse(field, value, r->coupon_id, &message))
		return done_or_no_memory(
			audit_add_rejected(r->audit, &message), err);
	return 0;
}

static int
add_pending(void *arg, const char *member, const char *score, struct error *err)
{
	struct reading *r = arg;
	struct message message;
	bool ours = outbox_member_parse(member, r->coupon_id, &message);

	r->result->pending++;
	return done_or_no_memory(
		audit_add_pending(r->audit, ours ? &message : NULL,
			strtoll(score, NULL, 10)),
		err);
}

/* In this order: see the essay of api/audit.c. */
static int
read_redis(struct reading *r, struct error *err)
{
	static const struct {
		const char *command, *part;
		int (*pair)(void *arg, const char *first, const char *second,
			struct error *err);
	} keys[] = {
		{ "ZSCAN", "free", add_free },
		{ "HSCAN", "users", add_user },
		{ "ZSCAN", "pending", add_pending },
	};
	struct pool *pool = redis_shard_pool(r->look->shards, r->coupon_id);
	struct pool_entry *entry;
	int rc = pool_acquire(pool, "audit", r->look->deadline_ns, &entry, err);

	if (rc != 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(keys); i++) {
		char key[REDIS_KEY_SIZE];
		const struct redis_scan scan = {
			.command = keys[i].command,
			.key = key,
			.deadline_ns = r->look->deadline_ns,
			.pair = keys[i].pair,
			.tick = tick,
			.arg = r,
		};

		redis_key(key, r->coupon_id, keys[i].part);
		rc = redis_scan(entry->resource, &scan, err);
	}
	pool_release(pool, &entry, redis_verdict(rc));
	return rc;
}

/* ---- PostgreSQL ---- */

static int
add_decided(void *arg, const struct message *request, const char *reason,
	struct error *err)
{
	struct reading *r = arg;

	if (reason != NULL) {
		r->result->rejections++;
		return done_or_no_memory(
			audit_add_rejection(r->audit, request), err);
	}
	r->result->rows++;
	return done_or_no_memory(audit_add_row(r->audit, request), err);
}

static int
read_database(struct reading *r, struct error *err)
{
	const struct store_call call = store_call(r->look);
	const struct rebuild_cut cut = {
		.coupon_id = r->coupon_id,
		.group_id = r->look->settings->kafka_group_id,
		.topic = r->look->settings->kafka_topic,
		.request = add_decided,
		.tick = tick,
		.arg = r,
	};

	return rebuild_store_read(&call, &cut, &r->offsets, err);
}

/* ---- Kafka ---- */

/* The unconsumed part of every partition; free() *ret. */
static int
read_ends(const struct audit_look *look, const struct rebuild_offsets *offsets,
	struct kafka_scan_partition **ret, size_t *ret_n, struct error *err)
{
	const struct kafka_scan scan = {
		.topic = look->settings->kafka_topic,
		.starts = offsets->items,
		.n_starts = offsets->n,
		.tick = look->tick,
		.arg = look->arg,
		.deadline_ns = look->deadline_ns,
	};

	return kafka_scan(look->settings, &scan, ret, ret_n, err);
}

static int64_t
count_unconsumed(const struct kafka_scan_partition *partitions, size_t n)
{
	int64_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += partitions[i].high - partitions[i].from;
	return count;
}

static bool
is_consumed(const struct reading *r, const rd_kafka_message_t *kafka)
{
	for (size_t i = 0; i < r->n_partitions; i++)
		if (r->partitions[i].id == kafka->partition)
			return kafka->offset < r->partitions[i].from;
	return false; /* the partition is new */
}

static int
add_message(void *arg, const rd_kafka_message_t *kafka, struct error *err)
{
	struct reading *r = arg;
	struct error why;
	struct message message;
	bool identified;

	if (message_decode(kafka->payload, kafka->len, &message, &identified,
		    &why) != MESSAGE_OK ||
		message.coupon_id != r->coupon_id)
		return 0;
	bool consumed = is_consumed(r, kafka);

	r->result->messages += !consumed;
	return done_or_no_memory(
		audit_add_message(r->audit, &message, consumed), err);
}

static int
read_messages(struct reading *r, struct error *err)
{
	struct rebuild_offsets *from = &r->offsets;
	struct kafka_scan_partition *partitions;
	size_t n;

	/* From where the first look found the unconsumed to begin. */
	free(from->items);
	from->n = r->look->whole_topic ? 0 : r->n_partitions;
	from->items = calloc(from->n + 1, sizeof(*from->items));
	if (from->items == NULL)
		return no_memory(err);
	for (size_t i = 0; i < from->n; i++)
		from->items[i] =
			(struct kafka_scan_offset){ r->partitions[i].id,
				r->partitions[i].from };
	const struct kafka_scan scan = {
		.topic = r->look->settings->kafka_topic,
		.starts = from->items,
		.n_starts = from->n,
		.message = add_message,
		.tick = tick,
		.arg = r,
		.deadline_ns = r->look->deadline_ns,
	};
	int rc = kafka_scan(r->look->settings, &scan, &partitions, &n, err);

	if (rc == 0)
		free(partitions);
	return rc;
}

static int
read_kafka(struct reading *r, struct error *err)
{
	const struct audit_look *look = r->look;

	if (!look->whole_topic && !audit_needs_kafka(r->audit))
		return 0;
	int rc = read_ends(
		look, &r->offsets, &r->partitions, &r->n_partitions, err);

	if (rc != 0)
		return rc;
	int64_t unconsumed = count_unconsumed(r->partitions, r->n_partitions);

	if (look->backlog_max > 0 && unconsumed > look->backlog_max) {
		r->result->complete = false;
		audit_without_kafka(r->audit);
		return 0;
	}
	if (unconsumed == 0 && !look->whole_topic)
		return 0;
	return read_messages(r, err);
}

int
audit_backlog(const struct audit_look *look,
	const struct rebuild_offsets *offsets, int64_t *ret, struct error *err)
{
	struct kafka_scan_partition *partitions;
	size_t n;
	int rc = read_ends(look, offsets, &partitions, &n, err);

	if (rc != 0)
		return rc;
	*ret = count_unconsumed(partitions, n);
	free(partitions);
	return 0;
}

/* ---- the whole ---- */

/* Was the event replaced in Redis while it was read? */
static int
check_epoch(struct reading *r, struct error *err)
{
	struct event_figures figures;
	int rc = read_figures(r, &figures, err);

	if (rc == 0 && (figures.event != r->figures.event ||
			       figures.epoch != r->figures.epoch))
		r->result->conclusive = false;
	return rc;
}

static uint32_t
count_slices(const struct reading *r)
{
	const struct event_figures *f = &r->figures;
	int64_t given = MIN(f->next - 1, f->total) - f->free;

	if (r->look->slice_users == 0)
		return 1;
	return (uint32_t)(1 + MAX(given, r->coupon.issued) /
				      r->look->slice_users);
}

static int
read_all(struct reading *r, struct error *err)
{
	const uint32_t n_slices = count_slices(r);
	const struct audit_begin begin = {
		.total = r->coupon.total,
		.only_rows = r->figures.event != EVENT_LIVE,
		.next = r->figures.next,
		.at_rest = r->look->at_rest,
		.as_of_ms = r->figures.now_ms,
		.stuck_after_ms =
			STUCK_MS +
			r->look->settings->outbox_relay_after_ns / NS_PER_MS,
		.n_slices = n_slices,
		.slice = r->look->turn % n_slices,
	};
	int rc = 0;

	r->result->n_slices = n_slices;
	r->audit = audit_new(&begin, &r->result->findings);
	if (r->audit == NULL)
		return no_memory(err);
	if (!begin.only_rows)
		rc = read_redis(r, err);
	if (rc == 0)
		rc = read_database(r, err);
	if (rc == 0)
		rc = read_kafka(r, err);
	if (rc == 0)
		rc = check_epoch(r, err);
	if (rc == 0 && r->result->conclusive)
		rc = done_or_no_memory(audit_judge(r->audit), err);
	return rc;
}

/* PostgreSQL does not know the event: does Redis? */
static int
look_at_unknown(struct reading *r, struct error *err)
{
	if (r->figures.event == EVENT_MISSING)
		return error_set(err, ERROR_NOT_FOUND,
			"there is no event %" PRId64, r->coupon_id);
	return find_of_event(r, AUDIT_CASE_MISSING_IN_DATABASE, err);
}

static int
look_at_event(struct reading *r, struct error *err)
{
	const struct store_call call = store_call(r->look);
	int found =
		event_store_get_latest(&call, r->coupon_id, &r->coupon, err);

	if (found != 0 && found != -ERROR_NOT_FOUND)
		return found;
	int rc = read_figures(r, &r->figures, err);

	if (rc != 0)
		return rc;
	if (found != 0)
		return look_at_unknown(r, err);
	r->result->total = r->coupon.total;
	r->result->next = r->figures.next;
	rc = check_presence(r, err);
	return rc != 0 ? rc : read_all(r, err);
}

int
audit_look(const struct audit_look *look, int64_t coupon_id,
	struct audit_result *ret, struct error *err)
{
	struct reading r = { look, ret, .coupon_id = coupon_id };

	*ret = (struct audit_result){
		.conclusive = true,
		.complete = true,
		.n_slices = 1,
	};
	int rc = look_at_event(&r, err);

	audit_free(r.audit);
	free(r.offsets.items);
	free(r.partitions);
	if (rc != 0)
		audit_result_fini(ret);
	return rc;
}

void
audit_result_fini(struct audit_result *result)
{
	audit_findings_fini(&result->findings);
}
