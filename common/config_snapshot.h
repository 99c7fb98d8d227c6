/* SPDX-License-Identifier: MIT */
/*
 * config_snapshot - one complete reading of defaults, file, environment, --set
 * and what an operator put over them: for every key its value, where it came from, and the settings made
 * of them.  Owns every string the settings point to.
 *
 * Internal to the config modules.  One thread at a time.  Out of memory ends
 * the process: nothing of what is read here is large.
 */
#ifndef COMMON_CONFIG_SNAPSHOT_H
#define COMMON_CONFIG_SNAPSHOT_H

#include "common/config.h"
#include "common/config_option.h"

struct yaml_map;

/* What an operator put over an option's value, while the process runs. */
struct config_override {
	char *value;   /* NULL: nothing */
	char *beneath; /* what the sources said; NULL: not read yet */
	bool is_over;  /* they say another now: it counts no more */
};

struct config_sources {
	enum daemon_kind kind;
	const char *file;        /* NULL: none */
	const char *const *sets; /* "key=value", later ones win */
	size_t n_sets;
	struct config_override *overrides; /* one per option */
};

struct config_value {
	const struct option *option;
	const char *name;  /* below a PROPERTIES key, else NULL */
	const char *value; /* as written, placeholders filled */
	/* "api.yaml:12", "COUPON_X", "--set", "default", "operator" */
	const char *origin;
};

/* A string that lives as long as the list it is in. */
struct text {
	struct text *next;
	char text[];
};

struct snapshot {
	enum daemon_kind kind; /* whose settings these are */
	struct settings settings;
	/* One per option, in the table's order, then the properties as they
	 * were first named. */
	struct config_value *values;
	size_t n_values;
	size_t size_values;
	struct text *texts;
	struct text *placeholders; /* the variables that the file names */
	struct snapshot *older;    /* config.c's */
};

struct snapshot *snapshot_new(enum daemon_kind kind);
void snapshot_free(struct snapshot *snapshot);

/* Read all sources and check the whole. */
int snapshot_read(struct snapshot *snapshot,
	const struct config_sources *sources, struct error *err) NODISCARD;

/* A copy that lives as long as the snapshot. */
const char *PRINTF(2, 3)
	snapshot_printf(struct snapshot *snapshot, const char *fmt, ...);

char *snapshot_keep(struct snapshot *snapshot, const char *text, size_t len);

/* Remember that the file names this variable; the copy is the snapshot's. */
const char *snapshot_placeholder(
	struct snapshot *snapshot, const char *name, size_t len);

/* The option's value, or the property's of that name; NULL when not there. */
struct config_value *snapshot_find(const struct snapshot *snapshot,
	const struct option *option, const char *name);

/* A later assignment replaces an earlier one. */
void snapshot_assign(
	struct snapshot *snapshot, const struct config_value *value);

/* Make settings->kafka_properties and its like of the values. */
void snapshot_make_properties(struct snapshot *snapshot);

/* Fill `${NAME:default}`; *ret is the snapshot's. */
int snapshot_expand(struct snapshot *snapshot, const char *text,
	const char **ret, struct error *err) NODISCARD;

/* What no single key can tell: config_check.c. */
int snapshot_check(struct snapshot *snapshot, struct error *err) NODISCARD;

/* -ERROR_CONFIG_INVALID: "ORIGIN: KEY: ..." */
int PRINTF(3, 4) snapshot_fail(const struct config_value *value,
	struct error *err, const char *fmt, ...);

/* The value as it may be shown: a secret is masked. */
const char *config_value_shown(const struct config_value *value);

/* "redis.port", or "kafka.properties." and the property's name. */
void config_value_key(const struct config_value *value, char *buf, size_t size);

#endif
