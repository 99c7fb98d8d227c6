/* SPDX-License-Identifier: MIT */
#include "api/number_set.h"

#include <stdlib.h>
#include <string.h>

enum { WORDS_MIN = 64, WORD_BITS = 64 };

void
number_set_init(struct number_set *set, int64_t limit)
{
	*set = (struct number_set){ .limit = limit };
}

void
number_set_fini(struct number_set *set)
{
	free(set->words);
}

static bool
grow(struct number_set *set, size_t n_words)
{
	size_t size = set->n_words == 0 ? WORDS_MIN : set->n_words;

	while (size < n_words)
		size *= 2;
	uint64_t *words = realloc(set->words, size * sizeof(*words));

	if (words == NULL)
		return false;
	memset(words + set->n_words, 0, (size - set->n_words) * sizeof(*words));
	set->words = words;
	set->n_words = size;
	return true;
}

bool
number_set_add(struct number_set *set, int64_t number)
{
	if (number < 1 || number > set->limit)
		return true;

	size_t word = (size_t)number / WORD_BITS;

	if (word >= set->n_words && !grow(set, word + 1))
		return false;
	set->words[word] |= UINT64_C(1) << (number % WORD_BITS);
	if (number > set->highest)
		set->highest = number;
	return true;
}

bool
number_set_has(const struct number_set *set, int64_t number)
{
	if (number < 1 || number > set->limit)
		return false;

	size_t word = (size_t)number / WORD_BITS;

	return word < set->n_words &&
	       (set->words[word] >> (number % WORD_BITS) & 1) != 0;
}
