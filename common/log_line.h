/* SPDX-License-Identifier: MIT */
/*
 * log_line - how one log line is spelled, and whether it may be said: the
 * parts of log.c that need neither a thread nor a clock.
 *
 * Internal to log.c and its tests.  Stateless; any thread.
 */
#ifndef COMMON_LOG_LINE_H
#define COMMON_LOG_LINE_H

#include "common/log.h"

#include <stddef.h>

/* Longest line, newline included; at most PIPE_BUF, so writes are atomic. */
#define LOG_LINE_MAX 2048

struct log_record {
	int64_t wall_ms;
	const char *thread;
	const char *message;
	const struct log_field *fields;
	enum log_level level;
	uint32_t
		suppressed; /* lines of this site left out before; 0: no field */
};

/*
 * Write `record` as one line that ends with '\n' (no NUL) and is valid logfmt
 * or JSON whatever bytes it is given: invalid UTF-8 becomes U+FFFD, values
 * too long for the line are cut, fields that find no room are left out.
 * Returns the length.
 */
size_t log_line_format(enum log_format format, const struct log_record *record,
	char buf[LOG_LINE_MAX]);

/*
 * May this site speak at `now_ns`?  If so *ret_suppressed is the number of
 * lines it was denied since it last did.
 */
bool log_site_admit(
	struct log_site *site, int64_t now_ns, uint32_t *ret_suppressed);

#endif
