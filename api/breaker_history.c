/* SPDX-License-Identifier: MIT */
#include "api/breaker_history.h"

void
breaker_history_add(struct breaker_history *history,
	const struct breaker_transition *transition)
{
	history->ring[history->n++ % BREAKER_HISTORY_MAX] = *transition;
}

size_t
breaker_history_copy(const struct breaker_history *history,
	struct breaker_transition ret[BREAKER_HISTORY_MAX])
{
	const size_t n = history->n < BREAKER_HISTORY_MAX ? (size_t)history->n
							  : BREAKER_HISTORY_MAX;

	for (size_t i = 0; i < n; i++)
		ret[i] = history->ring[(history->n - n + i) %
				       BREAKER_HISTORY_MAX];
	return n;
}
