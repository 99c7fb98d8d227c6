/* SPDX-License-Identifier: MIT */
/*
 * config_option - one row of common/settings.def: its names, its limits, how
 * its value is read and shown.  The rows themselves are immutable.
 *
 * Internal to the config modules and their tests.  Stateless; any thread.
 */
#ifndef COMMON_CONFIG_OPTION_H
#define COMMON_CONFIG_OPTION_H

#include "common/config.h"

enum option_type {
	OPTION_TEXT,
	OPTION_SECRET,
	OPTION_ONEOF,
	OPTION_NUMBER,
	OPTION_SIZE,
	OPTION_DURATION,
	OPTION_FLAG,
	OPTION_PROPERTIES, /* every key below `key`; values are not read here */
};

struct option {
	const char *key;
	const char *defaults[2]; /* by enum daemon_kind */
	const char *min;         /* ONEOF: the choices, "a|b|c" */
	const char *max;
	const char *help;
	size_t offset; /* in struct settings */
	enum option_type type;
	bool live;
};

#define OPTION_NAME_MAX 160 /* of an environment name, NUL included */

extern const struct option config_options[];
extern const size_t config_n_options;

/*
 * The option that takes `key`, NULL when there is none.  For a key below a
 * PROPERTIES one, *ret_name is the rest of it, else NULL.
 */
const struct option *option_find(const char *key, const char **ret_name);

/* The same for an environment name; the rest is its own, "LINGER_MS". */
const struct option *option_find_env(const char *env, const char **ret_name);

/* Do keys exist below `key`? */
bool option_is_section(const char *key);

/* "redis.pool.max-active" -> "COUPON_REDIS_POOL_MAX_ACTIVE" */
void option_env_name(const char *key, char buf[OPTION_NAME_MAX]);

/* The known key (environment name) nearest to a mistyped one, or NULL. */
const char *option_nearest(const char *key);
const char *option_nearest_env(const char *env, char buf[OPTION_NAME_MAX]);

/*
 * Read `text` into the option's member of `settings`; a string member
 * borrows `text`.  False when it is not such a value.
 */
bool option_read(const struct option *option, const char *text,
	struct settings *settings);

/* "a number from 1 to 65535" */
void option_expects(const struct option *option, char *buf, size_t size);

/* The member of a PROPERTIES option. */
struct settings_properties *option_properties(
	const struct option *option, struct settings *settings);

/* Same value, however spelled?  Not for PROPERTIES. */
bool option_is_equal(const struct option *option, const struct settings *a,
	const struct settings *b);

/* Copy the option's member.  Not for PROPERTIES. */
void option_copy(const struct option *option, struct settings *to,
	const struct settings *from);

/*
 * May the value be shown?  False for secrets, and for others that hold one: a
 * property named like a password, a URI with a password in it.
 */
bool option_is_public(
	const struct option *option, const char *name, const char *value);

#define OPTION_MASK "******"

#endif
