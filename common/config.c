/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * Each reading of the sources is a snapshot.  A reload makes a new one,
 * compares it with the one in force, puts the values of restart-only keys
 * back to what they are, and only then makes it the one in force.  Snapshots
 * that were in force are kept until config_free(), because any thread may
 * still hold a string of theirs: some kilobytes per reload that changed
 * something, which happens at a person's pace.
 */
#include "common/config.h"

#include "common/config_print.h"
#include "common/config_snapshot.h"
#include "common/error.h"

#include <assert.h>
#include <limits.h>
#include <sys/stat.h>

struct config {
	struct config_sources sources;
	UT_array *sets;      /* const char *, argv's */
	UT_array *snapshots; /* struct snapshot *, owned; the last: in force */
	UT_array *changes;   /* struct config_change, of the last reload */
};

static void
free_snapshot(void *element)
{
	snapshot_free(*(struct snapshot **)element);
}

static struct config *
config_new(enum daemon_kind kind)
{
	static const UT_icd snapshots = { sizeof(struct snapshot *), NULL, NULL,
		free_snapshot };
	static const UT_icd changes = { sizeof(struct config_change), NULL,
		NULL, NULL };
	struct config *config = calloc(1, sizeof(*config));

	if (config == NULL)
		abort();
	config->sources.kind = kind;
	utarray_new(config->sets, &ut_ptr_icd);
	utarray_new(config->snapshots, &snapshots);
	utarray_new(config->changes, &changes);
	return config;
}

void
config_free(struct config *config)
{
	if (config == NULL)
		return;
	utarray_free(config->changes);
	utarray_free(config->snapshots);
	utarray_free(config->sets);
	free(config);
}

static struct snapshot *
in_force(const struct config *config)
{
	size_t n = utarray_len(config->snapshots);

	assert(n > 0);
	return *(struct snapshot **)utarray_eltptr(config->snapshots, n - 1);
}

const struct settings *
config_settings(const struct config *config)
{
	return &in_force(config)->settings;
}

/* ---- command line ---- */

/* `--name VALUE` or `--name=VALUE` at argv[*i], which moves to the VALUE. */
static bool
take_value(
	char **argv, int argc, int *i, const char *name, const char **ret_value)
{
	size_t len = strlen(name);

	if (strncmp(argv[*i], name, len) != 0)
		return false;
	if (argv[*i][len] == '=') {
		*ret_value = argv[*i] + len + 1;
		return true;
	}
	if (argv[*i][len] != '\0')
		return false;
	*ret_value = *i + 1 < argc ? argv[++*i] : NULL;
	return true;
}

static bool
take_action(const char *arg, enum daemon_kind kind, enum config_action *action)
{
	if (strcmp(arg, "--check") == 0) {
		*action = CONFIG_CHECK;
	} else if (strcmp(arg, "--migrate") == 0) {
		*action = CONFIG_MIGRATE;
	} else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
		config_print_help(stdout, kind);
		*action = CONFIG_EXIT;
	} else if (strcmp(arg, "--version") == 0) {
		config_print_version(stdout, kind);
		*action = CONFIG_EXIT;
	} else {
		return false;
	}
	return true;
}

static int
take_arguments(struct config *config, int argc, char **argv,
	enum config_action *action, int *rest, struct error *err)
{
	int i = 1;

	for (; i < argc && *action != CONFIG_EXIT; i++) {
		const char *option = argv[i];
		const char *value = option;

		if (take_value(argv, argc, &i, "--config", &value))
			config->sources.file = value;
		else if (take_value(argv, argc, &i, "--set", &value))
			utarray_push_back(config->sets, &value);
		else if (!take_action(option, config->sources.kind, action))
			break;
		if (value == NULL)
			return error_set(err, ERROR_CONFIG_INVALID,
				"%s: expected a value after it", option);
	}
	*rest = i;
	config->sources.n_sets = utarray_len(config->sets);
	if (config->sources.n_sets > 0)
		config->sources.sets = utarray_front(config->sets);
	return 0;
}

int
config_load(enum daemon_kind kind, int argc, char **argv, struct config **ret,
	enum config_action *ret_action, int *ret_rest, struct error *err)
{
	struct config *config = config_new(kind);
	struct snapshot *snapshot = snapshot_new(kind);
	enum config_action action = CONFIG_RUN;
	int rest = argc;

	utarray_push_back(config->snapshots, &snapshot);
	int rc = take_arguments(config, argc, argv, &action, &rest, err);

	if (rc == 0 && action != CONFIG_EXIT)
		rc = snapshot_read(snapshot, &config->sources, err);
	if (rc != 0) {
		config_free(config);
		return rc;
	}
	*ret = config;
	*ret_action = action;
	*ret_rest = rest;
	return 0;
}

/* ---- reload ---- */

/* What a value is when it is not there: "" below a PROPERTIES key. */
static const char *
shown_or_none(const struct config_value *value)
{
	return value != NULL ? config_value_shown(value) : "";
}

static void
add_change(struct config *config, struct snapshot *snapshot,
	const struct config_value *from, const struct config_value *to)
{
	const struct config_value *value = to != NULL ? to : from;
	char key[OPTION_NAME_MAX];

	config_value_key(value, key, sizeof(key));
	const struct config_change change = {
		.key = snapshot_printf(snapshot, "%s", key),
		.from = snapshot_printf(snapshot, "%s", shown_or_none(from)),
		.to = snapshot_printf(snapshot, "%s", shown_or_none(to)),
		.live = value->option->live,
	};

	utarray_push_back(config->changes, &change);
}

static bool
is_same(const struct snapshot *a, const struct snapshot *b,
	const struct config_value *in_a, const struct config_value *in_b)
{
	if (in_a == NULL || in_b == NULL)
		return false;
	return in_a->name != NULL || in_a->option->type == OPTION_PROPERTIES
		       ? strcmp(in_a->value, in_b->value) == 0
		       : option_is_equal(
				 in_a->option, &a->settings, &b->settings);
}

static void
list_changes(struct config *config, struct snapshot *from, struct snapshot *to)
{
	for (size_t i = 0; i < snapshot_count(to); i++) {
		const struct config_value *now = snapshot_value(to, i);
		const struct config_value *was =
			snapshot_find(from, now->option, now->name);

		if (!is_same(from, to, was, now))
			add_change(config, to, was, now);
	}
	for (size_t i = config_n_options; i < snapshot_count(from); i++) {
		const struct config_value *was = snapshot_value(from, i);

		if (snapshot_find(to, was->option, was->name) == NULL)
			add_change(config, to, was, NULL);
	}
}

/* Restart-only keys of `to` get the values they have in `from`. */
static void
keep_until_restart(const struct snapshot *from, struct snapshot *to)
{
	for (size_t i = snapshot_count(to); i-- > 0;) {
		struct config_value *now = snapshot_value(to, i);
		const struct config_value *was =
			snapshot_find(from, now->option, now->name);

		if (now->option->live)
			continue;
		if (was != NULL)
			*now = *was;
		else
			utarray_erase(to->values, i, 1);
		option_copy(now->option, &to->settings, &from->settings);
	}
	for (size_t i = config_n_options; i < snapshot_count(from); i++) {
		const struct config_value *was = snapshot_value(from, i);

		if (!was->option->live)
			snapshot_assign(to, was);
	}
}

int
config_reload(struct config *config, const struct settings **ret_settings,
	struct config_changes *ret_changes, struct error *err)
{
	struct snapshot *was = in_force(config);
	struct snapshot *now = snapshot_new(config->sources.kind);
	int rc = snapshot_read(now, &config->sources, err);

	if (rc != 0) {
		snapshot_free(now);
		return rc;
	}
	utarray_clear(config->changes);
	list_changes(config, was, now);
	keep_until_restart(was, now);
	snapshot_make_properties(now);
	if (utarray_len(config->changes) > 0)
		utarray_push_back(config->snapshots, &now);
	else
		snapshot_free(now);
	*ret_settings = config_settings(config);
	*ret_changes = (struct config_changes){
		.items = utarray_front(config->changes),
		.count = utarray_len(config->changes),
	};
	return 0;
}

void
config_each(const struct config *config,
	void (*fn)(void *arg, const char *key, const char *value,
		const char *origin),
	void *arg)
{
	const struct snapshot *snapshot = in_force(config);

	for (size_t i = 0; i < snapshot_count(snapshot); i++) {
		const struct config_value *value = snapshot_value(snapshot, i);
		char key[OPTION_NAME_MAX];

		if (value->option->type == OPTION_PROPERTIES &&
			value->name == NULL)
			continue;
		config_value_key(value, key, sizeof(key));
		fn(arg, key, config_value_shown(value), value->origin);
	}
}
