/* SPDX-License-Identifier: MIT */
#include "common/config_snapshot.h"

#include "common/error.h"
#include "common/must.h"
#include "common/yaml.h"

#include <ctype.h>
#include <stdarg.h>

#define ENV_PREFIX "COUPON_"

/* ---- a snapshot and its values ---- */

struct snapshot *
snapshot_new(enum daemon_kind kind)
{
	struct snapshot *snapshot = must(calloc(1, sizeof(*snapshot)));

	snapshot->kind = kind;
	for (size_t i = 0; i < config_n_options; i++) {
		const struct config_value value = {
			.option = &config_options[i],
			.value = config_options[i].defaults[kind],
			.origin = "default",
		};

		snapshot_assign(snapshot, &value);
	}
	return snapshot;
}

static void
free_properties(struct snapshot *snapshot)
{
	for (size_t i = 0; i < config_n_options; i++) {
		if (config_options[i].type == OPTION_PROPERTIES)
			free(option_properties(
				&config_options[i], &snapshot->settings)
					->items);
	}
}

static void
free_texts(struct text *text)
{
	while (text != NULL) {
		struct text *next = text->next;

		free(text);
		text = next;
	}
}

void
snapshot_free(struct snapshot *snapshot)
{
	if (snapshot == NULL)
		return;
	free_properties(snapshot);
	free_texts(snapshot->texts);
	free_texts(snapshot->placeholders);
	free(snapshot->values);
	free(snapshot);
}

static char *
keep(struct text **list, const char *text, size_t len)
{
	struct text *kept = must(malloc(sizeof(*kept) + len + 1));

	kept->next = *list;
	*list = kept;
	memcpy(kept->text, text, len);
	kept->text[len] = '\0';
	return kept->text;
}

char *
snapshot_keep(struct snapshot *snapshot, const char *text, size_t len)
{
	return keep(&snapshot->texts, text, len);
}

const char *
snapshot_placeholder(struct snapshot *snapshot, const char *name, size_t len)
{
	return keep(&snapshot->placeholders, name, len);
}

const char *
snapshot_printf(struct snapshot *snapshot, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	int len = vasprintf(&text, fmt, ap);

	va_end(ap);
	if (len < 0)
		abort();
	const char *kept = snapshot_keep(snapshot, text, (size_t)len);

	free(text);
	return kept;
}

struct config_value *
snapshot_find(const struct snapshot *snapshot, const struct option *option,
	const char *name)
{
	for (size_t i = 0; i < snapshot->n_values; i++) {
		struct config_value *at = &snapshot->values[i];

		if (at->option == option &&
			(at->name == NULL) == (name == NULL) &&
			(name == NULL || strcmp(at->name, name) == 0))
			return at;
	}
	return NULL;
}

void
snapshot_assign(struct snapshot *snapshot, const struct config_value *value)
{
	struct config_value *known =
		snapshot_find(snapshot, value->option, value->name);

	if (known != NULL) {
		*known = *value;
		return;
	}
	if (snapshot->n_values == snapshot->size_values) {
		snapshot->size_values += config_n_options;
		snapshot->values = must(reallocarray(snapshot->values,
			snapshot->size_values, sizeof(*snapshot->values)));
	}
	snapshot->values[snapshot->n_values++] = *value;
}

void
config_value_key(const struct config_value *value, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s%s%s", value->option->key,
		value->name != NULL ? "." : "",
		value->name != NULL ? value->name : "");
}

const char *
config_value_shown(const struct config_value *value)
{
	return option_is_public(value->option, value->name, value->value)
		       ? value->value
		       : OPTION_MASK;
}

int
snapshot_fail(const struct config_value *value, struct error *err,
	const char *fmt, ...)
{
	char what[256];
	char key[OPTION_NAME_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	config_value_key(value, key, sizeof(key));
	return error_set(err, ERROR_CONFIG_INVALID, "%s: %s: %s", value->origin,
		key, what);
}

/* ---- file ---- */

static int
fail_unknown(const char *origin, const char *key, struct error *err)
{
	const char *nearest = option_nearest(key);

	if (option_is_section(key))
		return error_set(err, ERROR_CONFIG_INVALID,
			"%s: %s: expected keys below it, got a value", origin,
			key);
	return error_set(err, ERROR_CONFIG_INVALID,
		"%s: %s: expected a known key%s%s%s", origin, key,
		nearest != NULL ? "; did you mean " : "",
		nearest != NULL ? nearest : "", nearest != NULL ? "?" : "");
}

static int
take_entry(struct snapshot *snapshot, const char *file,
	const struct yaml_entry *entry, struct error *err)
{
	struct config_value value = { .value = "" };
	struct error why;

	if (entry->is_null && option_is_section(entry->key))
		return 0; /* a section whose keys are all commented out */
	value.origin = snapshot_printf(snapshot, "%s:%zu", file, entry->line);
	const char *key = snapshot_printf(snapshot, "%s", entry->key);

	value.option = option_find(key, &value.name);
	if (value.option == NULL)
		return fail_unknown(value.origin, key, err);
	if (!entry->is_null && snapshot_expand(snapshot, entry->value,
				       &value.value, &why) != 0)
		return snapshot_fail(&value, err, "%s", why.msg);
	snapshot_assign(snapshot, &value);
	return 0;
}

static int
take_file(struct snapshot *snapshot, const char *file, struct error *err)
{
	struct yaml_map yaml;
	int rc = yaml_map_load(file, &yaml, err);

	if (rc != 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < yaml.count; i++)
		rc = take_entry(snapshot, file, &yaml.entries[i], err);
	yaml_map_free(&yaml);
	return rc;
}

/* ---- environment ---- */

/*
 * Variables that begin like ours and are none: those the file's placeholders
 * name, our tests' own, and what Kubernetes sets for every Service (one named
 * coupon-api makes COUPON_API_SERVICE_HOST, COUPON_API_PORT_8080_TCP ...).
 */
static bool
is_foreign(const struct snapshot *snapshot, const char *env, const char *value)
{
	const char *port = strstr(env, "_PORT");

	for (const struct text *at = snapshot->placeholders; at != NULL;
		at = at->next) {
		if (strcmp(at->text, env) == 0)
			return true;
	}
	return strncmp(env, "COUPON_TEST_", strlen("COUPON_TEST_")) == 0 ||
	       strstr(env, "_SERVICE_HOST") != NULL ||
	       strstr(env, "_SERVICE_PORT") != NULL ||
	       (port != NULL && port[5] == '_' &&
		       isdigit((unsigned char)port[6])) ||
	       (port != NULL && strstr(value, "://") != NULL);
}

static int
fail_unknown_env(const char *env, struct error *err)
{
	char buf[OPTION_NAME_MAX];
	const char *nearest = option_nearest_env(env, buf);

	return error_set(err, ERROR_CONFIG_INVALID,
		"%s: expected the name of a known key%s%s%s", env,
		nearest != NULL ? "; did you mean " : "",
		nearest != NULL ? nearest : "", nearest != NULL ? "?" : "");
}

/* LINGER_MS -> linger.ms: librdkafka's names have dots only. */
static const char *
property_name(struct snapshot *snapshot, const char *env)
{
	char *name = snapshot_keep(snapshot, env, strlen(env));

	for (char *at = name; *at != '\0'; at++) {
		if (*at == '_')
			*at = '.';
		else if (*at >= 'A' && *at <= 'Z')
			*at = (char)(*at + ('a' - 'A'));
	}
	return name;
}

static int
take_variable(
	struct snapshot *snapshot, const char *variable, struct error *err)
{
	size_t len = strcspn(variable, "=");
	struct config_value value = { 0 };

	if (variable[len] == '\0')
		return 0;
	value.origin = snapshot_printf(snapshot, "%.*s", (int)len, variable);
	value.value = snapshot_printf(snapshot, "%s", variable + len + 1);
	value.option = option_find_env(value.origin, &value.name);
	if (value.option == NULL)
		return is_foreign(snapshot, value.origin, value.value)
			       ? 0
			       : fail_unknown_env(value.origin, err);
	if (value.name != NULL)
		value.name = property_name(snapshot, value.name);
	snapshot_assign(snapshot, &value);
	return 0;
}

static int
take_environment(struct snapshot *snapshot, struct error *err)
{
	int rc = 0;

	for (char **at = environ; rc == 0 && at != NULL && *at != NULL; at++) {
		if (strncmp(*at, ENV_PREFIX, strlen(ENV_PREFIX)) == 0)
			rc = take_variable(snapshot, *at, err);
	}
	return rc;
}

/* ---- --set ---- */

static int
take_set(struct snapshot *snapshot, const char *set, struct error *err)
{
	struct config_value value = { .origin = "--set" };
	size_t len = strcspn(set, "=");
	char env[OPTION_NAME_MAX];

	if (set[len] == '\0')
		return error_set(
			err, ERROR_CONFIG_INVALID, "--set: expected key=value");
	const char *key = snapshot_printf(snapshot, "%.*s", (int)len, set);

	value.value = set + len + 1;
	value.option = option_find(key, &value.name);
	if (value.option == NULL)
		return fail_unknown(value.origin, key, err);
	if (!option_is_public(value.option, value.name, value.value)) {
		option_env_name(value.option->key, env);
		return snapshot_fail(&value, err,
			"a secret would show in the process list; put it into "
			"the file or the environment (%s)",
			env);
	}
	snapshot_assign(snapshot, &value);
	return 0;
}

/* ---- the operator ---- */

static void
take_override(struct snapshot *snapshot, const struct option *option,
	struct config_override *override)
{
	const struct config_value *beneath =
		snapshot_find(snapshot, option, NULL);

	if (override->beneath == NULL)
		override->beneath = must(strdup(beneath->value));
	override->is_over = strcmp(override->beneath, beneath->value) != 0;
	if (override->is_over)
		return;
	const struct config_value value = {
		.option = option,
		.value = snapshot_printf(snapshot, "%s", override->value),
		.origin = "operator",
	};

	snapshot_assign(snapshot, &value);
}

/* ---- the settings ---- */

static int
read_values(struct snapshot *snapshot, struct error *err)
{
	for (size_t i = 0; i < snapshot->n_values; i++) {
		const struct config_value *at = &snapshot->values[i];

		char expected[160];

		if (at->option->type == OPTION_PROPERTIES ||
			option_read(at->option, at->value, &snapshot->settings))
			continue;
		option_expects(at->option, expected, sizeof(expected));
		return snapshot_fail(at, err, "expected %s, got %s%s%s",
			expected, *at->value != '\0' ? "\"" : "nothing",
			config_value_shown(at), *at->value != '\0' ? "\"" : "");
	}
	return 0;
}

static void
make_properties(struct snapshot *snapshot, const struct option *option)
{
	struct settings_properties *properties =
		option_properties(option, &snapshot->settings);

	free(properties->items);
	properties->items = must(
		calloc(snapshot->n_values + 1, sizeof(*properties->items)));
	properties->count = 0;
	for (size_t i = 0; i < snapshot->n_values; i++) {
		const struct config_value *at = &snapshot->values[i];

		if (at->option == option && at->name != NULL)
			properties->items[properties->count++] =
				(struct settings_property){ at->name,
					at->value };
	}
}

void
snapshot_make_properties(struct snapshot *snapshot)
{
	for (size_t i = 0; i < config_n_options; i++) {
		if (config_options[i].type == OPTION_PROPERTIES)
			make_properties(snapshot, &config_options[i]);
	}
}

int
snapshot_read(struct snapshot *snapshot, const struct config_sources *sources,
	struct error *err)
{
	int rc = 0;

	if (sources->file != NULL)
		rc = take_file(snapshot, sources->file, err);
	if (rc == 0)
		rc = take_environment(snapshot, err);
	for (size_t i = 0; rc == 0 && i < sources->n_sets; i++)
		rc = take_set(snapshot, sources->sets[i], err);
	for (size_t i = 0; rc == 0 && i < config_n_options; i++) {
		if (sources->overrides[i].value != NULL)
			take_override(snapshot, &config_options[i],
				&sources->overrides[i]);
	}
	if (rc == 0)
		rc = read_values(snapshot, err);
	if (rc != 0)
		return rc;
	snapshot_make_properties(snapshot);
	return snapshot_check(snapshot, err);
}
