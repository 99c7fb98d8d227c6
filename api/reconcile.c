/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * Every few seconds the api whose role it is goes over the events that have
 * not ended long ago.  It keeps the role from pass to pass (api/role.h): when
 * an event was compared or rebuilt last, and what it showed, that one alone
 * remembers.
 *
 * Counting is cheap: the numbers given out less the rows are what is on its
 * way, and that must be in the outbox or in Kafka.  Only when more is missing
 * than that, or now and then, is the event compared as a whole
 * (api/audit_look.h), and what is found must be found again at a second look
 * before it counts.  Of an event with more than SLICE_USERS users each look
 * judges a slice, so that memory stays bounded; all slices take turns.
 *
 * That a request is lost in Kafka is seen like this: it is held in users,
 * was not in the outbox when that was read, which only Kafka's
 * acknowledgement empties; PostgreSQL, read after that on the primary, has no
 * final state of it; and the messages between the offsets of that same
 * snapshot and the high watermarks do not have it either.  That covers a
 * topic shorter than its offset: there the consumer starts over at the first
 * message, and so does the reading.  Where more than BACKLOG_MAX messages
 * wait, nobody can tell yet, and nothing is said to be missing.
 *
 * A second copy does no harm, the consumer knows the request by its id.
 */
#include "api/reconcile.h"

#include "api/audit_look.h"
#include "api/coupon.h"
#include "api/event_errors.h"
#include "api/event_loader.h"
#include "api/event_store.h"
#include "api/rebuild.h"
#include "api/rebuild_store.h"
#include "api/reconcile_memo.h"
#include "api/reconcile_report.h"
#include "api/reconcile_restore.h"
#include "api/role.h"
#include "api/scripts.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/sync.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <sys/param.h>

#define PASS_EVERY_MAX_NS (5 * NS_PER_S)
#define SECOND_LOOK_NS (1 * NS_PER_S)
#define REBUILD_EVERY_NS (60 * NS_PER_S)
#define STEP_TIMEOUT_NS (5 * NS_PER_S)
#define LOOK_TIMEOUT_NS (30 * NS_PER_S)
#define LOOK_PER_USER_NS INT64_C(50000) /* measured: 10 us on a busy core */
#define SLICE_USERS INT64_C(250000)     /* some 70 MB */
/* A look that took a second is not repeated for so many, when nothing was
 * found and when something was. */
#define REST_CLEAN 20
#define REST_WRONG 4
#define BACKLOG_MAX INT64_C(200000)

struct reconcile {
	struct reconcile_config config;
	struct reconcile_report report;
	_Atomic int64_t full_every_ns;
	pthread_t thread;
	struct mutex lock;
	struct cond changed; /* with lock: stopping */
	struct locked {      /* only through locked() */
		bool stopping;
	} locked_;
	/* The thread's. */
	struct role role;
	struct reconcile_memos memos;
	struct rebuild_offsets offsets; /* when this pass began */
	int64_t backlog; /* messages behind them, as last asked in this pass */
};

static struct locked *locked(struct reconcile *reconcile)
	REQUIRES(reconcile->lock);

static struct locked *
locked(struct reconcile *reconcile)
{
	return &reconcile->locked_;
}

/* False once it is to stop. */
static bool
wait_for(struct reconcile *reconcile, int64_t ns)
{
	int64_t deadline_ns = clock_now_ns() + ns;
	bool in_time = true;

	mutex_lock(&reconcile->lock);
	while (!locked(reconcile)->stopping && in_time)
		in_time = cond_wait_until(
			&reconcile->changed, &reconcile->lock, deadline_ns);
	bool stopping = locked(reconcile)->stopping;
	mutex_unlock(&reconcile->lock);
	return !stopping;
}

static int
tick(void *arg, struct error *err)
{
	struct reconcile *reconcile = arg;

	mutex_lock(&reconcile->lock);
	bool stopping = locked(reconcile)->stopping;
	mutex_unlock(&reconcile->lock);
	if (stopping)
		return error_set(err, ERROR_CLOSED, "reconcile: stopping");
	return role_keep(&reconcile->role, err);
}

static struct audit_look
new_look(struct reconcile *reconcile, int64_t timeout_ns)
{
	return (struct audit_look){
		.pg = reconcile->config.pg,
		.shards = reconcile->config.shards,
		.settings = reconcile->config.settings,
		.backlog_max = BACKLOG_MAX,
		.slice_users = SLICE_USERS,
		.deadline_ns = clock_now_ns() + timeout_ns,
		.tick = tick,
		.arg = reconcile,
	};
}

/* ---- one event ---- */

static void
act(struct reconcile *reconcile, struct reconcile_memo *memo,
	const struct audit_findings *findings)
{
	const struct reconcile_restore restore = { reconcile->config.shards,
		memo->coupon_id, clock_now_ns() + STEP_TIMEOUT_NS };
	struct error err;
	int64_t restored = 0;
	bool rebuild = false;

	for (size_t i = 0; i < findings->n; i++)
		rebuild |= audit_case_info(findings->items[i].found)->repair ==
			   AUDIT_REBUILD;
	if (reconcile_restore(&restore, findings, &restored, &err) != 0)
		LOG_WARN("lost requests not sent again yet",
			LOG_INT("coupon", memo->coupon_id), LOG_ERR(&err));
	reconcile_report_restored(&reconcile->report, (uint64_t)restored);
	if (restored > 0)
		LOG_WARN("requests that Kafka lost are sent again",
			LOG_INT("coupon", memo->coupon_id),
			LOG_INT("restored", restored));
	if (!rebuild || clock_now_ns() < memo->next_rebuild_ns)
		return;
	if (rebuild_request(reconcile->config.rebuild, memo->coupon_id,
		    REBUILD_AT_ODDS))
		memo->next_rebuild_ns = clock_now_ns() + REBUILD_EVERY_NS;
}

static void
note(struct reconcile_memo *memo, const struct audit_result *result)
{
	uint64_t before[AUDIT_N_VIOLATIONS];

	memcpy(before, memo->counts, sizeof(before));
	if (reconcile_memo_note(memo, &result->findings, result->n_slices))
		memo->next_full_ns = 0; /* until it is gone */
	for (size_t i = 0; i < AUDIT_N_VIOLATIONS; i++)
		if (memo->counts[i] != before[i])
			LOG_WARN("violations of an event",
				LOG_INT("coupon", memo->coupon_id),
				LOG_STR("violation",
					audit_violation_name(
						(enum audit_violation)i)),
				LOG_INT("count", memo->counts[i]));
}

static int
look_once(struct reconcile *reconcile, const struct reconcile_memo *memo,
	const struct coupon *coupon, struct audit_result *ret,
	struct error *err)
{
	struct audit_look look = new_look(reconcile,
		LOOK_TIMEOUT_NS + coupon->issued * LOOK_PER_USER_NS);

	look.turn = memo->turn;
	return audit_look(&look, coupon->id, ret, err);
}

/* A look whose findings are confirmed by a second one. */
static int
look_twice(struct reconcile *reconcile, const struct reconcile_memo *memo,
	const struct coupon *coupon, struct audit_result *ret,
	struct error *err)
{
	struct audit_result first;
	int rc = look_once(reconcile, memo, coupon, ret, err);

	if (rc != 0 || ret->findings.n == 0 || !ret->conclusive)
		return rc;
	first = *ret;
	if (wait_for(reconcile, SECOND_LOOK_NS))
		rc = look_once(reconcile, memo, coupon, ret, err);
	else
		rc = error_set(err, ERROR_CLOSED, "reconcile: stopping");
	if (rc == 0)
		audit_findings_intersect(&ret->findings, &first.findings);
	audit_result_fini(&first);
	return rc;
}

static int
compare(struct reconcile *reconcile, struct reconcile_memo *memo,
	const struct coupon *coupon, struct error *err)
{
	int64_t begun_ns = clock_now_ns();
	struct audit_result result = { 0 };
	int rc = look_twice(reconcile, memo, coupon, &result, err);
	int64_t now_ns = clock_now_ns(), took_ns = now_ns - begun_ns;

	/* Also after a failure: the other events have their turn first. */
	memo->not_before_ns = now_ns + REST_WRONG * took_ns;
	if (rc == -ERROR_NOT_FOUND)
		return 0; /* deleted meanwhile */
	if (rc != 0)
		return rc;
	memo->next_full_ns =
		now_ns + MAX(atomic_load(&reconcile->full_every_ns),
				 REST_CLEAN * took_ns);
	if (result.conclusive) {
		note(memo, &result);
		act(reconcile, memo, &result.findings);
	}
	audit_result_fini(&result);
	return 0;
}

/* Is more missing than what may be on its way? */
static int
count(struct reconcile *reconcile, const struct coupon *coupon, bool *ret_off,
	struct error *err)
{
	const struct audit_look look = new_look(reconcile, STEP_TIMEOUT_NS);
	const struct event_loader loader = {
		.shards = reconcile->config.shards,
		.pg = reconcile->config.pg,
	};
	struct event_figures figures;
	int rc = event_figures_read(
		&loader, coupon->id, look.deadline_ns, &figures, err);

	*ret_off = false;
	if (rc != 0 || figures.event != EVENT_LIVE)
		return rc; /* upkeep sees to it */
	int64_t given = MIN(figures.next - 1, figures.total) - figures.free;
	int64_t on_their_way = given - coupon->issued;

	if (on_their_way >= 0 && on_their_way <= figures.pending)
		return 0;
	*ret_off = on_their_way < 0;
	if (*ret_off || on_their_way <= figures.pending + reconcile->backlog)
		return 0;
	/* Asked again: what was sent since then counts as well. */
	rc = audit_backlog(
		&look, &reconcile->offsets, &reconcile->backlog, err);
	*ret_off =
		rc == 0 && on_their_way > figures.pending + reconcile->backlog;
	return rc;
}

static int
tend_event(struct reconcile *reconcile, const struct coupon *coupon,
	struct error *err)
{
	struct reconcile_memo *memo =
		reconcile_memos_recall(&reconcile->memos, coupon->id);
	bool off = true;
	int rc = 0;

	if (clock_now_ns() < memo->not_before_ns)
		return 0;
	if (clock_now_ns() < memo->next_full_ns)
		rc = count(reconcile, coupon, &off, err);
	if (rc == 0 && off)
		rc = compare(reconcile, memo, coupon, err);
	return rc;
}

/* ---- one pass ---- */

static void
publish(struct reconcile *reconcile)
{
	uint64_t sums[AUDIT_N_VIOLATIONS] = { 0 };

	for (const struct reconcile_memo *memo = reconcile->memos.items;
		memo != NULL; memo = memo->hh.next)
		for (size_t i = 0; i < AUDIT_N_VIOLATIONS; i++)
			sums[i] += memo->counts[i];
	reconcile_report_violations(&reconcile->report, sums);
}

static int
tend_page(struct reconcile *reconcile, const struct coupon_page *page,
	struct event_errors *errors, struct error *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < page->count; i++) {
		const struct coupon *coupon = &page->items[i];

		if (coupon_is_past(coupon, clock_wall_ms()))
			continue;
		rc = tick(reconcile, err);
		if (rc == 0)
			rc = tend_event(reconcile, coupon, err);
		if (rc != 0 && rc != -ERROR_CLOSED && rc != -ERROR_CANCELLED)
			LOG_WARN("event not compared",
				LOG_INT("coupon", coupon->id), LOG_ERR(err));
		rc = event_errors_note(errors, coupon->id, rc, err);
	}
	return rc;
}

/* Before the rows are counted: what was consumed since is then counted twice,
 * as a row and as a message, and nothing is missing that is not. */
static int
read_offsets(struct reconcile *reconcile, struct error *err)
{
	const struct settings *settings = reconcile->config.settings;
	const struct store_call call = { reconcile->config.pg,
		clock_now_ns() + STEP_TIMEOUT_NS };

	free(reconcile->offsets.items);
	reconcile->offsets = (struct rebuild_offsets){ 0 };
	return rebuild_store_offsets(&call, settings->kafka_group_id,
		settings->kafka_topic, &reconcile->offsets, err);
}

static int
tend_all(struct reconcile *reconcile, struct error *err)
{
	struct coupon_page page = { .limit = PAGE_MAX, .count = PAGE_MAX };
	struct event_errors errors = { 0 };
	int64_t after = 0;
	int rc = read_offsets(reconcile, err);

	reconcile->memos.pass++;
	reconcile->backlog = 0;
	while (rc == 0 && page.count == page.limit) {
		const struct store_call call = { reconcile->config.pg,
			clock_now_ns() + STEP_TIMEOUT_NS };

		rc = event_store_list(&call, after, &page, err);
		if (rc == 0 && page.count > 0)
			after = page.items[page.count - 1].id;
		if (rc == 0)
			rc = tend_page(reconcile, &page, &errors, err);
	}
	if (rc == 0) {
		reconcile_memos_forget(&reconcile->memos);
		publish(reconcile);
	}
	return event_errors_end(&errors, rc, err);
}

/* *ret_mine false: another api does it. */
static int
run_pass(struct reconcile *reconcile, bool *ret_mine, struct error *err)
{
	int rc = role_take(&reconcile->role, err);

	if (rc == 0 && reconcile->role.mine)
		rc = tend_all(reconcile, err);
	*ret_mine = reconcile->role.mine;
	/* Handed on in the middle of a pass: no failure. */
	return rc == -ERROR_CANCELLED ? 0 : rc;
}

static void
pass(struct reconcile *reconcile)
{
	int64_t begun_ns = clock_now_ns();
	bool mine = false;
	struct error err;
	int rc = run_pass(reconcile, &mine, &err);

	if (!mine) { /* what this one saw is not up to date */
		reconcile_memos_fini(&reconcile->memos);
		publish(reconcile);
	}
	reconcile_report_pass(&reconcile->report, clock_now_ns() - begun_ns,
		mine, rc == 0 ? NULL : &err);
	if (rc != 0 && rc != -ERROR_CLOSED)
		LOG_WARN("Redis, Kafka and PostgreSQL not compared",
			LOG_ERR(&err));
}

static int64_t
pass_every_ns(struct reconcile *reconcile)
{
	return MIN(PASS_EVERY_MAX_NS, atomic_load(&reconcile->full_every_ns));
}

static void *
reconcile_main(void *arg)
{
	struct reconcile *reconcile = arg;

	thread_set_name("reconcile");
	while (wait_for(reconcile, pass_every_ns(reconcile)))
		pass(reconcile);
	role_leave(&reconcile->role);
	return NULL;
}

struct reconcile *
reconcile_start(const struct reconcile_config *config)
{
	struct reconcile *reconcile = calloc(1, sizeof(*reconcile));

	if (reconcile == NULL)
		abort();
	reconcile->config = *config;
	reconcile->role = (struct role){ .pg = config->pg,
		.name = "reconciler",
		.holder = config->instance_id };
	reconcile_report_init(&reconcile->report, config->metrics);
	reconcile_configure(reconcile, config->settings);
	mutex_init(&reconcile->lock);
	cond_init(&reconcile->changed);
	sync_must(pthread_create(
		&reconcile->thread, NULL, reconcile_main, reconcile));
	return reconcile;
}

void
reconcile_configure(
	struct reconcile *reconcile, const struct settings *settings)
{
	atomic_store(
		&reconcile->full_every_ns, settings->reconcile_interval_ns);
}

void
reconcile_stop(struct reconcile *reconcile)
{
	if (reconcile == NULL)
		return;
	mutex_lock(&reconcile->lock);
	locked(reconcile)->stopping = true;
	cond_signal(&reconcile->changed);
	mutex_unlock(&reconcile->lock);
	sync_must(pthread_join(reconcile->thread, NULL));
	reconcile_report_fini(&reconcile->report);
	reconcile_memos_fini(&reconcile->memos);
	free(reconcile->offsets.items);
	cond_fini(&reconcile->changed);
	mutex_fini(&reconcile->lock);
	free(reconcile);
}

void
reconcile_status(struct reconcile *reconcile, struct reconcile_status *ret)
{
	reconcile_report_read(&reconcile->report, ret);
	ret->interval_ns = pass_every_ns(reconcile);
}
