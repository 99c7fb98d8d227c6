/* SPDX-License-Identifier: MIT */
/*
 * pool_metrics - one pool's series and log lines.
 *
 * Made before the pool, for it is the pool's observer; told of the pool
 * after; taken off before the pool is freed, and freed last:
 *
 *	m = pool_metrics_new(metrics, POOL_METRICS_REDIS, "redis");
 *	pool = pool_new(&config, &methods, ctx, pool_metrics_observer(m));
 *	pool_metrics_attach(m, pool);
 *	...
 *	pool_metrics_detach(m);
 *	pool_free(pool);
 *	pool_metrics_free(m);
 *
 * All gauges of a scrape come from one snapshot: active + idle == total.
 * Refusals, leaks and failing connects are logged here (rate-limited), with
 * the pool's full message; nobody else needs to.
 */
#ifndef COMMON_POOL_METRICS_H
#define COMMON_POOL_METRICS_H

struct metrics;
struct pool;
struct pool_observer;
struct pool_metrics;

enum pool_metrics_style {
	POOL_METRICS_REDIS,  /* redis.connection.* */
	POOL_METRICS_HIKARI, /* hikaricp.connections.*, hikari.connections.* */
};

/* `pool_tag` becomes the tag "pool" of every series; static. */
struct pool_metrics *pool_metrics_new(struct metrics *metrics,
	enum pool_metrics_style style, const char *pool_tag);
const struct pool_observer *pool_metrics_observer(const struct pool_metrics *m);
void pool_metrics_attach(struct pool_metrics *m, struct pool *pool);
/* When it returns no scrape is looking at the pool. */
void pool_metrics_detach(struct pool_metrics *m);
void pool_metrics_free(struct pool_metrics *m);

#endif
