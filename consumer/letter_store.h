/* SPDX-License-Identifier: MIT */
/*
 * letter_store - what PostgreSQL knows of dead letters: what an operator did
 * with them, and how their requests ended.  One thread.
 */
#ifndef CONSUMER_LETTER_STORE_H
#define CONSUMER_LETTER_STORE_H

#include "common/compiler.h"
#include "consumer/letter.h"

#include <stddef.h>

struct error;
struct pool;

struct letter_store {
	struct pool *pool; /* borrowed, as is the topic */
	const char *topic;
};

/* Fill in mark and outcome of each; errors are pg_query()'s. */
int letter_store_look_up(const struct letter_store *store,
	struct letter *letters, size_t n, struct error *err) NODISCARD;

/* Record that this was done with all of them. */
int letter_store_mark(const struct letter_store *store,
	const struct letter *letters, size_t n, enum letter_mark mark,
	struct error *err) NODISCARD;

#endif
