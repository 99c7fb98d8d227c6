/* SPDX-License-Identifier: MIT */
/*
 * pool_observer - what a pool tells its metrics and logs.
 *
 * The pool calls the members without its lock, from whichever thread caused
 * the event; they must not block.  Any member may be NULL.
 */
#ifndef COMMON_POOL_OBSERVER_H
#define COMMON_POOL_OBSERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* Why a connection was closed: the metric's tag, and a phrase for people. */
/* clang-format off */
#define POOL_CLOSES(X)                                                       \
	X(MAX_LIFETIME, "max-lifetime", "passed max-lifetime")               \
	X(IDLE_TIMEOUT, "idle-timeout", "passed idle-timeout")               \
	X(MAX_IDLE,     "max-idle",     "came back and max-idle others wait") \
	X(SHRUNK,       "shrunk",       "the pool was made smaller")         \
	X(EVICTED,      "evicted",      "all connections are replaced")      \
	X(CHECK_FAILED, "check-failed", "did not pass its check")            \
	X(DESTROYED,    "destroyed",    "its borrower said it is not clean") \
	X(SHUTDOWN,     "shutdown",     "the pool shuts down")
/* clang-format on */

enum pool_close {
#define X(name, tag, text) POOL_CLOSE_##name,
	POOL_CLOSES(X)
#undef X
		POOL_CLOSE_COUNT
};

struct pool_observer {
	void *ctx;
	/* An acquire ended: with a connection (err is NULL), or without. */
	void (*acquired)(void *ctx, int64_t waited_ns, const struct error *err);
	void (*released)(void *ctx, int64_t held_ns);
	/* An attempt to connect ended; err is NULL when it succeeded. */
	void (*opened)(void *ctx, int64_t took_ns, const struct error *err);
	void (*closed)(void *ctx, enum pool_close why);
	/* Held beyond the threshold (once), and when it came back (over). */
	void (*leak)(void *ctx, const char *holder, int64_t held_ns, bool over);
	/* pool_evict_all() was called while `total` connections existed. */
	void (*evicted)(void *ctx, const char *reason, size_t total);
};

/* "max-lifetime" */
const char *pool_close_tag(enum pool_close why);

/* "passed max-lifetime" */
const char *pool_close_text(enum pool_close why);

#endif
