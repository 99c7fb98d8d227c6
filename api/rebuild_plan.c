/* SPDX-License-Identifier: MIT */
#include "api/rebuild_plan.h"

#include "api/number_set.h"

#include <assert.h>
#include <malloc.h>
#include <uthash.h>

/* A request known to the plan, by user and request id. */
struct plan_request {
	UT_hash_handle hh; /* in `requests` */
	int64_t user_id;
	int64_t seq;
	int64_t accepted_at_ms;
	const char *reason; /* the rejection's, owned; NULL otherwise */
	bool unsent;
	char key[]; /* user id and request id side by side: key_of() */
};

/* The request that a user's entry in Redis will name. */
struct plan_user {
	UT_hash_handle hh; /* in `users` */
	int64_t user_id;
	const struct plan_request *request;
};

struct rebuild_plan {
	int64_t coupon_id;
	int64_t latest_ms;
	struct plan_request *requests;
	struct plan_user *users;
	/* A number above the total PostgreSQL refuses: nobody can hold it. */
	struct number_set taken;
	struct rebuild_plan_counts counts;
};

enum { KEY_SIZE = sizeof(int64_t) + REQUEST_ID_MAX + 1 };

/* uthash is macros: what clang-tidy counts is their expansion, and it cannot
 * see that HASH_ITER has the next element before this one is freed. */
/* NOLINTBEGIN(readability-function-size,readability-function-cognitive-complexity,clang-analyzer-unix.Malloc) */
struct rebuild_plan *
rebuild_plan_new(int64_t coupon_id, int64_t total)
{
	struct rebuild_plan *plan = calloc(1, sizeof(*plan));

	if (plan == NULL)
		return NULL;
	plan->coupon_id = coupon_id;
	number_set_init(&plan->taken, total);
	return plan;
}

void
rebuild_plan_free(struct rebuild_plan *plan)
{
	struct plan_request *request, *next_request;
	struct plan_user *user, *next_user;

	if (plan == NULL)
		return;
	HASH_ITER(hh, plan->users, user, next_user)
	{
		HASH_DEL(plan->users, user);
		free(user);
	}
	HASH_ITER(hh, plan->requests, request, next_request)
	{
		HASH_DEL(plan->requests, request);
		free((char *)request->reason);
		free(request);
	}
	number_set_fini(&plan->taken);
	free(plan);
	(void)malloc_trim(0); /* as in audit_free() */
}

static void
key_of(const struct message *message, char key[KEY_SIZE], size_t *ret_len)
{
	size_t len = strlen(message->request_id);

	memcpy(key, &message->user_id, sizeof(message->user_id));
	memcpy(key + sizeof(message->user_id), message->request_id, len);
	*ret_len = sizeof(message->user_id) + len;
}

static struct plan_request *
find_request(const struct rebuild_plan *plan, const struct message *message)
{
	char key[KEY_SIZE];
	struct plan_request *found;
	size_t len;

	key_of(message, key, &len);
	HASH_FIND(hh, plan->requests, key, len, found);
	return found;
}

static struct plan_request *
add_request(struct rebuild_plan *plan, const struct message *message)
{
	char key[KEY_SIZE];
	size_t len;

	key_of(message, key, &len);
	struct plan_request *request = calloc(1, sizeof(*request) + len + 1);

	if (request == NULL)
		return NULL;
	request->user_id = message->user_id;
	request->seq = message->seq;
	request->accepted_at_ms = message->accepted_at_ms;
	memcpy(request->key, key, len);
	HASH_ADD_KEYPTR(hh, plan->requests, request->key, len, request);
	if (request->accepted_at_ms > plan->latest_ms)
		plan->latest_ms = request->accepted_at_ms;
	return request;
}

/* The first request of a user stays his. */
static bool
give_user(struct rebuild_plan *plan, const struct plan_request *request)
{
	struct plan_user *user;

	HASH_FIND(hh, plan->users, &request->user_id, sizeof(request->user_id),
		user);
	if (user != NULL)
		return true;
	user = calloc(1, sizeof(*user));
	if (user == NULL)
		return false;
	user->user_id = request->user_id;
	user->request = request;
	HASH_ADD(hh, plan->users, user_id, sizeof(user->user_id), user);
	return true;
}

bool
rebuild_plan_add_rejection(struct rebuild_plan *plan,
	const struct message *message, const char *reason)
{
	if (find_request(plan, message) != NULL)
		return true;
	struct plan_request *request = add_request(plan, message);

	if (request == NULL)
		return false;
	request->reason = strdup(reason);
	plan->counts.rejections++;
	return request->reason != NULL;
}

/* A holder of a number; false when out of memory. */
static bool
add_holder(struct rebuild_plan *plan, const struct message *message,
	struct plan_request **ret)
{
	*ret = add_request(plan, message);
	return *ret != NULL && number_set_add(&plan->taken, message->seq) &&
	       give_user(plan, *ret);
}

bool
rebuild_plan_add_row(struct rebuild_plan *plan, const struct message *row)
{
	struct plan_request *request = find_request(plan, row);

	/* A row wins also over a rejection of the same request. */
	if (request != NULL && request->reason != NULL) {
		HASH_DEL(plan->requests, request);
		free((char *)request->reason);
		free(request);
		plan->counts.rejections--;
	} else if (request != NULL) {
		return true;
	}
	plan->counts.rows++;
	return add_holder(plan, row, &request);
}

/* NOLINTEND(readability-function-size,readability-function-cognitive-complexity,clang-analyzer-unix.Malloc) */

bool
rebuild_plan_add_message(
	struct rebuild_plan *plan, const struct message *message)
{
	struct plan_request *request = find_request(plan, message);

	if (request != NULL) { /* final, or another copy of the same */
		plan->counts.unsent -= request->unsent;
		request->unsent = false;
		return true;
	}
	plan->counts.messages++;
	return add_holder(plan, message, &request);
}

bool
rebuild_plan_add_entry(struct rebuild_plan *plan, const struct message *entry)
{
	struct plan_request *request = find_request(plan, entry);

	if (request != NULL)
		return true;
	plan->counts.unsent++;
	if (!add_holder(plan, entry, &request))
		return false;
	request->unsent = true;
	return true;
}

int64_t
rebuild_plan_next(const struct rebuild_plan *plan)
{
	return plan->taken.highest + 1;
}

int64_t
rebuild_plan_latest_ms(const struct rebuild_plan *plan)
{
	return plan->latest_ms;
}

int64_t
rebuild_plan_free_number(const struct rebuild_plan *plan, int64_t from)
{
	assert(from >= 1);
	for (int64_t seq = from; seq < plan->taken.highest; seq++)
		if (!number_set_has(&plan->taken, seq))
			return seq;
	return 0;
}

static bool
report(const struct rebuild_plan *plan, const struct plan_request *request,
	rebuild_plan_fn *fn, void *arg)
{
	struct message message = {
		.coupon_id = plan->coupon_id,
		.user_id = request->user_id,
		.seq = request->seq,
		.accepted_at_ms = request->accepted_at_ms,
	};

	memcpy(message.request_id, request->key + sizeof(int64_t),
		request->hh.keylen - sizeof(int64_t));
	return fn(arg, &message, request->reason);
}

bool
rebuild_plan_each_user(
	const struct rebuild_plan *plan, rebuild_plan_fn *fn, void *arg)
{
	for (const struct plan_user *user = plan->users; user != NULL;
		user = user->hh.next)
		if (!report(plan, user->request, fn, arg))
			return false;
	return true;
}

bool
rebuild_plan_each_rejection(
	const struct rebuild_plan *plan, rebuild_plan_fn *fn, void *arg)
{
	for (const struct plan_request *request = plan->requests;
		request != NULL; request = request->hh.next)
		if (request->reason != NULL && !report(plan, request, fn, arg))
			return false;
	return true;
}

bool
rebuild_plan_each_unsent(
	const struct rebuild_plan *plan, rebuild_plan_fn *fn, void *arg)
{
	for (const struct plan_request *request = plan->requests;
		request != NULL; request = request->hh.next)
		if (request->unsent && !report(plan, request, fn, arg))
			return false;
	return true;
}

void
rebuild_plan_counts(
	const struct rebuild_plan *plan, struct rebuild_plan_counts *ret)
{
	*ret = plan->counts;
	ret->users = HASH_COUNT(plan->users);
	ret->free_numbers = 0;
	for (int64_t seq = rebuild_plan_free_number(plan, 1); seq != 0;
		seq = rebuild_plan_free_number(plan, seq + 1))
		ret->free_numbers++;
}
