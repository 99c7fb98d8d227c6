/* SPDX-License-Identifier: MIT */
/*
 * config - the settings of a daemon, from defaults, file, environment, --set.
 *
 * One table (common/settings.def) makes the parser, the environment names,
 * --help and docs/configuration.md.  `struct settings` is a plain value, set
 * as a whole or not at all: a bad file leaves the old settings in force.
 * struct config owns the sources and the settings in force; all functions
 * are for one thread (start-up, then the reloading thread) except where they
 * say otherwise.
 */
#ifndef COMMON_CONFIG_H
#define COMMON_CONFIG_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct error;

enum daemon_kind { DAEMON_API, DAEMON_CONSUMER };

struct settings_property {
	const char *name;
	const char *value;
};

/* kafka.properties.*: an array that ends where name is NULL. */
struct settings_properties {
	struct settings_property *items;
	size_t count;
};

/*
 * Texts are never NULL: "" is none.  admin.token-file has been read already:
 * what it holds is admin_token.
 */
struct settings {
#define TEXT(member, ...) const char *member;
#define SECRET(member, ...) const char *member;
#define ONEOF(member, ...) const char *member;
#define NUMBER(member, ...) int64_t member;
#define SIZE(member, ...) int64_t member;
#define DURATION(member, ...) int64_t member;
#define FLAG(member, ...) bool member;
#define PROPERTIES(member, ...) struct settings_properties member;
#include "common/settings.def"
#undef TEXT
#undef SECRET
#undef ONEOF
#undef NUMBER
#undef SIZE
#undef DURATION
#undef FLAG
#undef PROPERTIES
};

struct config; /* opaque: sources, origins, the settings in force */

/* What the command line asks for besides running. */
enum config_action {
	CONFIG_RUN,
	CONFIG_CHECK,   /* --check: validated, say so and exit 0 */
	CONFIG_EXIT,    /* --help, --version: printed already, exit 0 */
	CONFIG_MIGRATE, /* --migrate: apply the schema and exit */
};

struct config_command {
	struct config *config; /* the caller's, for config_free() */
	enum config_action action;
	int rest; /* index in argv of the first argument not ours, or argc */
};

/*
 * Read argv (borrowed until config_free()), the file it names and the
 * environment.  An argument that this does not know is left to the caller.
 * On failure -ERROR_CONFIG_INVALID and err->msg is "FILE:LINE: KEY: what was
 * expected", with the nearest known key where one was mistyped.
 */
int config_load(enum daemon_kind kind, int argc, char **argv,
	struct config_command *ret, struct error *err) NODISCARD;

void config_free(struct config *config);

/* Borrowed; valid until config_free(), also after a reload. */
const struct settings *config_settings(const struct config *config);

struct config_change {
	const char *key;
	const char *from; /* "******" for a secret */
	const char *to;
	bool live; /* false: needs a restart, not in force */
};

struct config_changes {
	struct config_change
		*items; /* owned by the config, until the next reload */
	size_t count;
};

/*
 * Read all sources again.  On success *ret_settings is in force (keys that
 * need a restart keep their old value in it) and *ret_changes lists what
 * differs.  On failure nothing has changed.
 */
int config_reload(struct config *config, const struct settings **ret_settings,
	struct config_changes *ret_changes, struct error *err) NODISCARD;

/*
 * Put `value` over what the sources say of a live key, and read them again, as
 * config_reload() does.  It stays until they say another, or the process ends.
 * -ERROR_CONFIG_INVALID, and nothing has changed, also for a key that is
 * unknown, secret, needs a restart, or has a name below it.  A key of NULL
 * takes away everything that was put over.
 */
struct config_assignment {
	const char *key;
	const char *value;
};
int config_override(struct config *config,
	const struct config_assignment *assignment,
	const struct settings **ret_settings,
	struct config_changes *ret_changes, struct error *err) NODISCARD;

/* Call `fn` per key with its value in force and where that came from. */
void config_each(const struct config *config,
	void (*fn)(void *arg, const char *key, const char *value,
		const char *origin),
	void *arg);

/* docs/configuration.md, as committed; docs-check compares. */
void config_print_markdown(FILE *out);

#endif
