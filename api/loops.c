/* SPDX-License-Identifier: MIT */
#include "api/loops.h"

#include "api/api.h"
#include "api/issue.h"
#include "api/pipeline.h"
#include "common/compiler.h"

#include <assert.h>
#include <sys/param.h>

static struct loop_set *set(struct loops *loops) REQUIRES(loops->lock);

static struct loop_set *
set(struct loops *loops)
{
	return &loops->set_;
}

void
loops_init(struct loops *loops)
{
	memset(loops, 0, sizeof(*loops));
	mutex_init(&loops->lock);
}

void
loops_fini(struct loops *loops)
{
	mutex_fini(&loops->lock);
}

static void
add(struct loops *loops, struct api_loop *loop)
{
	mutex_lock(&loops->lock);
	struct loop_set *all = set(loops);
	assert(all->n < LOOPS_MAX);
	all->items[all->n++] = loop;
	mutex_unlock(&loops->lock);
}

static void
take_away(struct loops *loops, const struct api_loop *loop)
{
	mutex_lock(&loops->lock);
	struct loop_set *all = set(loops);
	for (size_t i = 0; i < all->n; i++)
		if (all->items[i] == loop)
			all->items[i] = all->items[--all->n];
	mutex_unlock(&loops->lock);
}

void *
loop_start(void *arg, struct http_loop *http)
{
	struct api *api = arg;
	struct api_loop *loop = calloc(1, sizeof(*loop));

	if (loop == NULL)
		abort();
	loop->api = api;
	loop->loop = http;
	loop->pipeline = pipeline_new(http, api->shards, api->metrics);
	add(&api->loops, loop);
	return loop;
}

void
loop_turn(void *arg)
{
	struct api_loop *loop = arg;

	issue_loop_turn(loop);
	pipeline_turn(loop->pipeline);
}

int64_t
loop_next_deadline_ns(void *arg)
{
	const struct api_loop *loop = arg;

	return MIN(issue_loop_next_ns(loop),
		pipeline_next_deadline_ns(loop->pipeline));
}

void
loop_stop(void *arg)
{
	struct api_loop *loop = arg;

	issue_loop_stop(loop);
	take_away(&loop->api->loops, loop);
	pipeline_free(loop->pipeline);
	issue_loop_fini(loop);
	free(loop);
}

bool
loops_are_answered_since(void *arg, int64_t since_ns)
{
	struct loops *loops = arg;
	bool answered = true;

	mutex_lock(&loops->lock);
	const struct loop_set *all = set(loops);
	for (size_t i = 0; i < all->n; i++)
		answered =
			answered && pipeline_is_answered_since(
					    all->items[i]->pipeline, since_ns);
	mutex_unlock(&loops->lock);
	return answered;
}

int64_t
loops_highest_seen(void *arg, int64_t coupon_id)
{
	struct loops *loops = arg;
	int64_t highest = 0;

	mutex_lock(&loops->lock);
	const struct loop_set *all = set(loops);
	for (size_t i = 0; i < all->n; i++)
		highest = MAX(
			highest, seen_highest(&all->items[i]->seen, coupon_id));
	mutex_unlock(&loops->lock);
	return highest;
}
