/* SPDX-License-Identifier: MIT */
/*
 * clock - monotonic time for deadlines, wall time for people and messages.
 *
 * A deadline is an absolute int64_t of nanoseconds on CLOCK_MONOTONIC, named
 * `deadline_ns` and passed down; a time that leaves the process is unix
 * milliseconds, named `_ms`.  Stateless; any thread.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include "common/compiler.h"

#include <stddef.h>
#include <stdint.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

/* "2026-11-22T14:02:00.123Z" and its end */
#define CLOCK_RFC3339_SIZE 25

int64_t clock_now_ns(void);
int64_t clock_wall_ms(void);

/* Milliseconds until `deadline_ns`, rounded up, 0 when passed: for poll(). */
int clock_poll_timeout_ms(int64_t deadline_ns);

/* UTC with milliseconds.  `unix_ms` must lie in the years 0000..9999. */
void clock_format_rfc3339(int64_t unix_ms, char buf[CLOCK_RFC3339_SIZE]);

/*
 * RFC 3339 with any offset and 0..9 fractional digits (cut to milliseconds);
 * no leap second, as unix time has none.  0 and *ret_ms set, or -ERROR_BAD_INPUT with *ret_ms untouched.
 */
int clock_parse_rfc3339(const char *text, int64_t *ret_ms) NODISCARD;

/*
 * "500ms", "10s", "30m", "2h", "1d", also "20us" and "100ns": a number and a
 * unit, nothing else; "0" alone is allowed.  -ERROR_BAD_INPUT otherwise.
 */
int clock_parse_duration(const char *text, int64_t *ret_ns) NODISCARD;

/* The shortest exact spelling: 90s -> "90s", 60s -> "1m". */
void clock_format_duration(int64_t ns, char *buf, size_t size);

#endif
