/* SPDX-License-Identifier: MIT */
/*
 * jitter - numbers that spread what would otherwise come at once.  Cheap, and
 * not for secrets.  Any thread; each has a sequence of its own.
 */
#ifndef COMMON_JITTER_H
#define COMMON_JITTER_H

#include <stdint.h>

/* One of 0 .. n-1, each as likely; n >= 1. */
uint32_t jitter_below(uint32_t n);

/* Seconds for a Retry-After that nothing says more of: 1 .. 3. */
int jitter_retry_after_s(void);

#endif
