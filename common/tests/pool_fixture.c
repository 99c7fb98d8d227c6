/* SPDX-License-Identifier: MIT */
#include "common/tests/pool_fixture.h"

#include "common/clock.h"
#include "common/tests/unit.h"

#include <stddef.h>

static int64_t
fake_now(void *arg)
{
	const struct fixture *f = arg;

	return f->now;
}

static int
fake_open(void *ctx, int64_t deadline_ns, void **ret, struct error *err)
{
	struct fixture *f = ctx;

	assert_true(deadline_ns > 0);
	if (f->failing_opens > 0) {
		f->failing_opens--;
		return error_set(err, ERROR_CONNECTION_LOST, "refused");
	}
	*ret = malloc(1); /* ASan and valgrind watch over it */
	assert_non_null(*ret);
	f->live++;
	return 0;
}

static void
fake_close(void *ctx, void *resource)
{
	struct fixture *f = ctx;

	free(resource);
	f->live--;
}

static int
fake_check(void *ctx, void *resource, int64_t deadline_ns, struct error *err)
{
	struct fixture *f = ctx;

	assert_non_null(resource);
	assert_true(deadline_ns > 0);
	if (f->failing_checks == 0)
		return 0;
	f->failing_checks--;
	return error_set(err, ERROR_CONNECTION_LOST, "gone");
}

static const struct pool_methods fake_methods = {
	.open = fake_open,
	.close = fake_close,
	.check = fake_check,
};

static void
on_acquired(void *ctx, int64_t waited_ns, const struct error *err)
{
	struct fixture *f = ctx;

	f->waited_ns = waited_ns;
	if (err == NULL)
		f->acquired++;
	else
		f->refused++;
}

static void
on_released(void *ctx, int64_t held_ns)
{
	struct fixture *f = ctx;

	f->held_ns = held_ns;
	f->released++;
}

static void
on_opened(void *ctx, int64_t took_ns, const struct error *err)
{
	struct fixture *f = ctx;

	assert_true(took_ns >= 0);
	if (err == NULL)
		f->opened++;
	else
		f->open_failed++;
}

static void
on_closed(void *ctx, enum pool_close why)
{
	struct fixture *f = ctx;

	f->closed[why]++;
}

static void
on_leak(void *ctx, const char *holder, int64_t held_ns, bool over)
{
	struct fixture *f = ctx;

	assert_string_equal(holder, "test");
	f->held_ns = held_ns;
	if (over)
		f->unleaked++;
	else
		f->leaks++;
}

static void
on_evicted(void *ctx, const char *reason, size_t total)
{
	struct fixture *f = ctx;

	assert_non_null(reason);
	f->evicted += (int)total;
}

void
fixture_init(struct fixture *f)
{
	*f = (struct fixture){
		.now = 1000 * NS_PER_S,
		.config = {
			.name = "redis",
			.max_active = 2,
			.max_idle = 100,
			.max_waiters = 100,
			.max_opening = 2,
			.connect_timeout_ns = NS_PER_S,
			.validation_timeout_ns = NS_PER_S,
		},
	};
	f->observer = (struct pool_observer){
		.ctx = f,
		.acquired = on_acquired,
		.released = on_released,
		.opened = on_opened,
		.closed = on_closed,
		.leak = on_leak,
		.evicted = on_evicted,
	};
}

void
fixture_start(struct fixture *f, uint64_t seed)
{
	const struct pool_env env = {
		.now_ns = fake_now,
		.arg = f,
		.seed = seed,
	};

	f->pool = pool_new_in(&env, &f->config, &fake_methods, f, &f->observer);
	f->inbox = pool_inbox_new();
}

void
fixture_fini(struct fixture *f)
{
	assert_true(pool_drain(f->pool, 0));
	pool_free(f->pool);
	assert_null(pool_inbox_take(f->inbox));
	pool_inbox_free(f->inbox);
	assert_int_equal(f->live, 0);
}

void
fixture_advance_ms(struct fixture *f, int64_t ms)
{
	f->now += ms * NS_PER_MS;
}

struct pool_conn *
fixture_take_work(struct fixture *f)
{
	mutex_lock(&f->pool->lock);
	struct pool_conn *conn = pool_work_take(f->pool, f->now);
	mutex_unlock(&f->pool->lock);
	return conn;
}

void
fixture_finish_work(struct fixture *f, struct pool_conn *conn)
{
	struct error err = { 0 };
	const int rc = pool_work_do(f->pool, conn, &err);

	pool_work_done(f->pool, conn, rc, &err);
}

bool
fixture_work(struct fixture *f)
{
	struct pool_conn *conn = fixture_take_work(f);

	if (conn != NULL)
		fixture_finish_work(f, conn);
	return conn != NULL;
}

void
fixture_settle(struct fixture *f)
{
	bool busy = true;

	while (busy) {
		pool_keep(f->pool);
		busy = fixture_work(f);
	}
}

struct pool_snapshot
fixture_snapshot(struct fixture *f)
{
	struct pool_snapshot cut;

	pool_snapshot(f->pool, &cut);
	assert_int_equal(cut.active + cut.idle, cut.total);
	return cut;
}

struct pool_entry *
fixture_lend(struct fixture *f)
{
	struct pool_waiter waiter;
	struct error err;

	assert_int_equal(
		pool_request(f->pool, &waiter, f->inbox, "test", &err), 0);
	assert_non_null(waiter.entry->resource);
	return waiter.entry;
}

void
fixture_queue(struct fixture *f, struct pool_waiter *waiter)
{
	struct error err;

	assert_int_equal(pool_request(f->pool, waiter, f->inbox, "test", &err),
		-ERROR_BUSY);
}

struct pool_waiter *
fixture_answer(struct fixture *f)
{
	return pool_inbox_take(f->inbox);
}

void
fixture_return(
	struct fixture *f, struct pool_entry *entry, enum pool_return how)
{
	pool_release(f->pool, &entry, how);
	assert_null(entry);
}
