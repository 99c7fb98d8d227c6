/* SPDX-License-Identifier: MIT */
/*
 * pipeline_fixture - a pipeline on a fake loop before a fake Redis, and calls
 * that note how they ended.  Include it in one test file.
 */
#ifndef API_TESTS_PIPELINE_FIXTURE_H
#define API_TESTS_PIPELINE_FIXTURE_H

#include "api/pipeline.h"
#include "api/tests/fake_loop.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/pool_admin.h"
#include "common/redis.h"
#include "common/tests/counted.h"
#include "common/tests/fake_redis.h"
#include "common/tests/unit.h"

#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>

#define LIMIT_NS (30 * NS_PER_S) /* for what must happen */

struct fixture {
	struct settings settings;
	struct redis_script script;
	struct http_loop loop;
	struct metrics *metrics;
	struct fake_redis *fake;
	struct redis_shards *shards;
	struct pipeline *pipeline;
	size_t waiting_for; /* calls that have not ended */
	bool join;          /* the calls that start now may be joined */
	int64_t event;      /* ... with others of this event */
};

struct call {
	struct redis_command command;
	struct fixture *f;
	char id[32];
	char reply[64];
	int ended;
	struct error err;
};

static inline void
call_done(struct redis_command *command, const struct redisReply *reply,
	const struct error *err)
{
	struct call *call = container_of(command, struct call, command);

	call->ended++;
	call->f->waiting_for--;
	call->err = err != NULL ? *err : (struct error){ 0 };
	if (reply != NULL)
		snprintf(call->reply, sizeof(call->reply), "%s", reply->str);
}

/* Submit a call that expects its own id back. */
static inline void
call_start(struct fixture *f, struct call *call, int timeout_ms)
{
	static size_t counter;

	*call = (struct call){ .f = f };
	snprintf(call->id, sizeof(call->id), "id-%zu", counter++);
	call->command = (struct redis_command){
		.coupon_id = f->event,
		.script = &f->script,
		.n_keys = f->join ? 2 : 1,
		.n_common = f->join ? 2 : 0,
		.argc = f->join ? 3 : 2,
		.argv = { "key", f->join ? "key" : call->id, call->id },
		.argvlen = { 3, f->join ? 3 : strlen(call->id),
			strlen(call->id) },
		.deadline_ns = clock_now_ns() + timeout_ms * NS_PER_MS,
		.done = call_done,
	};
	f->waiting_for++;
	pipeline_submit(f->pipeline, &call->command);
	assert_int_equal(call->ended, 0);
}

static inline void
run_for(struct fixture *f, int ms)
{
	const int64_t until_ns = clock_now_ns() + ms * NS_PER_MS;

	do
		fake_loop_turn(&f->loop, f->pipeline, until_ns);
	while (clock_now_ns() < until_ns);
}

/* Until every call has ended; a call that never does fails the test. */
static inline void
run(struct fixture *f)
{
	const int64_t until_ns = clock_now_ns() + LIMIT_NS;

	while (f->waiting_for > 0 && clock_now_ns() < until_ns)
		fake_loop_turn(&f->loop, f->pipeline, until_ns);
	assert_int_equal(f->waiting_for, 0);
	fake_loop_turn(&f->loop, f->pipeline, 0);
}

static inline void
assert_answered(const struct call *call)
{
	assert_int_equal(call->ended, 1);
	assert_string_equal(error_name(call->err.kind), error_name(ERROR_NONE));
	assert_string_equal(call->reply, call->id);
	assert_true(call->command.sent);
}

static inline void
assert_failed(const struct call *call, enum error_kind kind)
{
	assert_int_equal(call->ended, 1);
	assert_string_equal(error_name(call->err.kind), error_name(kind));
}

static inline struct pool_snapshot
snapshot(struct fixture *f)
{
	struct pool_snapshot s;

	pool_snapshot(redis_shards_pool_at(f->shards, 0), &s);
	return s;
}

static inline double
counted(struct fixture *f, const char *name)
{
	return metrics_counted(f->metrics, name);
}

/* max-active 4, max-pipeline 64, and times that a busy machine keeps. */
static inline void
fixture_init(struct fixture *f)
{
	*f = (struct fixture){
		.settings = {
			.redis_host = "127.0.0.1",
			.redis_timeout_ns = 10 * NS_PER_S,
			.redis_pool_max_active = 4,
			.redis_pool_max_idle = 4,
			.redis_pool_max_wait_ns = 10 * NS_PER_S,
			.redis_pool_max_pipeline = 64,
			.redis_pool_max_waiters = 1000,
		},
		.script = { .name = "echo", .text = "return ARGV[1]" },
		.event = 1,
	};
}

static inline void
fixture_connect(struct fixture *f, int port)
{
	signal(SIGPIPE, SIG_IGN);
	f->settings.redis_port = port;
	f->metrics = metrics_new();
	fake_loop_init(&f->loop);
	pipelines_configure(&f->settings);
	f->shards = redis_shards_new(&f->settings, &f->script, 1, f->metrics);
	f->pipeline = pipeline_new(&f->loop, f->shards, f->metrics);
}

static inline void
fixture_start(struct fixture *f, fake_script *script, void *ctx)
{
	int port;

	f->fake = fake_redis_start(script, ctx, &port);
	fixture_connect(f, port);
}

static inline void
fixture_fini(struct fixture *f)
{
	pipeline_free(f->pipeline);
	assert_int_equal(f->waiting_for, 0);
	assert_true(
		redis_shards_drain(f->shards, clock_now_ns() + 5 * NS_PER_S));
	redis_shards_free(f->shards);
	if (f->fake != NULL)
		fake_redis_stop(f->fake);
	fake_loop_fini(&f->loop);
	metrics_free(f->metrics);
}

#endif
