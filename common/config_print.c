/* SPDX-License-Identifier: MIT */
#include "common/config_print.h"

#include "common/config_option.h"
#include "common/version.h"

#define HELP_COLUMN 32

static const char *const daemons[] = {
	[DAEMON_API] = "api",
	[DAEMON_CONSUMER] = "consumer",
};

/* What a daemon does with the arguments that this module leaves to it. */
static const char *const own_actions[] = {
	[DAEMON_API] = "",
	[DAEMON_CONSUMER] =
		"  --dead-letters ... list, show, replay or discard dead "
		"letters and exit;\n"
		"                     comes last; --dead-letters help says "
		"more\n",
};

void
config_print_version(FILE *out, enum daemon_kind kind)
{
	(void)fprintf(out, "%s (coupon) %s\n", daemons[kind], COUPON_VERSION);
}

/* "redis.pool" of "redis.pool.max-active" */
static size_t
section_length(const char *key)
{
	const char *last = strrchr(key, '.');

	return last != NULL ? (size_t)(last - key) : 0;
}

static bool
begins_section(size_t i)
{
	const char *key = config_options[i].key;
	size_t len = section_length(key);

	return i == 0 || section_length(config_options[i - 1].key) != len ||
	       strncmp(key, config_options[i - 1].key, len) != 0;
}

/* `* max-active=50      Most connections ...`, below its section's name */
static void
print_help_row(FILE *out, const struct option *option, enum daemon_kind kind)
{
	char left[OPTION_NAME_MAX];
	int len = snprintf(left, sizeof(left), "%c %s=%s",
		option->live ? '*' : ' ',
		option->key + section_length(option->key) + 1,
		option->defaults[kind]);

	if (len > HELP_COLUMN)
		(void)fprintf(out, "  %s\n  %*s  %s\n", left, HELP_COLUMN, "",
			option->help);
	else
		(void)fprintf(
			out, "  %-*s  %s\n", HELP_COLUMN, left, option->help);
}

void
config_print_help(FILE *out, enum daemon_kind kind)
{
	(void)fprintf(out,
		"usage: %s [--config FILE] [--set KEY=VALUE]... [--check]\n\n"
		"  --config FILE      read settings from a YAML file\n"
		"  --set KEY=VALUE    one setting; wins over file and "
		"environment\n"
		"  --check            validate all settings and exit\n"
		"  --migrate          bring the database schema up to date and "
		"exit\n"
		"%s"
		"  --version, --help\n\n"
		"Keys, their defaults and what they do.  The environment name "
		"of a.b-c is\nCOUPON_A_B_C.  Keys marked * change on reload "
		"(SIGHUP), the others at a restart.\n",
		daemons[kind], own_actions[kind]);
	for (size_t i = 0; i < config_n_options; i++) {
		if (begins_section(i))
			(void)fprintf(out, "\n%.*s.\n",
				(int)section_length(config_options[i].key),
				config_options[i].key);
		print_help_row(out, &config_options[i], kind);
	}
}

static void
print_range(FILE *out, const struct option *option)
{
	switch (option->type) {
	case OPTION_TEXT:
		(void)fprintf(out, "text");
		break;
	case OPTION_SECRET:
		(void)fprintf(out, "secret");
		break;
	case OPTION_FLAG:
		(void)fprintf(out, "true, false");
		break;
	case OPTION_PROPERTIES:
		(void)fprintf(out, "keys below it");
		break;
	case OPTION_ONEOF:
		for (const char *at = option->min; *at != '\0'; at++) {
			if (*at == '|')
				(void)fprintf(out, ", ");
			else
				(void)fputc(*at, out);
		}
		break;
	case OPTION_NUMBER:
	case OPTION_SIZE:
	case OPTION_DURATION:
		(void)fprintf(out, "%s .. %s", option->min, option->max);
		break;
	}
}

static void
print_default(FILE *out, const char *text)
{
	if (*text != '\0')
		(void)fprintf(out, "`%s`", text);
	else
		(void)fprintf(out, "none");
}

static void
print_row(FILE *out, const struct option *option)
{
	(void)fprintf(out, "| `%s` | ", option->key);
	print_default(out, option->defaults[DAEMON_API]);
	if (strcmp(option->defaults[DAEMON_API],
		    option->defaults[DAEMON_CONSUMER]) != 0) {
		(void)fprintf(out, "; consumer ");
		print_default(out, option->defaults[DAEMON_CONSUMER]);
	}
	(void)fprintf(out, " | ");
	print_range(out, option);
	(void)fprintf(out, " | %s | %s |\n", option->live ? "live" : "restart",
		option->help);
}

/* clang-format off */
static const char preamble[] =
"# Configuration\n"
"\n"
"Generated from common/settings.def by `make docs`; do not edit.\n"
"\n"
"    build/release/bin/api --config api/api.yaml --set redis.pool.max-active=50\n"
"    build/release/bin/consumer --config consumer/consumer.yaml --check\n"
"\n"
"**Precedence.** Built-in default < file < environment < `--set`. The\n"
"environment name of a key is `COUPON_` and the key in upper case with `.` and\n"
"`-` as `_`: `redis.pool.max-active` is `COUPON_REDIS_POOL_MAX_ACTIVE`. Both\n"
"daemons accept every key, so one file can serve both.\n"
"\n"
"**File.** Nested YAML mappings of scalars; dotted keys mean the same. Anchors,\n"
"aliases, tags, lists, duplicate keys and a second document are errors.\n"
"`${NAME:default}` in a value is filled from the environment; without a default\n"
"an unset variable is an error.\n"
"\n"
"**Values.** Durations have a unit: `500ms`, `10s`, `30m`, `2h`, `1d` (also `us`,\n"
"`ns`). Sizes too: `512B`, `4KB`, `1MB`. Below `kafka.properties` the names are\n"
"librdkafka's; in the environment their dots are `_`:\n"
"`COUPON_KAFKA_PROPERTIES_SECURITY_PROTOCOL`.\n"
"\n"
"**Secrets** are masked wherever settings are shown, and `--set` refuses them, as\n"
"the process list would show them: use the file, the environment or\n"
"`admin.token-file`.\n"
"\n"
"**Errors.** An unknown key, a wrong type or a value out of range stops the start:\n"
"`api.yaml:12: redis.pool.max-actve: expected a known key; did you mean\n"
"redis.pool.max-active?`. So does a `COUPON_` variable that is no key's name.\n"
"Exempt are those that the file's placeholders name, `COUPON_TEST_*`, and what\n"
"Kubernetes sets for a Service (`*_SERVICE_HOST`, `*_SERVICE_PORT*`, `*_PORT_*`).\n"
"\n"
"**Pairs.** `min-idle` must not exceed `max-idle` or `max-active`, `minimum-idle`\n"
"not `maximum-pool-size`, `minimum-number-of-calls` not a count-based\n"
"`sliding-window-size`, `initial-wait-duration-in-open-state` not\n"
"`wait-duration-in-open-state`. A default gives way; a value that you set is\n"
"refused, naming both.\n"
"\n"
"**Reload.** SIGHUP or `POST /actuator/refresh` reads all sources again: valid as\n"
"a whole or refused as a whole. *live* keys change at once, *restart* keys keep\n"
"their value until then and are reported.\n";
/* clang-format on */

void
config_print_markdown(FILE *out)
{
	(void)fputs(preamble, out);
	for (size_t i = 0; i < config_n_options; i++) {
		const struct option *option = &config_options[i];

		if (begins_section(i))
			(void)fprintf(out,
				"\n## %.*s\n\n"
				"| key | default | values | change | |\n"
				"|---|---|---|---|---|\n",
				(int)section_length(option->key), option->key);
		print_row(out, option);
	}
}
