/* SPDX-License-Identifier: MIT */
/*
 * Thousands of random schedules, each step taken by the pool and by a simple
 * model of it (pool_model.h), and everything that can be seen compared.
 *
 *	test_pool_model            all schedules
 *	POOL_MODEL_SEED=N ...      schedule N alone
 */
#include "common/clock.h"
#include "common/tests/pool_fixture.h"
#include "common/tests/pool_model.h"
#include "common/tests/unit.h"

#define SCHEDULES 5000
#define STEPS 150
#define MAX_MOST 6

struct schedule {
	struct fixture f;
	struct model m;
	struct pool_waiter waiters[MODEL_WAITERS];
	struct pool_entry *lent[MODEL_CONNS]; /* in the order of m.lent */
	struct pool_conn *opening[MODEL_CONNS];
	struct pool_conn *checking;
	unsigned seed, number;
	int step;
	/* after the last step: connections in any form, and waiters */
	size_t existed, waited;
};

static size_t
pick(struct schedule *s, size_t n)
{
	return (size_t)rand_r(&s->seed) % n;
}

#define SAME(s, real, expected)                                                \
	do {                                                                   \
		if ((real) != (expected))                                      \
			fail_msg("POOL_MODEL_SEED=%u step %d: " #real          \
				 " is %lld, the model says %lld",              \
				(s)->number, (s)->step, (long long)(real),     \
				(long long)(expected));                        \
	} while (0)

static void
random_sizes(struct schedule *s, struct pool_config *config)
{
	config->max_active = 1 + pick(s, MAX_MOST);
	config->max_idle = pick(s, MAX_MOST + 1);
	config->min_idle = pick(s, 4);
	config->max_waiters = 1 + pick(s, 8);
}

static struct pool_conn *
conn_of(struct pool_entry *entry)
{
	return container_of(entry, struct pool_conn, entry);
}

/* ---- steps ---- */

static void
request(struct schedule *s)
{
	const struct pool_conn *lent = NULL;
	struct error err = { 0 };
	size_t i = 0;

	while (i < MODEL_WAITERS && s->waiters[i].state != POOL_WAITER_OUT)
		i++;
	assert_true(i < MODEL_WAITERS);
	const size_t n = s->m.lent.n;
	const enum error_kind kind = model_request(&s->m, (int)i, &lent);
	SAME(s,
		pool_request(
			s->f.pool, &s->waiters[i], s->f.inbox, "test", &err),
		-(int)kind);
	if (kind != ERROR_NONE)
		return;
	SAME(s, (intptr_t)conn_of(s->waiters[i].entry), (intptr_t)lent);
	s->lent[n] = s->waiters[i].entry;
	s->waiters[i].state = POOL_WAITER_OUT;
}

static void
cancel(struct schedule *s)
{
	struct error err = { 0 };

	if (s->m.waiting == 0)
		return;
	const size_t place = pick(s, s->m.waiting);
	const bool timed_out = pick(s, 2) == 0;
	const int waiter = s->m.queue[place];
	const enum error_kind kind = model_cancel(&s->m, place, timed_out);
	SAME(s,
		pool_cancel(s->f.pool, &s->waiters[waiter],
			timed_out ? &err : NULL),
		true);
	SAME(s, err.kind, timed_out ? kind : ERROR_NONE);
}

static void
give_back(struct schedule *s)
{
	if (s->m.lent.n == 0)
		return;
	const size_t i = pick(s, s->m.lent.n);
	const enum pool_return how =
		pick(s, 4) == 0 ? POOL_DESTROY : POOL_REUSE;
	struct pool_entry *entry = s->lent[i];

	memmove(&s->lent[i], &s->lent[i + 1],
		(s->m.lent.n - i - 1) * sizeof(s->lent[0]));
	model_release(&s->m, i, how);
	pool_release(s->f.pool, &entry, how);
}

static void
take_work(struct schedule *s)
{
	const struct pool_conn *check = NULL;
	const size_t n = s->m.opening.n;
	const enum model_work work = model_take(&s->m, &check);
	struct pool_conn *conn = fixture_take_work(&s->f);

	SAME(s, conn != NULL, work != MODEL_NOTHING);
	if (work == MODEL_OPEN) {
		SAME(s, conn->state, CONN_OPENING);
		model_opening(&s->m, conn);
		s->opening[n] = conn;
	} else if (work == MODEL_CHECK) {
		SAME(s, (intptr_t)conn, (intptr_t)check);
		s->checking = conn;
	}
}

static void
finish_open(struct schedule *s)
{
	if (s->m.opening.n == 0)
		return;
	const size_t i = pick(s, s->m.opening.n);
	const bool ok = pick(s, 3) != 0;
	struct pool_conn *conn = s->opening[i];

	memmove(&s->opening[i], &s->opening[i + 1],
		(s->m.opening.n - i - 1) * sizeof(s->opening[0]));
	model_opened(&s->m, i, ok);
	s->f.failing_opens = !ok;
	fixture_finish_work(&s->f, conn);
}

static void
finish_check(struct schedule *s)
{
	if (s->m.checking.n == 0)
		return;
	const bool ok = pick(s, 3) != 0;

	model_checked(&s->m, ok);
	s->f.failing_checks = !ok;
	fixture_finish_work(&s->f, s->checking);
}

static void
let_time_pass(struct schedule *s)
{
	static const int64_t ms[] = { 1, 5, 10, 50, 200, 1000, 3000 };

	fixture_advance_ms(&s->f, ms[pick(s, ARRAY_SIZE(ms))]);
	s->m.now = s->f.now;
}

static void
keep(struct schedule *s)
{
	model_keep(&s->m);
	pool_keep(s->f.pool);
}

static void
resize(struct schedule *s)
{
	random_sizes(s, &s->f.config);
	model_configure(&s->m, &s->f.config);
	pool_configure(s->f.pool, &s->f.config);
}

static void
suspend_or_resume(struct schedule *s)
{
	if (s->m.suspended) {
		model_resume(&s->m);
		pool_resume(s->f.pool);
	} else if (pick(s, 3) == 0) {
		s->m.suspended = true;
		pool_suspend(s->f.pool);
	}
}

static void
evict(struct schedule *s)
{
	model_evict(&s->m);
	pool_evict_all(s->f.pool, "test");
}

static void
drain(struct schedule *s)
{
	if (pick(s, 8) != 0)
		return;
	model_drain(&s->m);
	SAME(s, pool_drain(s->f.pool, 0), s->m.lent.n + s->m.checking.n == 0);
}

/* ---- what can be seen ---- */

/* Grants and failures came in the model's order, to the model's waiters. */
static void
compare_answers(struct schedule *s)
{
	const struct model *m = &s->m;

	for (size_t i = 0; i < m->n_answers; i++) {
		const struct model_answer *expected = &m->answers[i];
		struct pool_waiter *waiter = fixture_answer(&s->f);

		SAME(s, waiter != NULL, true);
		SAME(s, waiter - s->waiters, expected->waiter);
		SAME(s, waiter->state == POOL_WAITER_GRANTED,
			expected->conn != NULL);
		waiter->state = POOL_WAITER_OUT;
		if (expected->conn == NULL) {
			SAME(s, waiter->err.kind, ERROR_CLOSED);
			continue;
		}
		SAME(s, (intptr_t)conn_of(waiter->entry),
			(intptr_t)expected->conn);
		for (size_t k = 0; k < m->lent.n; k++)
			if (m->lent.at[k].real == expected->conn)
				s->lent[k] = waiter->entry;
	}
	s->m.n_answers = 0;
	SAME(s, fixture_answer(&s->f) == NULL, true);
}

static void
compare(struct schedule *s)
{
	const struct model *m = &s->m;
	const struct pool_snapshot cut = fixture_snapshot(&s->f);
	const size_t exist = model_total(m) + m->opening.n + m->closing;

	compare_answers(s);
	SAME(s, cut.total, model_total(m));
	SAME(s, cut.active, m->lent.n + m->checking.n);
	SAME(s, cut.idle, m->idle.n);
	SAME(s, cut.opening, m->opening.n);
	SAME(s, cut.waiting, m->waiting);
	SAME(s, cut.oldest_wait_ns,
		m->waiting > 0 ? m->now - m->queued_at[0] : 0);
	SAME(s, cut.timeouts, m->timeouts);
	SAME(s, cut.opened, m->opened);
	SAME(s, cut.open_failed, m->open_failed);
	SAME(s, cut.failing, m->failing);
	SAME(s, cut.suspended, m->suspended);
	/* these hold whatever the model says */
	SAME(s, s->f.live, (int)(cut.total + m->closing));
	SAME(s, cut.waiting > 0 && cut.idle > 0 && !cut.suspended, false);
	SAME(s, cut.waiting > m->config.max_waiters && cut.waiting > s->waited,
		false);
	SAME(s, exist > m->config.max_active && exist > s->existed, false);
	s->existed = exist;
	s->waited = cut.waiting;
}

/* Whatever is under way comes to its end, then the pool goes. */
static void
wind_up(struct schedule *s)
{
	if (s->m.suspended)
		suspend_or_resume(s);
	model_drain(&s->m);
	(void)pool_drain(s->f.pool, 0);
	compare(s);
	while (s->m.lent.n > 0)
		give_back(s);
	while (s->m.opening.n > 0)
		finish_open(s);
	finish_check(s);
	compare(s);
	fixture_fini(&s->f);
}

static void
run_schedule(unsigned number)
{
	static struct schedule s;
	static void (*const steps[])(struct schedule *) = {
		request,
		request,
		request,
		request,
		request,
		cancel,
		give_back,
		give_back,
		give_back,
		take_work,
		take_work,
		take_work,
		finish_open,
		finish_open,
		finish_check,
		let_time_pass,
		let_time_pass,
		keep,
		keep,
		suspend_or_resume,
		resize,
		evict,
		drain,
	};

	memset(&s, 0, sizeof(s));
	s.seed = s.number = number;
	fixture_init(&s.f);
	random_sizes(&s, &s.f.config);
	s.f.config.max_opening = 1 + pick(&s, 3);
	s.f.config.max_lifetime_ns = 5 * NS_PER_S;
	s.f.config.idle_timeout_ns = 2 * NS_PER_S;
	s.f.config.keepalive_ns = 1 * NS_PER_S;
	s.m.config = s.f.config;
	s.m.now = s.f.now;
	fixture_start(&s.f, 0);
	/* rare steps are rare: most schedules draw from the first ones */
	const size_t kinds = ARRAY_SIZE(steps) - pick(&s, 5);
	for (s.step = 0; s.step < STEPS; s.step++) {
		steps[pick(&s, kinds)](&s);
		compare(&s);
	}
	wind_up(&s);
}

static void
pool_does_what_the_model_says(void **state)
{
	const char *one = getenv("POOL_MODEL_SEED");

	(void)state;
	if (one != NULL) {
		run_schedule((unsigned)strtoul(one, NULL, 10));
		return;
	}
	for (unsigned number = 1; number <= SCHEDULES; number++)
		run_schedule(number);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pool_does_what_the_model_says),
	};

	return cmocka_run_group_tests_name("pool_model", tests, NULL, NULL);
}
