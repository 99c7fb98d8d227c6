/* SPDX-License-Identifier: MIT */
#include "api/breaker_window.h"

#include "common/clock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool
breaker_window_init(struct breaker_window *window, uint32_t size,
	bool time_based, int64_t now_ns)
{
	assert(size >= 1);
	struct window_counts *buckets = calloc(size, sizeof(*buckets));

	if (buckets == NULL)
		return false;
	*window = (struct breaker_window){
		.buckets = buckets,
		.size = size,
		.time_based = time_based,
	};
	breaker_window_clear(window, now_ns);
	return true;
}

void
breaker_window_fini(struct breaker_window *window)
{
	free(window->buckets);
	window->buckets = NULL;
}

void
breaker_window_clear(struct breaker_window *window, int64_t now_ns)
{
	memset(window->buckets, 0, window->size * sizeof(*window->buckets));
	window->sum = (struct window_counts){ 0 };
	window->head = window->time_based ? now_ns / NS_PER_S : 0;
}

static struct window_counts *
bucket(struct breaker_window *window, int64_t position)
{
	return &window->buckets[(uint64_t)position % window->size];
}

static void
evict(struct breaker_window *window, int64_t position)
{
	struct window_counts *old = bucket(window, position);

	window->sum.calls -= old->calls;
	window->sum.failed -= old->failed;
	window->sum.slow -= old->slow;
	window->sum.slow_failed -= old->slow_failed;
	*old = (struct window_counts){ 0 };
}

/* Move the head on; what the ring's end reaches falls out. */
static void
advance(struct breaker_window *window, int64_t head)
{
	int64_t from = window->head;

	if (head <= from) /* an older clock reading counts as now */
		return;
	if (head - from > (int64_t)window->size)
		from = head - (int64_t)window->size;
	while (from < head)
		evict(window, ++from);
	window->head = head;
}

void
breaker_window_add(
	struct breaker_window *window, int64_t now_ns, bool failed, bool slow)
{
	advance(window,
		window->time_based ? now_ns / NS_PER_S : window->head + 1);
	struct window_counts *now = bucket(window, window->head);
	struct window_counts *const both[] = { now, &window->sum };

	for (int i = 0; i < 2; i++) {
		both[i]->calls++;
		both[i]->failed += failed;
		both[i]->slow += slow;
		both[i]->slow_failed += failed && slow;
	}
}

struct window_counts
breaker_window_sum(struct breaker_window *window, int64_t now_ns)
{
	if (window->time_based)
		advance(window, now_ns / NS_PER_S);
	return window->sum;
}
