/* SPDX-License-Identifier: MIT */
/*
 * sync - a mutex and a condition variable the compiler understands.
 *
 * Under clang, -Wthread-safety proves that every REQUIRES(m) function is
 * entered with `m` held and that no path returns with it locked.  Under gcc
 * the annotations vanish.  Locked data lives in a nested struct reachable
 * only through a function that REQUIRES the lock (docs/contributing.md).
 */
#ifndef COMMON_SYNC_H
#define COMMON_SYNC_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#ifdef __clang__
#define TSA(x) __attribute__((x))
#else
#define TSA(x)
#endif
#define REQUIRES(m) TSA(requires_capability(m))
#define EXCLUDES(m) TSA(locks_excluded(m))
#define ACQUIRES(m) TSA(acquire_capability(m))
#define RELEASES(m) TSA(release_capability(m))
#define NO_ANALYSIS TSA(no_thread_safety_analysis)

struct TSA(capability("mutex")) mutex {
	pthread_mutex_t raw;
};

/* Waits on CLOCK_MONOTONIC.  Each user's comment names its predicate. */
struct cond {
	pthread_cond_t raw;
};

static inline void mutex_init(struct mutex *m);
static inline void mutex_fini(struct mutex *m);
static inline void mutex_lock(struct mutex *m) ACQUIRES(*m) NO_ANALYSIS;
static inline void mutex_unlock(struct mutex *m) RELEASES(*m) NO_ANALYSIS;
static inline void cond_init(struct cond *c);
static inline void cond_fini(struct cond *c);
static inline void cond_wait(struct cond *c, struct mutex *m) REQUIRES(*m);
/* False once `deadline_ns` (clock_now_ns()'s clock) has passed. */
static inline bool cond_wait_until(struct cond *c, struct mutex *m,
	int64_t deadline_ns) REQUIRES(*m);
static inline void cond_signal(struct cond *c);
static inline void cond_broadcast(struct cond *c);

/* A failing lock call is a programming error: stop where it happened. */
static inline void
sync_must(int rc)
{
	if (rc != 0)
		abort();
}

static inline void
mutex_init(struct mutex *m)
{
	sync_must(pthread_mutex_init(&m->raw, NULL));
}

static inline void
mutex_fini(struct mutex *m)
{
	sync_must(pthread_mutex_destroy(&m->raw));
}

static inline void
mutex_lock(struct mutex *m)
{
	sync_must(pthread_mutex_lock(&m->raw));
}

static inline void
mutex_unlock(struct mutex *m)
{
	sync_must(pthread_mutex_unlock(&m->raw));
}

static inline void
cond_init(struct cond *c)
{
	pthread_condattr_t attr;

	sync_must(pthread_condattr_init(&attr));
	sync_must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	sync_must(pthread_cond_init(&c->raw, &attr));
	sync_must(pthread_condattr_destroy(&attr));
}

static inline void
cond_fini(struct cond *c)
{
	sync_must(pthread_cond_destroy(&c->raw));
}

static inline void
cond_wait(struct cond *c, struct mutex *m)
{
	sync_must(pthread_cond_wait(&c->raw, &m->raw));
}

static inline bool
cond_wait_until(struct cond *c, struct mutex *m, int64_t deadline_ns)
{
	const struct timespec ts = {
		.tv_sec = (time_t)(deadline_ns / 1000000000),
		.tv_nsec = (long)(deadline_ns % 1000000000),
	};
	int rc = pthread_cond_timedwait(&c->raw, &m->raw, &ts);

	if (rc != ETIMEDOUT)
		sync_must(rc);
	return rc != ETIMEDOUT;
}

static inline void
cond_signal(struct cond *c)
{
	sync_must(pthread_cond_signal(&c->raw));
}

static inline void
cond_broadcast(struct cond *c)
{
	sync_must(pthread_cond_broadcast(&c->raw));
}

#endif
