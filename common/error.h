/* SPDX-License-Identifier: MIT */
/*
 * error - what went wrong, whether trying again can help, and one sentence.
 *
 * Functions that can fail take a `struct error *err` as their last parameter
 * and return 0 or the negative kind.  `err` is written on failure only.
 * Kinds are chosen by what the caller does next, and their names double as
 * the `reason` of a 503 where the table of DESIGN 9 has one.
 */
#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

#include "common/compiler.h"

#include <stdbool.h>

/* clang-format off */
#define ERROR_KINDS(X)                                                       \
	/* kind             retry  meaning */                                \
	X(TIMEOUT,          true,  "the deadline passed")                    \
	X(EXHAUSTED,        true,  "every pooled connection is in use")      \
	X(CONNECT_FAILING,  true,  "new connections cannot be opened")       \
	X(SUSPENDED,        true,  "the pool is suspended")                  \
	X(QUEUE_FULL,       true,  "too many wait already")                  \
	X(CLOSED,           false, "it is shutting down")                    \
	X(CONNECTION_LOST,  true,  "the connection broke; unknown outcome")  \
	X(REDIS_ERROR,      true,  "Redis answered with an error")           \
	X(DATABASE_DOWN,    true,  "PostgreSQL does not answer")             \
	X(DATABASE_ERROR,   false, "PostgreSQL refused the statement")       \
	X(KAFKA_ERROR,      true,  "Kafka refused or cannot be reached")     \
	X(CANCELLED,        true,  "the caller was told to stop waiting")    \
	X(BUSY,             true,  "no capacity left")                       \
	X(FENCED,           true,  "the data is being checked or rebuilt")   \
	X(BAD_INPUT,        false, "malformed input")                        \
	X(NOT_FOUND,        false, "no such thing")                          \
	X(CONFIG_INVALID,   false, "the configuration is wrong")             \
	X(SYSTEM,           false, "the operating system refused")           \
	X(NO_MEMORY,        false, "out of memory")
/* clang-format on */

enum error_kind {
	ERROR_NONE = 0,
#define X(kind, retry, text) ERROR_##kind,
	ERROR_KINDS(X)
#undef X
};

struct error {
	enum error_kind kind;
	char code[16]; /* the backend's own: SQLSTATE, "OOM", "" if none */
	char msg[360]; /* one sentence, no newline, no secret */
};

/* Fill `err` and return -kind, so that `return error_set(...)` reads well. */
int error_set(struct error *err, enum error_kind kind, const char *fmt, ...)
	PRINTF(3, 4);

/* The same with the backend's own code (copied, cut to fit). */
int error_set_code(struct error *err, enum error_kind kind, const char *code,
	const char *fmt, ...) PRINTF(4, 5);

bool error_is_retryable(enum error_kind kind);

/* "EXHAUSTED": stable, upper case, never NULL. */
const char *error_name(enum error_kind kind);

/* "every pooled connection is in use" */
const char *error_meaning(enum error_kind kind);

#endif
