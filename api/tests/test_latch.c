/* SPDX-License-Identifier: MIT */
#include "api/latch.h"
#include "common/compiler.h"
#include "common/tests/unit.h"

#include <pthread.h>

#define MS NS_PER_MS
#define D (200 * MS)
#define DEADLINE (1000 * MS) /* of whoever asks */
#define START (100000 * MS)

/* What a request at `now` is told; the proof goes to *probe if it probes. */
static enum latch_answer
ask(struct latch *latch, int64_t now, uint64_t *probe)
{
	const struct latch_times times = {
		.now_ns = now,
		.duration_ns = D,
		.deadline_ns = now + DEADLINE,
	};

	return latch_ask(latch, 7, &times, probe);
}

static void
a_new_latch_is_open(void **state)
{
	(void)state;
	struct latch latch = { 0 };

	assert_false(latch_is_armed(&latch, 1, 0));
	assert_false(latch_is_armed(&latch, 64, 0));
}

static void
armed_until_its_time_has_passed(void **state)
{
	(void)state;
	struct latch latch = { 0 };

	latch_arm(&latch, 7, START, D);
	assert_true(latch_is_armed(&latch, 7, START));
	assert_true(latch_is_armed(&latch, 7, START + 199 * MS));
	assert_false(latch_is_armed(&latch, 7, START + 202 * MS));
}

static void
other_events_are_not_touched(void **state)
{
	(void)state;
	struct latch latch = { 0 };

	latch_arm(&latch, 7, START, D);
	assert_false(latch_is_armed(&latch, 8, START));
	assert_false(latch_is_armed(&latch, 7 + LATCH_SLOTS, START));
}

static void
a_collision_forgets_the_older_event(void **state)
{
	(void)state;
	struct latch latch = { 0 };

	latch_arm(&latch, 7, START, D);
	latch_arm(&latch, 7 + LATCH_SLOTS, START, D);
	assert_false(latch_is_armed(&latch, 7, START));
	assert_true(latch_is_armed(&latch, 7 + LATCH_SLOTS, START));
}

static void
clearing_opens_every_latch_but_not_later_ones(void **state)
{
	(void)state;
	struct latch one = { 0 }, two = { 0 };

	latch_arm(&one, 7, START, D);
	latch_arm(&two, 9, START, D);
	latches_clear();
	assert_false(latch_is_armed(&one, 7, START));
	assert_false(latch_is_armed(&two, 9, START));
	latch_arm(&one, 7, START, D);
	assert_true(latch_is_armed(&one, 7, START));
}

/* At the end of its time one asks Redis, for all the others. */
static void
one_probe_goes_and_the_others_are_answered(void **state)
{
	(void)state;
	struct latch latch = { 0 };
	uint64_t probe = 0, other = 0;

	assert_int_equal(ask(&latch, START, &probe), LATCH_OPEN);
	latch_arm(&latch, 7, START, D);
	assert_int_equal(ask(&latch, START + 199 * MS, &probe), LATCH_ARMED);
	assert_int_equal(ask(&latch, START + 202 * MS, &probe), LATCH_PROBE);
	assert_true(probe != 0);
	for (int64_t t = 202; t < 1200; t += 10)
		assert_int_equal(
			ask(&latch, START + t * MS, &other), LATCH_ARMED);
	latch_arm(&latch, 7, START + 1200 * MS, D);
	assert_int_equal(ask(&latch, START + 1399 * MS, &other), LATCH_ARMED);
	assert_int_equal(ask(&latch, START + 1402 * MS, &other), LATCH_PROBE);
}

static void
another_word_of_redis_opens_it(void **state)
{
	(void)state;
	struct latch latch = { 0 };
	uint64_t probe;

	latch_arm(&latch, 7, START, D);
	latch_disarm(&latch, 7 + LATCH_SLOTS); /* not this one's */
	assert_int_equal(ask(&latch, START + 202 * MS, &probe), LATCH_PROBE);
	latch_disarm(&latch, 7);
	for (int i = 0; i < 3; i++)
		assert_int_equal(
			ask(&latch, START + 202 * MS, &probe), LATCH_OPEN);
}

static void
a_probe_that_is_lost_holds_it_until_its_deadline(void **state)
{
	(void)state;
	struct latch latch = { 0 };
	uint64_t probe, next;

	latch_arm(&latch, 7, START, D);
	assert_int_equal(ask(&latch, START + 202 * MS, &probe), LATCH_PROBE);
	assert_int_equal(ask(&latch, START + 1200 * MS, &next), LATCH_ARMED);
	assert_int_equal(ask(&latch, START + 1204 * MS, &next), LATCH_PROBE);
	assert_int_equal(ask(&latch, START + 1204 * MS, &next), LATCH_ARMED);
}

/* D and 2 s: from then on they are Redis's, or the breaker's. */
static void
lost_probes_do_not_keep_it_for_ever(void **state)
{
	(void)state;
	struct latch latch = { 0 };
	uint64_t probe;
	int probes = 0;

	latch_arm(&latch, 7, START, D);
	for (int64_t t = 0; t < 2200; t++)
		probes += ask(&latch, START + t * MS, &probe) == LATCH_PROBE;
	assert_int_equal(probes, 2);
	for (int64_t t = 2202; t < 2300; t++)
		assert_int_equal(
			ask(&latch, START + t * MS, &probe), LATCH_OPEN);
}

static void
a_probe_without_an_answer_may_name_the_time_of_the_next(void **state)
{
	(void)state;
	struct latch latch = { 0 };
	uint64_t probe, next;

	latch_arm(&latch, 7, START, D);
	assert_int_equal(ask(&latch, START + 202 * MS, &probe), LATCH_PROBE);
	assert_true(latch_postpone(&latch, 7, probe, START + 300 * MS));
	assert_int_equal(ask(&latch, START + 299 * MS, &next), LATCH_ARMED);
	assert_int_equal(ask(&latch, START + 302 * MS, &next), LATCH_PROBE);
	/* The first one has nothing to say any more. */
	assert_false(latch_postpone(&latch, 7, probe, START + 900 * MS));
	latch_disarm(&latch, 7);
	assert_false(latch_postpone(&latch, 7, next, START + 900 * MS));
	assert_int_equal(ask(&latch, START + 302 * MS, &next), LATCH_OPEN);
}

static void
a_probe_of_before_the_clearing_arms_nothing(void **state)
{
	(void)state;
	struct latch latch = { 0 };
	uint64_t probe;

	latch_arm(&latch, 7, START, D);
	assert_int_equal(ask(&latch, START + 202 * MS, &probe), LATCH_PROBE);
	latches_clear();
	assert_false(latch_postpone(&latch, 7, probe, START + 900 * MS));
	assert_int_equal(ask(&latch, START + 203 * MS, &probe), LATCH_OPEN);
}

/* Stock may have come meanwhile, and nobody floods. */
static void
what_nobody_asked_for_is_forgotten(void **state)
{
	(void)state;
	struct latch latch = { 0 };
	uint64_t probe;

	latch_arm(&latch, 7, START, D);
	for (int i = 0; i < 3; i++)
		assert_int_equal(
			ask(&latch, START + 404 * MS, &probe), LATCH_OPEN);
}

struct asker {
	struct latch *latch;
	int n[LATCH_PROBE + 1];
};

static void *
ask_a_lot(void *arg)
{
	struct asker *asker = arg;
	uint64_t probe;

	for (int i = 0; i < 20000; i++)
		asker->n[ask(asker->latch, START + 202 * MS, &probe)]++;
	return NULL;
}

static void
of_many_threads_one_request_probes(void **state)
{
	(void)state;
	struct latch latch = { 0 };
	struct asker askers[8];
	pthread_t threads[ARRAY_SIZE(askers)];
	int probes = 0, open = 0;

	latch_arm(&latch, 7, START, D);
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++) {
		askers[i] = (struct asker){ .latch = &latch };
		assert_int_equal(pthread_create(&threads[i], NULL, ask_a_lot,
					 &askers[i]),
			0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++) {
		pthread_join(threads[i], NULL);
		probes += askers[i].n[LATCH_PROBE];
		open += askers[i].n[LATCH_OPEN];
	}
	assert_int_equal(probes, 1);
	assert_int_equal(open, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_latch_is_open),
		cmocka_unit_test(armed_until_its_time_has_passed),
		cmocka_unit_test(other_events_are_not_touched),
		cmocka_unit_test(a_collision_forgets_the_older_event),
		cmocka_unit_test(clearing_opens_every_latch_but_not_later_ones),
		cmocka_unit_test(one_probe_goes_and_the_others_are_answered),
		cmocka_unit_test(another_word_of_redis_opens_it),
		cmocka_unit_test(
			a_probe_that_is_lost_holds_it_until_its_deadline),
		cmocka_unit_test(lost_probes_do_not_keep_it_for_ever),
		cmocka_unit_test(
			a_probe_without_an_answer_may_name_the_time_of_the_next),
		cmocka_unit_test(a_probe_of_before_the_clearing_arms_nothing),
		cmocka_unit_test(what_nobody_asked_for_is_forgotten),
		cmocka_unit_test(of_many_threads_one_request_probes),
	};

	return cmocka_run_group_tests_name("latch", tests, NULL, NULL);
}
