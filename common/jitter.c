/* SPDX-License-Identifier: MIT */
#include "common/jitter.h"

#include <assert.h>
#include <sodium.h>

static uint32_t
next(void)
{
	static _Thread_local uint64_t state; /* xorshift64; 0: not seeded */

	while (state == 0)
		randombytes_buf(&state, sizeof(state));
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32);
}

uint32_t
jitter_below(uint32_t n)
{
	assert(n >= 1);
	return (uint32_t)(((uint64_t)next() * n) >> 32);
}

int
jitter_retry_after_s(void)
{
	return 1 + (int)jitter_below(3);
}
