/* SPDX-License-Identifier: MIT */
/*
 * issue.lua against a model: thousands of calls of few users with few request
 * ids, so that they collide all the time, between deliveries, rejections,
 * more stock, lost scripts and crashes of Redis.  Then the same from several
 * threads at once, where only the guarantees can be compared.
 * SCRIPTS_SEED repeats a run.
 */
#include "api/tests/scripts_fixture.h"

#include <pthread.h>

enum { USERS = 40, REQUESTS = 3, NUMBERS = 4000, STEPS = 4000, JOINED = 5 };
enum { THREADS = 4, CALLS = 1500, STOCK = 500 };

struct user {
	int request; /* -1: holds nothing */
	long long seq;
	bool pending;
	bool rejected[REQUESTS];
};

struct model {
	struct user users[USERS];
	bool free[NUMBERS + 1];
	long long total, next;
	int pending;
	int64_t last_ms;
	uint64_t random;
};

static uint64_t
next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static long long
least_free(const struct model *m)
{
	for (long long i = 1; i <= NUMBERS; i++) {
		if (m->free[i])
			return i;
	}
	return 0;
}

static enum issue_status
expected(const struct model *m, const struct user *user, int request, int limit)
{
	if (user->rejected[request])
		return ISSUE_REJECTED;
	if (user->request >= 0)
		return user->request == request ? ISSUE_ACCEPTED
						: ISSUE_DUPLICATE;
	if (m->pending >= limit)
		return ISSUE_OUTBOX_FULL;
	if (least_free(m) == 0 && m->next > m->total)
		return ISSUE_SOLD_OUT;
	return ISSUE_ACCEPTED;
}

/* Take the number that the script must have taken. */
static void
take_number(struct model *m, struct user *user, int request)
{
	const long long given_back = least_free(m);

	user->request = request;
	user->seq = given_back != 0 ? given_back : m->next++;
	if (given_back != 0)
		m->free[given_back] = false;
	user->pending = true;
	m->pending++;
}

static void
check_issued(struct model *m, int i, int request, int limit,
	const struct issue_reply *got)
{
	struct user *user = &m->users[i];
	const enum issue_status want = expected(m, user, request, limit);
	const bool is_new = want == ISSUE_ACCEPTED && user->request < 0;

	assert_string_equal(
		issue_status_name(got->status), issue_status_name(want));
	if (is_new)
		take_number(m, user, request);
	if (want == ISSUE_ACCEPTED || want == ISSUE_DUPLICATE) {
		assert_int_equal(got->entry.seq, user->seq);
		assert_int_equal(
			got->earlier, want == ISSUE_ACCEPTED && !is_new);
	}
	if (is_new) {
		assert_true(got->entry.accepted_at_ms >= m->last_ms);
		m->last_ms = got->entry.accepted_at_ms;
	}
}

/* Some requests in one call, a user among them twice now and then. */
static void
step_issue(struct model *m)
{
	const size_t n = 1 + next_random(&m->random) % JOINED;
	const int limit = 1 + (int)(next_random(&m->random) % USERS);
	int users[JOINED], requests[JOINED];
	char texts[2 * JOINED + 1][16];
	const char *args[2 * JOINED + 1] = { texts[0] };
	struct issue_reply got[JOINED];

	snprintf(texts[0], sizeof(texts[0]), "%d", limit);
	for (size_t k = 0; k < n; k++) {
		char *user = texts[2 * k + 1], *request = texts[2 * k + 2];

		users[k] = (int)(next_random(&m->random) % USERS);
		requests[k] = (int)(next_random(&m->random) % REQUESTS);
		snprintf(user, sizeof(texts[0]), "%d", users[k] + 1);
		snprintf(request, sizeof(texts[0]), "r%d", requests[k]);
		args[2 * k + 1] = user;
		args[2 * k + 2] = request;
	}
	issue_each(args, n, got);
	for (size_t k = 0; k < n; k++)
		check_issued(m, users[k], requests[k], limit, &got[k]);
}

static void
step_deliver(struct model *m, int i)
{
	struct user *user = &m->users[i];

	if (!user->pending)
		return;
	assert_int_equal(redis_integer(REDIS("ZREM {c:1}:pending %d:r%d:%lld",
				 i + 1, user->request, user->seq)),
		1);
	user->pending = false;
	m->pending--;
}

/* What a rebuild leaves of a rejected request: its reason, its number free. */
static void
step_reject(struct model *m, int i)
{
	struct user *user = &m->users[i];

	step_deliver(m, i);
	if (user->request < 0)
		return;
	DO("HDEL {c:1}:users %d", i + 1);
	DO("HSET {c:1}:users %d:r%d DUPLICATE:%lld:0", i + 1, user->request,
		user->seq);
	DO("ZADD {c:1}:free %lld %lld", user->seq, user->seq);
	m->free[user->seq] = true;
	user->rejected[user->request] = true;
	user->request = -1;
}

/* A user who may start all over, so that the model does not run dry. */
static void
step_forget(struct model *m, int i)
{
	for (int request = 0; request < REQUESTS; request++) {
		DO("HDEL {c:1}:users %d:r%d", i + 1, request);
		m->users[i].rejected[request] = false;
	}
}

static void
step(struct model *m)
{
	const int i = (int)(next_random(&m->random) % USERS);
	const unsigned what = (unsigned)(next_random(&m->random) % 100);

	if (what < 70)
		step_issue(m);
	else if (what < 82)
		step_deliver(m, i);
	else if (what < 92)
		step_reject(m, i);
	else if (what < 96)
		step_forget(m, i);
	else if (what < 99 && m->total < NUMBERS)
		DO("HSET {c:1}:event total %lld", ++m->total);
	else
		DO("SCRIPT FLUSH");
}

/* Available and held numbers are exactly 1 .. total (G1, G7). */
static void
check_at_rest(const struct model *m)
{
	struct event_figures now = figures();
	long long held = 0;

	for (int i = 0; i < USERS; i++)
		held += m->users[i].request >= 0;
	assert_int_equal(now.next, m->next);
	assert_int_equal(now.pending, m->pending);
	assert_int_equal(event_figures_remaining(&now) + held, m->total);
}

static void
random_calls_agree_with_the_model(void **state)
{
	struct model m = { .total = 10, .next = 1 };

	m.random = *(uint64_t *)*state;
	for (int i = 0; i < USERS; i++)
		m.users[i].request = -1;
	load("10");
	for (int i = 0; i < STEPS; i++) {
		step(&m);
		if (i % (STEPS / 4) == STEPS / 8) {
			redis_server_crash_and_restart(&server);
			reconnect();
		}
		if (i % 500 == 0)
			check_at_rest(&m);
	}
	check_at_rest(&m);
}

struct racer {
	pthread_t thread;
	uint64_t random;
	int64_t accepted_at_ms[STOCK + 1]; /* by number, 0: not mine */
	int64_t user[STOCK + 1];
	bool out_of_order;
};

/* One connection of many: users collide with the other threads' users. */
static void *
race(void *arg)
{
	struct racer *racer = arg;
	redisContext *context = redisConnect("127.0.0.1", server.port);
	int64_t last_seq = 0;

	for (int i = 0; i < CALLS; i++) {
		const int64_t user =
			1 + (int64_t)(next_random(&racer->random) % 900);
		redisReply *reply = redisCommand(context,
			"EVALSHA %s 4 {c:1}:event {c:1}:users {c:1}:pending "
			"{c:1}:free 100000 %lld r%llu",
			scripts[SCRIPT_ISSUE].sha1, (long long)user,
			(unsigned long long)(next_random(&racer->random) % 2));
		struct issue_reply got = { .status = ISSUE_MISSING };

		if (reply->elements != 1 ||
			issue_reply_parse(reply->element[0], &got) != 0)
			abort();
		if (got.status == ISSUE_ACCEPTED && !got.earlier) {
			racer->out_of_order |= got.entry.seq <= last_seq;
			last_seq = got.entry.seq;
			racer->user[last_seq] = user;
			racer->accepted_at_ms[last_seq] =
				got.entry.accepted_at_ms;
		}
		freeReplyObject(reply);
	}
	redisFree(context);
	return NULL;
}

static void
racing_threads_never_share_a_number_or_a_user(void **state)
{
	static struct racer racers[THREADS];
	static bool seen_user[1000];
	uint64_t random = *(uint64_t *)*state;
	int64_t last_ms = 0;

	load("500");
	reconnect(); /* the racers want the script there: a step may flush it */
	for (int i = 0; i < THREADS; i++) {
		racers[i].random = next_random(&random);
		pthread_create(&racers[i].thread, NULL, race, &racers[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(racers[i].thread, NULL);
	for (int seq = 1; seq <= STOCK; seq++) {
		int owners = 0;

		for (int i = 0; i < THREADS; i++) {
			assert_false(racers[i].out_of_order);
			if (racers[i].user[seq] == 0)
				continue;
			owners++;
			assert_false(seen_user[racers[i].user[seq]]);
			seen_user[racers[i].user[seq]] = true;
			assert_true(racers[i].accepted_at_ms[seq] >= last_ms);
			last_ms = racers[i].accepted_at_ms[seq];
		}
		assert_int_equal(owners, 1);
	}
	assert_int_equal(redis_integer(REDIS("HLEN {c:1}:users")), STOCK);
}

int
main(void)
{
	static uint64_t seed;
	const char *given = getenv("SCRIPTS_SEED");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(
			random_calls_agree_with_the_model, &seed),
		cmocka_unit_test_prestate(
			racing_threads_never_share_a_number_or_a_user, &seed),
	};

	seed = given != NULL ? strtoull(given, NULL, 10)
			     : (uint64_t)clock_now_ns() | 1;
	print_message("SCRIPTS_SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests_name(
		"scripts_random", tests, start_server, stop_server);
}
