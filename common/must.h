/* SPDX-License-Identifier: MIT */
/*
 * must - memory that start-up and configuration cannot do without: there, and
 * only there, running out of it ends the process.
 *
 *	struct config *config = must(calloc(1, sizeof(*config)));
 */
#ifndef COMMON_MUST_H
#define COMMON_MUST_H

#include <stdlib.h>

static inline void *
must(void *memory)
{
	if (memory == NULL)
		abort();
	return memory;
}

#endif
