/* SPDX-License-Identifier: MIT */
/*
 * Thousands of commands before a Redis that does at random all that the fake
 * can do, under limits that change: each ends exactly once, and with its own
 * reply.  PIPELINE_SEED and PIPELINE_ROUNDS repeat and prolong.
 */
#include "api/tests/pipeline_fixture.h"
#include "common/log.h"

enum { BURST_MAX = 60, HELD = 20 };

struct schedule {
	uint64_t seed;
	_Atomic int trouble; /* how many answers of a thousand go wrong */
};

/* splitmix64: the n-th random number of a seed, whoever asks. */
static uint64_t
random_at(uint64_t seed, uint64_t n)
{
	uint64_t z = seed + (n + 1) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static struct fake_answer
at_random(void *ctx, size_t n, size_t conn UNUSED, const char *last UNUSED)
{
	/* Not FAKE_TWICE: one reply too many shifts those behind it, and
	 * nothing in the protocol would tell. */
	static const enum fake_act acts[] = { FAKE_ERROR, FAKE_NOSCRIPT,
		FAKE_HALF, FAKE_HALF_CLOSE, FAKE_CLOSE, FAKE_SILENCE,
		FAKE_GARBAGE, FAKE_FEWER };
	const struct schedule *schedule = ctx;
	const uint64_t r = random_at(schedule->seed, n);
	struct fake_answer answer = { FAKE_ECHO, 0 };

	if (r % 1000 < (uint64_t)schedule->trouble)
		answer.act = acts[(r >> 10) % ARRAY_SIZE(acts)];
	if ((r >> 20) % 80 == 0)
		answer.delay_ms = (int)((r >> 30) % 30);
	return answer;
}

static void
check(const struct call *call)
{
	if (call->ended == 0)
		return;
	assert_int_equal(call->ended, 1);
	if (call->err.kind == ERROR_NONE)
		assert_string_equal(call->reply, call->id);
	else if (call->err.kind == ERROR_REDIS_ERROR)
		assert_string_equal(call->reply, "ERR as told");
}

/* The calls of `HELD` bursts are in memory; the oldest has surely ended. */
static void
start_burst(struct fixture *f, struct call (*held)[BURST_MAX], uint64_t round,
	uint64_t seed)
{
	struct call *burst = held[round % HELD];
	const uint64_t r = random_at(seed, round);

	for (size_t i = 0; i < BURST_MAX; i++) {
		while (burst[i].f != NULL && burst[i].ended == 0)
			fake_loop_turn(&f->loop, f->pipeline, INT64_MAX);
		check(&burst[i]);
	}
	memset(burst, 0, sizeof(held[0]));
	for (size_t i = 0; i < r % BURST_MAX; i++) {
		const uint64_t s = random_at(r, i);

		f->join = (s >> 8) % 4 != 0;
		f->event = 1 + (int64_t)(s >> 16) % 2;
		call_start(f, &burst[i], 1 + (int)(s % 40));
	}
}

static void
change_limits(struct fixture *f, uint64_t r)
{
	static const int limits[] = { 1, 2, 5, 64 };

	f->settings.redis_pool_max_pipeline = limits[r % 4];
	f->settings.redis_pool_max_active = 1 + (int64_t)(r >> 8) % 6;
	pipelines_configure(&f->settings);
	redis_shards_configure(f->shards, &f->settings);
}

static uint64_t
number_from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void
every_command_ends_once_and_with_its_own_reply(void **state UNUSED)
{
	static struct call held[HELD][BURST_MAX];
	const uint64_t rounds = number_from_env("PIPELINE_ROUNDS", 1500);
	struct schedule schedule = {
		.seed = number_from_env(
			"PIPELINE_SEED", (uint64_t)clock_now_ns()),
	};
	struct fixture f;

	print_message(
		"PIPELINE_SEED=%llu\n", (unsigned long long)schedule.seed);
	fixture_init(&f);
	f.settings.redis_timeout_ns = 15 * NS_PER_MS;
	f.settings.redis_pool_max_wait_ns = 20 * NS_PER_MS;
	fixture_start(&f, at_random, &schedule);
	for (uint64_t round = 0; round < rounds; round++) {
		const uint64_t r = random_at(~schedule.seed, round);

		if (r % 20 == 0)
			change_limits(&f, r >> 8);
		if (r % 50 == 1)
			schedule.trouble = (int)((r >> 16) % 3) * 20;
		if (r % 300 == 2)
			fake_redis_cut(f.fake);
		start_burst(&f, held, round, schedule.seed);
		fake_loop_turn(&f.loop, f.pipeline, clock_now_ns() + NS_PER_MS);
	}
	run(&f);
	for (size_t i = 0; i < HELD; i++) {
		for (size_t j = 0; j < BURST_MAX; j++)
			check(&held[i][j]);
	}
	assert_true(counted(&f, "redis_pipeline_retries_total") > 0);
	assert_true(counted(&f, "redis_pipeline_late_total") > 0);
	fixture_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			every_command_ends_once_and_with_its_own_reply),
	};

	log_set_level(LOG_LEVEL_OFF);
	return cmocka_run_group_tests_name(
		"pipeline_random", tests, NULL, NULL);
}
