/* SPDX-License-Identifier: MIT */
/*
 * config_check - what no single key can tell: pairs of keys that must agree,
 * forms that only this service asks for, properties librdkafka refuses.
 */
#include "common/config_snapshot.h"
#include "common/error.h"
#include "common/kafka.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#define TOKEN_MAX 4096

/* The value of the key whose member stands at `offset`. */
static struct config_value *
value_at(const struct snapshot *snapshot, size_t offset)
{
	for (size_t i = 0; i < config_n_options; i++) {
		if (config_options[i].offset == offset)
			return snapshot_find(
				snapshot, &config_options[i], NULL);
	}
	assert(false);
	return NULL;
}

#define VALUE(snapshot, member)                                                \
	value_at((snapshot), offsetof(struct settings, member))

static bool
is_default(const struct config_value *value)
{
	return strcmp(value->origin, "default") == 0;
}

#define AT_MOST(low, high)                                                     \
	{                                                                      \
		offsetof(struct settings, low),                                \
			offsetof(struct settings, high)                        \
	}

static const struct pair {
	size_t low;
	size_t high;
} pairs[] = {
	AT_MOST(redis_pool_min_idle, redis_pool_max_active),
	AT_MOST(redis_pool_min_idle, redis_pool_max_idle),
	AT_MOST(datasource_minimum_idle, datasource_maximum_pool_size),
	AT_MOST(circuitbreaker_minimum_number_of_calls,
		circuitbreaker_sliding_window_size),
	AT_MOST(circuitbreaker_initial_wait_duration_ns,
		circuitbreaker_wait_duration_in_open_state_ns),
};

/*
 * The lower one of a pair must not exceed the higher.  A default gives way
 * (who lowers max-active need not know of min-idle); a choice is refused.
 */
static int
check_pair(
	struct snapshot *snapshot, const struct pair *pair, struct error *err)
{
	char *settings = (char *)&snapshot->settings;
	int64_t *low = (int64_t *)(void *)(settings + pair->low);
	const int64_t *high = (int64_t *)(void *)(settings + pair->high);
	struct config_value *low_value = value_at(snapshot, pair->low);
	const struct config_value *high_value = value_at(snapshot, pair->high);

	if (*low <= *high)
		return 0;
	if (is_default(low_value)) {
		*low = *high;
		low_value->value = high_value->value;
		return 0;
	}
	return snapshot_fail(low_value, err,
		"expected at most %s (%s, %s), got %s", high_value->option->key,
		high_value->value, high_value->origin, low_value->value);
}

static int
check_pairs(struct snapshot *snapshot, struct error *err)
{
	const struct settings *s = &snapshot->settings;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(pairs); i++) {
		/* A window of seconds says nothing about calls. */
		if (pairs[i].high ==
				offsetof(struct settings,
					circuitbreaker_sliding_window_size) &&
			strcmp(s->circuitbreaker_sliding_window_type,
				"count-based") != 0)
			continue;
		rc = check_pair(snapshot, &pairs[i], err);
	}
	return rc;
}

/*
 * Of the api's threads two keep a connection for some time, the one that
 * rebuilds and the one that compares, and ask for another meanwhile, to keep
 * their lease: with fewer than three nobody gets anywhere.  The consumer's
 * threads never hold two.
 */
static int
check_connections(const struct snapshot *snapshot, struct error *err)
{
	enum { API_MIN = 3 };
	const struct config_value *value =
		VALUE(snapshot, datasource_maximum_pool_size);

	if (snapshot->kind != DAEMON_API ||
		snapshot->settings.datasource_maximum_pool_size >= API_MIN)
		return 0;
	return snapshot_fail(value, err,
		"expected at least %d for the api, whose rebuild and whose "
		"comparison hold one each while they ask for another, got %s",
		API_MIN, value->value);
}

static bool
is_postgres_uri(const char *text)
{
	return strncmp(text, "postgresql://", strlen("postgresql://")) == 0 ||
	       strncmp(text, "postgres://", strlen("postgres://")) == 0;
}

static int
check_texts(const struct snapshot *snapshot, struct error *err)
{
	static const char want[] = "expected a URI such as "
				   "postgresql://host:5432/coupon";
	const struct settings *s = &snapshot->settings;

	if (!is_postgres_uri(s->datasource_url))
		return snapshot_fail(
			VALUE(snapshot, datasource_url), err, want);
	if (*s->datasource_replica_url != '\0' &&
		!is_postgres_uri(s->datasource_replica_url))
		return snapshot_fail(
			VALUE(snapshot, datasource_replica_url), err, want);
	if (*s->redis_cluster_nodes != '\0')
		return snapshot_fail(VALUE(snapshot, redis_cluster_nodes), err,
			"Redis Cluster is not supported in this version; "
			"expected nothing");
	if (strcmp(s->kafka_topic, s->kafka_dead_letter_topic) == 0)
		return snapshot_fail(VALUE(snapshot, kafka_topic), err,
			"expected another topic than "
			"kafka.dead-letter-topic");
	return 0;
}

/* Limits of single events: couponId: limit. */
static int
check_events(const struct snapshot *snapshot, struct error *err)
{
	const struct settings_properties *events =
		&snapshot->settings.ratelimiter_events;
	const struct config_value *key = VALUE(snapshot, ratelimiter_events);

	for (size_t i = 0; i < events->count; i++) {
		const struct settings_property *event = &events->items[i];
		const struct config_value *value =
			snapshot_find(snapshot, key->option, event->name);

		if (*event->name == '0' ||
			event->name[strspn(event->name, "0123456789")] !=
				'\0' ||
			strlen(event->name) > 19)
			return snapshot_fail(value, err,
				"expected a couponId, got \"%s\"", event->name);
		if (*event->value < '1' || *event->value > '9' ||
			strlen(event->value) > 9 ||
			event->value[strspn(event->value, "0123456789")] !=
				'\0')
			return snapshot_fail(value, err,
				"expected a number from 1 to 999999999, got "
				"\"%s\"",
				event->value);
	}
	return 0;
}

/* librdkafka's word on kafka.properties.*, with the line it comes from. */
static int
check_kafka(const struct snapshot *snapshot, struct error *err)
{
	const struct config_value *key = VALUE(snapshot, kafka_properties);
	const struct settings_properties *properties =
		&snapshot->settings.kafka_properties;
	struct error why;

	if (properties->count == 0 ||
		kafka_check(&snapshot->settings, &why) == 0)
		return 0;
	for (size_t i = 0; i < properties->count; i++) {
		const struct config_value *value = snapshot_find(
			snapshot, key->option, properties->items[i].name);
		char name[OPTION_NAME_MAX];

		config_value_key(value, name, sizeof(name));
		size_t len = strlen(name);

		if (strncmp(why.msg, name, len) == 0 && why.msg[len] == ':')
			return error_set(err, ERROR_CONFIG_INVALID, "%s: %s",
				value->origin, why.msg);
	}
	*err = why;
	return -ERROR_CONFIG_INVALID;
}

/* The admin token of admin.token-file becomes that of admin.token. */
static int
read_token_file(struct snapshot *snapshot, struct error *err)
{
	const struct config_value *file = VALUE(snapshot, admin_token_file);
	struct config_value *token = VALUE(snapshot, admin_token);
	char text[TOKEN_MAX + 1];

	if (*file->value == '\0')
		return 0;
	if (*token->value != '\0')
		return snapshot_fail(file, err,
			"expected nothing, as admin.token is set (%s)",
			token->origin);
	int fd = open(file->value, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return snapshot_fail(file, err, "%s: %m", file->value);
	ssize_t len = read(fd, text, TOKEN_MAX);

	(void)close(fd);
	text[len > 0 ? len : 0] = '\0';
	text[strcspn(text, "\r\n")] = '\0';
	if (*text == '\0')
		return snapshot_fail(file, err,
			"%s: expected a token in its first line", file->value);
	token->value = snapshot_printf(snapshot, "%s", text);
	token->origin = snapshot_printf(snapshot, "%s", file->value);
	snapshot->settings.admin_token = token->value;
	return 0;
}

int
snapshot_check(struct snapshot *snapshot, struct error *err)
{
	int rc = check_pairs(snapshot, err);

	if (rc == 0)
		rc = check_connections(snapshot, err);
	if (rc == 0)
		rc = check_texts(snapshot, err);
	if (rc == 0)
		rc = check_events(snapshot, err);
	if (rc == 0)
		rc = check_kafka(snapshot, err);
	return rc == 0 ? read_token_file(snapshot, err) : rc;
}
