/* SPDX-License-Identifier: MIT */
/*
 * number_set - which of an event's numbers 1..limit are in it: a bitmap that
 * grows with the highest.
 *
 * Embedded; one thread.
 */
#ifndef API_NUMBER_SET_H
#define API_NUMBER_SET_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct number_set {
	uint64_t *words;
	size_t n_words;
	int64_t limit;
	int64_t highest; /* in it, 0 if none */
};

void number_set_init(struct number_set *set, int64_t limit);
void number_set_fini(struct number_set *set);

/* A number outside 1..limit is left out.  False: out of memory. */
bool number_set_add(struct number_set *set, int64_t number) NODISCARD;
bool number_set_has(const struct number_set *set, int64_t number);

#endif
