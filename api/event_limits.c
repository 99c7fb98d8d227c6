/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * The listed events are an immutable table, sorted by id, behind one atomic
 * pointer.  A reload publishes a new table; the old ones stay until the end,
 * as a thread may still be reading one (a few bytes per reload).  Limiters
 * are shared between tables, so an event's permits survive a reload.
 */
#include "api/event_limits.h"

#include "api/limiter.h"
#include "common/config.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct event_limit {
	int64_t coupon_id;
	struct limiter *limiter;
};

struct limit_table {
	struct limit_table *older;
	size_t n;
	struct event_limit items[];
};

struct event_limits {
	struct limiter *fallback;
	_Atomic(struct limit_table *) table;
};

static struct limiter_config
limiter_config(const struct settings *settings, int64_t limit)
{
	return (struct limiter_config){
		.mode = strcmp(settings->ratelimiter_mode, "smooth") == 0
				? LIMITER_SMOOTH
				: LIMITER_CYCLES,
		.limit = (int32_t)limit,
		.period_ns = settings->ratelimiter_limit_refresh_period_ns,
	};
}

static int
by_id(const void *a, const void *b)
{
	const struct event_limit *x = a, *y = b;

	return (x->coupon_id > y->coupon_id) - (x->coupon_id < y->coupon_id);
}

static struct limiter *
find(const struct limit_table *table, int64_t coupon_id)
{
	const struct event_limit key = { .coupon_id = coupon_id };
	const struct event_limit *found =
		table == NULL ? NULL
			      : bsearch(&key, table->items, table->n,
					sizeof(key), by_id);

	return found == NULL ? NULL : found->limiter;
}

/* Was this event's limiter made for an older table? */
static struct limiter *
find_older(const struct limit_table *table, int64_t coupon_id)
{
	struct limiter *limiter = NULL;

	for (; table != NULL && limiter == NULL; table = table->older)
		limiter = find(table, coupon_id);
	return limiter;
}

static bool
fill_table(struct limit_table *table, const struct settings *settings,
	int64_t now_ns)
{
	const struct settings_properties *events =
		&settings->ratelimiter_events;

	for (size_t i = 0; i < events->count; i++) {
		/* Checked when the configuration was read. */
		int64_t id = strtoll(events->items[i].name, NULL, 10);
		struct limiter_config config = limiter_config(
			settings, strtoll(events->items[i].value, NULL, 10));
		struct limiter *limiter = find_older(table->older, id);

		if (limiter != NULL)
			limiter_configure(limiter, &config, now_ns);
		else
			limiter = limiter_new(&config, now_ns);
		if (limiter == NULL)
			return false;
		table->items[table->n++] = (struct event_limit){ id, limiter };
	}
	qsort(table->items, table->n, sizeof(table->items[0]), by_id);
	return true;
}

/* Free a table and the limiters that no older table shares. */
static void
table_free(struct limit_table *table)
{
	for (size_t i = 0; i < table->n; i++)
		if (find_older(table->older, table->items[i].coupon_id) == NULL)
			limiter_free(table->items[i].limiter);
	free(table);
}

void
event_limits_configure(struct event_limits *limits,
	const struct settings *settings, int64_t now_ns)
{
	struct limiter_config config = limiter_config(
		settings, settings->ratelimiter_limit_for_period);
	struct limit_table *older = atomic_load(&limits->table);
	size_t n = settings->ratelimiter_events.count;

	limiter_configure(limits->fallback, &config, now_ns);
	if (n == 0 && older == NULL)
		return;
	struct limit_table *table =
		calloc(1, sizeof(*table) + n * sizeof(table->items[0]));

	if (table == NULL)
		return;
	table->older = older;
	if (fill_table(table, settings, now_ns))
		atomic_store_explicit(
			&limits->table, table, memory_order_release);
	else
		table_free(table);
}

struct event_limits *
event_limits_new(const struct settings *settings, int64_t now_ns)
{
	struct event_limits *limits = calloc(1, sizeof(*limits));
	struct limiter_config config = limiter_config(
		settings, settings->ratelimiter_limit_for_period);

	if (limits == NULL)
		return NULL;
	limits->fallback = limiter_new(&config, now_ns);
	if (limits->fallback == NULL) {
		free(limits);
		return NULL;
	}
	event_limits_configure(limits, settings, now_ns);
	return limits;
}

void
event_limits_free(struct event_limits *limits)
{
	if (limits == NULL)
		return;
	for (struct limit_table *table = atomic_load(&limits->table), *older;
		table != NULL; table = older) {
		older = table->older;
		table_free(table);
	}
	limiter_free(limits->fallback);
	free(limits);
}

struct limiter *
event_limits_get(struct event_limits *limits, int64_t coupon_id)
{
	const struct limit_table *table =
		atomic_load_explicit(&limits->table, memory_order_acquire);
	struct limiter *limiter = find(table, coupon_id);

	return limiter != NULL ? limiter : limits->fallback;
}

struct limiter *
event_limits_default(struct event_limits *limits)
{
	return limits->fallback;
}
