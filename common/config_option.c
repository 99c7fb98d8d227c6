/* SPDX-License-Identifier: MIT */
#include "common/config_option.h"

#include "common/clock.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>

#define PREFIX "COUPON_"

/* A typo is at most this far from what was meant. */
#define DISTANCE_MAX 4

enum { RESTART = false, LIVE = true };

/* clang-format off */
#define ROW(kind, member, key, api, consumer, min, max, live, help)  \
	{ key, { api, consumer }, min, max, help,                     \
	  offsetof(struct settings, member), kind, live },
#define TEXT(m, k, a, c, lo, hi, live, help) \
	ROW(OPTION_TEXT, m, k, a, c, "", "", live, help)
#define SECRET(m, k, a, c, lo, hi, live, help) \
	ROW(OPTION_SECRET, m, k, a, c, "", "", live, help)
#define ONEOF(m, k, a, c, choices, hi, live, help) \
	ROW(OPTION_ONEOF, m, k, a, c, choices, "", live, help)
#define NUMBER(m, k, a, c, lo, hi, live, help) \
	ROW(OPTION_NUMBER, m, k, a, c, #lo, #hi, live, help)
#define SIZE(m, k, a, c, lo, hi, live, help) \
	ROW(OPTION_SIZE, m, k, a, c, lo, hi, live, help)
#define DURATION(m, k, a, c, lo, hi, live, help) \
	ROW(OPTION_DURATION, m, k, a, c, lo, hi, live, help)
#define FLAG(m, k, a, c, lo, hi, live, help) \
	ROW(OPTION_FLAG, m, k, a, c, "", "", live, help)
#define PROPERTIES(m, k, a, c, lo, hi, live, help) \
	ROW(OPTION_PROPERTIES, m, k, a, c, "", "", live, help)

const struct option config_options[] = {
#include "common/settings.def"
};
/* clang-format on */
const size_t config_n_options = ARRAY_SIZE(config_options);

/* ---- names ---- */

void
option_env_name(const char *key, char buf[OPTION_NAME_MAX])
{
	int len = snprintf(buf, OPTION_NAME_MAX, PREFIX "%s", key);

	assert(len < OPTION_NAME_MAX);
	for (char *at = buf; *at != '\0'; at++) {
		if (*at == '.' || *at == '-')
			*at = '_';
		else if (*at >= 'a' && *at <= 'z')
			*at = (char)(*at - ('a' - 'A'));
	}
}

/* Does `name` match, wholly or, for PROPERTIES, as the part before `sign`? */
static bool
matches(const struct option *option, const char *key, const char *name,
	char sign, const char **ret_name)
{
	size_t len = strlen(key);

	*ret_name = NULL;
	if (option->type != OPTION_PROPERTIES)
		return strcmp(key, name) == 0;
	if (strncmp(key, name, len) != 0 || name[len] != sign ||
		name[len + 1] == '\0')
		return false;
	*ret_name = name + len + 1;
	return true;
}

const struct option *
option_find(const char *key, const char **ret_name)
{
	for (size_t i = 0; i < config_n_options; i++) {
		if (matches(&config_options[i], config_options[i].key, key, '.',
			    ret_name))
			return &config_options[i];
	}
	return NULL;
}

const struct option *
option_find_env(const char *env, const char **ret_name)
{
	char name[OPTION_NAME_MAX];

	for (size_t i = 0; i < config_n_options; i++) {
		option_env_name(config_options[i].key, name);
		if (matches(&config_options[i], name, env, '_', ret_name))
			return &config_options[i];
	}
	return NULL;
}

bool
option_is_section(const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < config_n_options; i++) {
		const struct option *option = &config_options[i];

		if (strncmp(option->key, key, len) == 0 &&
			(option->key[len] == '.' ||
				(option->key[len] == '\0' &&
					option->type == OPTION_PROPERTIES)))
			return true;
	}
	return false;
}

static size_t
min3(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Levenshtein's distance, two rows at a time; SIZE_MAX for long texts. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[OPTION_NAME_MAX];
	size_t len = strlen(b);

	if (len >= OPTION_NAME_MAX || strlen(a) >= OPTION_NAME_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= len; j++)
		row[j] = j;
	for (size_t i = 0; a[i] != '\0'; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < len; j++) {
			size_t above = row[j + 1];

			row[j + 1] = min3(above + 1, row[j] + 1,
				diagonal + (a[i] != b[j]));
			diagonal = above;
		}
	}
	return row[len];
}

const char *
option_nearest(const char *key)
{
	const char *best = NULL;
	size_t best_distance = DISTANCE_MAX + 1;

	for (size_t i = 0; i < config_n_options; i++) {
		const char *known = config_options[i].key;
		size_t d = distance(key, known);
		/* The right name in the wrong section is near as well. */
		const char *last = strrchr(known, '.');
		const char *typed = strrchr(key, '.');

		if (d > DISTANCE_MAX && last != NULL &&
			strcmp(typed != NULL ? typed : key,
				typed != NULL ? last : last + 1) == 0)
			d = DISTANCE_MAX;
		if (d < best_distance) {
			best = known;
			best_distance = d;
		}
	}
	return best;
}

const char *
option_nearest_env(const char *env, char buf[OPTION_NAME_MAX])
{
	size_t best_distance = DISTANCE_MAX + 1;
	char name[OPTION_NAME_MAX];

	for (size_t i = 0; i < config_n_options; i++) {
		option_env_name(config_options[i].key, name);
		size_t d = distance(env, name);

		if (d < best_distance) {
			memcpy(buf, name, sizeof(name));
			best_distance = d;
		}
	}
	return best_distance <= DISTANCE_MAX ? buf : NULL;
}

/* ---- values ---- */

static bool
read_number(const char *text, int64_t *ret)
{
	char *end;

	if (!isdigit((unsigned char)(*text == '-' ? text[1] : *text)))
		return false;
	errno = 0;
	*ret = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0';
}

static bool
read_size(const char *text, int64_t *ret)
{
	static const char *const units[] = { "B", "KB", "MB", "GB" };
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	int64_t value = strtoll(text, &end, 10);

	for (size_t i = 0; errno == 0 && i < ARRAY_SIZE(units); i++) {
		if (strcmp(end, units[i]) == 0)
			return !__builtin_mul_overflow(
				value, INT64_C(1) << (10 * i), ret);
	}
	return false;
}

static bool
read_duration(const char *text, int64_t *ret)
{
	return clock_parse_duration(text, ret) == 0;
}

static bool
read_limited(const struct option *option, const char *text, int64_t *ret)
{
	bool (*const read)(const char *, int64_t *) =
		option->type == OPTION_NUMBER ? read_number
		: option->type == OPTION_SIZE ? read_size
					      : read_duration;
	int64_t value;
	int64_t min = 0;
	int64_t max = 0;
	bool limits = read(option->min, &min) && read(option->max, &max);

	assert(limits);
	if (!read(text, &value) || value < min || value > max)
		return false;
	*ret = value;
	return true;
}

static bool
read_choice(const char *choices, const char *text, const char **ret)
{
	size_t len = strlen(text);

	for (const char *at = choices; *at != '\0';) {
		size_t n = strcspn(at, "|");

		if (n == len && strncmp(at, text, n) == 0) {
			*ret = text;
			return true;
		}
		at += n + (at[n] == '|');
	}
	return false;
}

static bool
read_text(const char *text, const char **ret)
{
	for (const char *at = text; *at != '\0'; at++) {
		if (iscntrl((unsigned char)*at))
			return false;
	}
	*ret = text;
	return true;
}

static bool
read_flag(const char *text, bool *ret)
{
	*ret = strcmp(text, "true") == 0;
	return *ret || strcmp(text, "false") == 0;
}

static void *
member(const struct option *option, struct settings *settings)
{
	return (char *)settings + option->offset;
}

static const void *
const_member(const struct option *option, const struct settings *settings)
{
	return (const char *)settings + option->offset;
}

bool
option_read(const struct option *option, const char *text,
	struct settings *settings)
{
	void *at = member(option, settings);

	switch (option->type) {
	case OPTION_TEXT:
	case OPTION_SECRET:
		return read_text(text, at);
	case OPTION_ONEOF:
		return read_choice(option->min, text, at);
	case OPTION_NUMBER:
	case OPTION_SIZE:
	case OPTION_DURATION:
		return read_limited(option, text, at);
	case OPTION_FLAG:
		return read_flag(text, at);
	case OPTION_PROPERTIES:
		break;
	}
	return false;
}

void
option_expects(const struct option *option, char *buf, size_t size)
{
	switch (option->type) {
	case OPTION_TEXT:
	case OPTION_SECRET:
		(void)snprintf(buf, size, "text without control characters");
		break;
	case OPTION_ONEOF:
		(void)snprintf(buf, size, "one of %s", option->min);
		break;
	case OPTION_NUMBER:
		(void)snprintf(buf, size, "a number from %s to %s", option->min,
			option->max);
		break;
	case OPTION_SIZE:
		(void)snprintf(buf, size, "a size such as 4KB, from %s to %s",
			option->min, option->max);
		break;
	case OPTION_DURATION:
		(void)snprintf(buf, size,
			"a duration such as 500ms or 10s, from %s to %s",
			option->min, option->max);
		break;
	case OPTION_FLAG:
		(void)snprintf(buf, size, "true or false");
		break;
	case OPTION_PROPERTIES:
		(void)snprintf(buf, size, "keys and values below it");
		break;
	}
}

struct settings_properties *
option_properties(const struct option *option, struct settings *settings)
{
	assert(option->type == OPTION_PROPERTIES);
	return member(option, settings);
}

bool
option_is_equal(const struct option *option, const struct settings *a,
	const struct settings *b)
{
	const void *at_a = const_member(option, a);
	const void *at_b = const_member(option, b);

	switch (option->type) {
	case OPTION_TEXT:
	case OPTION_SECRET:
	case OPTION_ONEOF:
		return strcmp(*(const char *const *)at_a,
			       *(const char *const *)at_b) == 0;
	case OPTION_NUMBER:
	case OPTION_SIZE:
	case OPTION_DURATION:
		return *(const int64_t *)at_a == *(const int64_t *)at_b;
	case OPTION_FLAG:
		return *(const bool *)at_a == *(const bool *)at_b;
	case OPTION_PROPERTIES:
		break;
	}
	assert(false);
	return false;
}

void
option_copy(const struct option *option, struct settings *to,
	const struct settings *from)
{
	static const size_t sizes[] = {
		[OPTION_TEXT] = sizeof(char *),
		[OPTION_SECRET] = sizeof(char *),
		[OPTION_ONEOF] = sizeof(char *),
		[OPTION_NUMBER] = sizeof(int64_t),
		[OPTION_SIZE] = sizeof(int64_t),
		[OPTION_DURATION] = sizeof(int64_t),
		[OPTION_FLAG] = sizeof(bool),
	};

	assert(option->type < ARRAY_SIZE(sizes));
	memcpy(member(option, to), const_member(option, from),
		sizes[option->type]);
}

/* postgresql://user:PASSWORD@host, or ?password=PASSWORD */
static bool
has_password(const char *value)
{
	const char *scheme = strstr(value, "://");

	if (strcasestr(value, "password=") != NULL)
		return true;
	if (scheme == NULL)
		return false;
	const char *host = scheme + 3;
	const char *at = memchr(host, '@', strcspn(host, "/"));

	return at != NULL && memchr(host, ':', (size_t)(at - host)) != NULL;
}

bool
option_is_public(
	const struct option *option, const char *name, const char *value)
{
	static const char *const words[] = { "password", "secret", "token",
		".pem", "sasl.oauthbearer.config", "sasl.jaas" };

	if (option->type == OPTION_SECRET)
		return *value == '\0';
	for (size_t i = 0; name != NULL && i < ARRAY_SIZE(words); i++) {
		if (strcasestr(name, words[i]) != NULL)
			return false;
	}
	return !has_password(value);
}
