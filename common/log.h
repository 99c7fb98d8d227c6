/* SPDX-License-Identifier: MIT */
/*
 * log - one line per event: a constant message and typed key=value fields.
 *
 *	LOG_WARN("redis pool exhausted", LOG_STR("pool", name),
 *		LOG_INT("waiting", n));
 *
 * writes logfmt (or JSON) to stderr.  Callers never block on a slow reader:
 * lines go through a bounded ring that a writer thread drains; what does not
 * fit is dropped and counted.  WARN and ERROR are rate-limited per call site
 * (10 at once, then 1 a second; the next line says how many were left out).
 * Any thread.  Library code does not log; boundaries do, once.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/compiler.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct error;

enum log_level {
	LOG_LEVEL_OFF,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_TRACE,
};

enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

struct log_field {
	const char *key; /* NULL ends the list */
	enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_NUM } type;
	union {
		const char *str; /* copied before the call returns; NULL = "" */
		int64_t i;
		double num;
	} value;
};

#define LOG_STR(k, v) \
	((struct log_field){ .key = (k), .type = LOG_FIELD_STR, .value.str = (v) })
#define LOG_INT(k, v)                                       \
	((struct log_field){ .key = (k), .type = LOG_FIELD_INT, \
		.value.i = (int64_t)(v) })
#define LOG_NUM(k, v)                                       \
	((struct log_field){ .key = (k), .type = LOG_FIELD_NUM, \
		.value.num = (double)(v) })
/* Two fields, error="<sentence>" reason=<KIND>; include common/error.h. */
#define LOG_ERR(err)                  \
	LOG_STR("error", (err)->msg), \
		LOG_STR("reason", error_name((err)->kind))

/* State of one call site's rate limit; zero-initialised, static. */
struct log_site {
	_Atomic int64_t full_ns; /* when its allowance is whole again */
	_Atomic uint32_t suppressed;
};

/* Fields of one line; a seventeenth does not compile. */
#define LOG_FIELDS_MAX 16

/* The array's rest is zero, which ends the list. */
#define LOG_AT(level, message, ...)                                       \
	do {                                                              \
		static struct log_site log_site_;                         \
		if (log_is_enabled(level))                                \
			log_write(&log_site_, (level), (message),         \
				(const struct log_field[LOG_FIELDS_MAX]){ \
					__VA_ARGS__ });                   \
	} while (0)
#define LOG_ERROR(...) LOG_AT(LOG_LEVEL_ERROR, __VA_ARGS__)
#define LOG_WARN(...)  LOG_AT(LOG_LEVEL_WARN, __VA_ARGS__)
#define LOG_INFO(...)  LOG_AT(LOG_LEVEL_INFO, __VA_ARGS__)
#define LOG_DEBUG(...) LOG_AT(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * Start the writer thread; before that (and if it cannot be started) lines go
 * to stderr directly.
 */
void log_start(enum log_level level, enum log_format format);

/*
 * Drain the ring and end the writer thread; a reader that takes nothing for
 * a second loses the rest.  Logging goes on, directly.
 */
void log_stop(void);

/* Live. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

bool log_is_enabled(enum log_level level);
/*
 * `site` may be NULL: no limit.  `fields` ends with a NULL key, or after
 * LOG_FIELDS_MAX.
 */
void log_write(struct log_site *site, enum log_level level,
	const char *message, const struct log_field *fields);

/* "warn" <-> LOG_LEVEL_WARN; case-insensitive; false when unknown. */
bool log_level_parse(const char *text, enum log_level *ret);
const char *log_level_name(enum log_level level);

/* Lines that the ring had no room for, since the start. */
uint64_t log_dropped(void);

#endif
