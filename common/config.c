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
#include "common/must.h"

struct config {
	struct config_sources sources;
	const char **sets;             /* argv's strings */
	struct snapshot *snapshot;     /* in force; the older ones follow */
	struct config_change *changes; /* of the last reload */
	size_t n_changes;
};

static void
override_clear(struct config_override *override)
{
	free(override->value);
	free(override->beneath);
	*override = (struct config_override){ 0 };
}

void
config_free(struct config *config)
{
	if (config == NULL)
		return;
	for (struct snapshot *at = config->snapshot; at != NULL;) {
		struct snapshot *older = at->older;

		snapshot_free(at);
		at = older;
	}
	for (size_t i = 0; i < config_n_options; i++)
		override_clear(&config->sources.overrides[i]);
	free(config->sources.overrides);
	free(config->changes);
	free(config->sets);
	free(config);
}

const struct settings *
config_settings(const struct config *config)
{
	return &config->snapshot->settings;
}

/* ---- command line ---- */

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

struct arguments {
	int argc;
	char **argv;
	enum config_action action;
	int rest; /* the first that is not ours */
};

/* `--name VALUE` or `--name=VALUE` at argv[*i], which moves to the VALUE. */
static bool
take_value(const struct arguments *args, int *i, const char *name,
	const char **ret_value)
{
	const char *arg = args->argv[*i];
	size_t len = strlen(name);

	if (strncmp(arg, name, len) != 0)
		return false;
	if (arg[len] == '=') {
		*ret_value = arg + len + 1;
		return true;
	}
	if (arg[len] != '\0')
		return false;
	*ret_value = *i + 1 < args->argc ? args->argv[++*i] : NULL;
	return true;
}

static int
take_arguments(struct config *config, struct arguments *args, struct error *err)
{
	int i = 1;

	for (; i < args->argc && args->action != CONFIG_EXIT; i++) {
		const char *option = args->argv[i];
		const char *value = option;

		if (take_value(args, &i, "--config", &value))
			config->sources.file = value;
		else if (take_value(args, &i, "--set", &value))
			config->sets[config->sources.n_sets++] = value;
		else if (!take_action(
				 option, config->sources.kind, &args->action))
			break;
		if (value == NULL)
			return error_set(err, ERROR_CONFIG_INVALID,
				"%s: expected a value after it", option);
	}
	args->rest = i;
	return 0;
}

static struct config *
config_new(enum daemon_kind kind, int argc)
{
	struct config *config = must(calloc(1, sizeof(*config)));

	config->snapshot = snapshot_new(kind);
	config->sets = must(calloc((size_t)argc + 1, sizeof(*config->sets)));
	config->sources.sets = config->sets;
	config->sources.overrides = must(
		calloc(config_n_options, sizeof(*config->sources.overrides)));
	config->sources.kind = kind;
	return config;
}

int
config_load(enum daemon_kind kind, int argc, char **argv,
	struct config_command *ret, struct error *err)
{
	struct arguments args = { argc, argv, CONFIG_RUN, argc };
	struct config *config = config_new(kind, argc);
	int rc = take_arguments(config, &args, err);

	if (rc == 0 && args.action != CONFIG_EXIT)
		rc = snapshot_read(config->snapshot, &config->sources, err);
	if (rc != 0) {
		config_free(config);
		return rc;
	}
	*ret = (struct config_command){ config, args.action, args.rest };
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

	config->changes[config->n_changes++] = change;
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
	free(config->changes);
	config->n_changes = 0;
	config->changes = must(calloc(
		from->n_values + to->n_values, sizeof(*config->changes)));
	for (size_t i = 0; i < to->n_values; i++) {
		const struct config_value *now = &to->values[i];
		const struct config_value *was =
			snapshot_find(from, now->option, now->name);

		if (!is_same(from, to, was, now))
			add_change(config, to, was, now);
	}
	for (size_t i = config_n_options; i < from->n_values; i++) {
		const struct config_value *was = &from->values[i];

		if (snapshot_find(to, was->option, was->name) == NULL)
			add_change(config, to, was, NULL);
	}
}

/* Restart-only keys of `to` get the values they have in `from`. */
static void
keep_until_restart(const struct snapshot *from, struct snapshot *to)
{
	size_t n = config_n_options;

	for (size_t i = 0; i < n; i++) {
		const struct option *option = &config_options[i];

		if (option->live || option->type == OPTION_PROPERTIES)
			continue;
		to->values[i] = from->values[i];
		option_copy(option, &to->settings, &from->settings);
	}
	for (size_t i = n; i < to->n_values; i++) {
		if (to->values[i].option->live)
			to->values[n++] = to->values[i];
	}
	to->n_values = n;
	for (size_t i = config_n_options; i < from->n_values; i++) {
		if (!from->values[i].option->live)
			snapshot_assign(to, &from->values[i]);
	}
	snapshot_make_properties(to);
}

/* Those that a source has outdated. */
static void
forget_overrides(struct config *config)
{
	for (size_t i = 0; i < config_n_options; i++) {
		if (config->sources.overrides[i].is_over)
			override_clear(&config->sources.overrides[i]);
	}
}

int
config_reload(struct config *config, const struct settings **ret_settings,
	struct config_changes *ret_changes, struct error *err)
{
	struct snapshot *was = config->snapshot;
	struct snapshot *now = snapshot_new(config->sources.kind);
	int rc = snapshot_read(now, &config->sources, err);

	if (rc != 0) {
		snapshot_free(now);
		return rc;
	}
	list_changes(config, was, now);
	keep_until_restart(was, now);
	forget_overrides(config);
	if (config->n_changes > 0) {
		now->older = was;
		config->snapshot = now;
	} else {
		snapshot_free(now);
	}
	*ret_settings = config_settings(config);
	*ret_changes = (struct config_changes){
		.items = config->changes,
		.count = config->n_changes,
	};
	return 0;
}

/* ---- what an operator puts over the sources ---- */

static int
find_overridable(const char *key, const struct option **ret, struct error *err)
{
	const char *name;
	const struct option *option = option_find(key, &name);

	if (option == NULL)
		return error_set(err, ERROR_CONFIG_INVALID,
			"operator: %s: expected a known key", key);
	if (!option->live || option->type == OPTION_SECRET ||
		option->type == OPTION_PROPERTIES)
		return error_set(err, ERROR_CONFIG_INVALID,
			"operator: %s: changes only in the configuration%s",
			key, option->live ? "" : ", and with a restart");
	*ret = option;
	return 0;
}

static int
reload_without_overrides(struct config *config,
	const struct settings **ret_settings,
	struct config_changes *ret_changes, struct error *err)
{
	struct config_override *kept = config->sources.overrides;

	config->sources.overrides =
		must(calloc(config_n_options, sizeof(*kept)));
	int rc = config_reload(config, ret_settings, ret_changes, err);
	struct config_override *gone =
		rc == 0 ? kept : config->sources.overrides;
	if (rc != 0)
		config->sources.overrides = kept;
	for (size_t i = 0; i < config_n_options; i++)
		override_clear(&gone[i]);
	free(gone);
	return rc;
}

int
config_override(struct config *config,
	const struct config_assignment *assignment,
	const struct settings **ret_settings,
	struct config_changes *ret_changes, struct error *err)
{
	const struct option *option = NULL;

	if (assignment->key == NULL)
		return reload_without_overrides(
			config, ret_settings, ret_changes, err);
	if (find_overridable(assignment->key, &option, err) != 0)
		return -ERROR_CONFIG_INVALID;
	struct config_override *override =
		&config->sources.overrides[option - config_options];
	char *before = override->value;

	override->value = must(strdup(assignment->value));
	if (config_reload(config, ret_settings, ret_changes, err) == 0) {
		free(before);
		return 0;
	}
	free(override->value);
	override->value = before;
	if (before == NULL)
		override_clear(override);
	return -ERROR_CONFIG_INVALID;
}

void
config_each(const struct config *config,
	void (*fn)(void *arg, const char *key, const char *value,
		const char *origin),
	void *arg)
{
	const struct snapshot *snapshot = config->snapshot;

	for (size_t i = 0; i < snapshot->n_values; i++) {
		const struct config_value *value = &snapshot->values[i];
		char key[OPTION_NAME_MAX];

		if (value->option->type == OPTION_PROPERTIES &&
			value->name == NULL)
			continue;
		config_value_key(value, key, sizeof(key));
		fn(arg, key, config_value_shown(value), value->origin);
	}
}
