/* SPDX-License-Identifier: MIT */
#include "common/kafka.h"

#include "common/config.h"
#include "common/error.h"
#include "common/log.h"

#include <assert.h>
#include <jansson.h>
#include <string.h>

/*
 * DESIGN
 *
 * Three layers, later ones win: `defaults` below, kafka.properties.* of the
 * user, and what must not be changed: `ours`.  A property librdkafka does not
 * know is the user's typing error and stops the start, unless it is one that
 * a newer librdkafka brought (`newer`): one file should serve both Debian
 * releases.
 *
 * librdkafka takes a consumer's property in a producer and complains about
 * it in its log when the client is made.  One file serves both daemons, so
 * that complaint is noise, and log_line() drops it.
 */
enum { P = 1 << KAFKA_PRODUCER, C = 1 << KAFKA_CONSUMER, A = 1 << KAFKA_ADMIN };

struct property {
	unsigned roles;
	const char *name;
	const char *value;
};

/* clang-format off */
static const struct property defaults[] = {
	/* The longest silence after a broker came back; 10 s otherwise. */
	{ P | C | A, "reconnect.backoff.max.ms", "500" },
	/* 40 ms of delayed acknowledgement per small request otherwise. */
	{ P | C | A, "socket.nagle.disable", "true" },
	/* New partitions are found by this timer only; 5 min otherwise. */
	{ P | C, "topic.metadata.refresh.interval.ms", "5000" },
	{ P | C, "statistics.interval.ms", "1000" },
	/* No telemetry to the brokers (librdkafka >= 2.5). */
	{ P | C | A, "enable.metrics.push", "false" },

	{ P, "acks", "all" },
	/* 2.0.2 can go FATAL with it; the consumer removes duplicates. */
	{ P, "enable.idempotence", "false" },
	/* The broker pays per request; nobody waits for the delivery. */
	{ P, "linger.ms", "20" },
	{ P, "message.timeout.ms", "60000" },

	/* Eager: cooperative-sticky of 2.0.2 has open bugs, and is slower. */
	{ C, "partition.assignment.strategy", "range" },
	{ C, "session.timeout.ms", "6000" },
	{ C, "heartbeat.interval.ms", "1000" },
	/* Per partition: bounds what waits while PostgreSQL is away. */
	{ C, "queued.max.messages.kbytes", "16384" },
	/* Stored offsets only serve lag tools. */
	{ C, "auto.commit.interval.ms", "1000" },
	/* After a change of leader; 500 ms otherwise. */
	{ C, "fetch.error.backoff.ms", "100" },
};

static const struct property ours[] = {
	/* The consumer notices and says so (consumer/reader.c).  With "error"
	 * 2.0.2 never fetches from the partition again, seek or not. */
	{ C, "auto.offset.reset", "earliest" },
	/* Stored by us, once the rows are committed. */
	{ C, "enable.auto.offset.store", "false" },
};

/* What has a key of its own in our configuration. */
static const struct {
	const char *name;
	const char *key;
} reserved[] = {
	{ "bootstrap.servers",    "kafka.bootstrap-servers" },
	{ "metadata.broker.list", "kafka.bootstrap-servers" },
	{ "group.id",             "kafka.group-id" },
};

static const char *const newer[] = {
	"enable.metrics.push",        /* 2.5 */
	"fetch.queue.backoff.ms",     /* 2.2 */
	"group.protocol",             /* 2.4 */
	"group.remote.assignor",      /* 2.4 */
	"metadata.recovery.strategy", /* 2.11 */
	"reconnect.backoff.jitter.ms",
	"retry.backoff.max.ms",       /* 2.3 */
};
/* clang-format on */

static bool
is_newer(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(newer); i++)
		if (strcmp(name, newer[i]) == 0)
			return true;
	return false;
}

static const char *
key_of_reserved(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		if (strcmp(name, reserved[i].name) == 0)
			return reserved[i].key;
	return NULL;
}

static int
set(rd_kafka_conf_t *conf, const char *name, const char *value,
	struct error *err)
{
	char why[256];
	rd_kafka_conf_res_t res =
		rd_kafka_conf_set(conf, name, value, why, sizeof(why));

	if (res == RD_KAFKA_CONF_OK ||
		(res == RD_KAFKA_CONF_UNKNOWN && is_newer(name)))
		return 0;
	return error_set(err, ERROR_CONFIG_INVALID, "kafka.properties.%s: %s",
		name, why);
}

static int
set_table(rd_kafka_conf_t *conf, enum kafka_role role,
	const struct property *table, size_t n, struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		if ((table[i].roles & (1U << role)) == 0)
			continue;
		int rc = set(conf, table[i].name, table[i].value, err);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int
set_users(rd_kafka_conf_t *conf, const struct settings_properties *properties,
	struct error *err)
{
	for (size_t i = 0; i < properties->count; i++) {
		const struct settings_property *item = &properties->items[i];
		const char *key = key_of_reserved(item->name);

		if (key != NULL)
			return error_set(err, ERROR_CONFIG_INVALID,
				"kafka.properties.%s: use %s", item->name, key);
		int rc = set(conf, item->name, item->value, err);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* From librdkafka's threads; `level` is syslog's. */
static void
log_line(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
	if (strcmp(fac, "CONFWARN") == 0 &&
		strstr(text, "property and will be ignored by this") != NULL)
		return;
	const struct log_field client =
		LOG_STR("client", rk == NULL ? "" : rd_kafka_name(rk));

	if (level <= 3)
		LOG_ERROR("kafka", client, LOG_STR("facility", fac),
			LOG_STR("text", text));
	else if (level == 4)
		LOG_WARN("kafka", client, LOG_STR("facility", fac),
			LOG_STR("text", text));
	else if (level <= 6)
		LOG_INFO("kafka", client, LOG_STR("facility", fac),
			LOG_STR("text", text));
	else
		LOG_DEBUG("kafka", client, LOG_STR("facility", fac),
			LOG_STR("text", text));
}

static int
fill(rd_kafka_conf_t *conf, const struct settings *settings,
	enum kafka_role role, struct error *err)
{
	int rc = set(conf, "bootstrap.servers",
		settings->kafka_bootstrap_servers, err);

	if (rc == 0)
		rc = set_table(conf, role, defaults, ARRAY_SIZE(defaults), err);
	if (rc == 0)
		rc = set_users(conf, &settings->kafka_properties, err);
	if (rc == 0)
		rc = set_table(conf, role, ours, ARRAY_SIZE(ours), err);
	if (rc == 0 && role == KAFKA_CONSUMER)
		rc = set(conf, "group.id", settings->kafka_group_id, err);
	return rc;
}

int
kafka_conf_new(const struct settings *settings, enum kafka_role role,
	void *opaque, rd_kafka_conf_t **ret, struct error *err)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	int rc = fill(conf, settings, role, err);

	if (rc != 0) {
		rd_kafka_conf_destroy(conf);
		return rc;
	}
	rd_kafka_conf_set_opaque(conf, opaque);
	rd_kafka_conf_set_log_cb(conf, log_line);
	*ret = conf;
	return 0;
}

int
kafka_open(enum kafka_role role, rd_kafka_conf_t **conf, rd_kafka_t **ret,
	struct error *err)
{
	char why[256];
	rd_kafka_t *rk = rd_kafka_new(
		role == KAFKA_CONSUMER ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER,
		*conf, why, sizeof(why));

	if (rk == NULL) {
		rd_kafka_conf_destroy(*conf);
		*conf = NULL;
		return error_set(
			err, ERROR_CONFIG_INVALID, "kafka.properties: %s", why);
	}
	*conf = NULL;
	*ret = rk;
	return 0;
}

static int
count_brokers_up(json_t *root)
{
	json_t *brokers = json_object_get(root, "brokers");
	const char *name;
	json_t *broker;
	int up = brokers == NULL ? -1 : 0;

	json_object_foreach(brokers, name, broker)
	{
		const char *state =
			json_string_value(json_object_get(broker, "state"));
		const char *source =
			json_string_value(json_object_get(broker, "source"));

		/* "logical": the group coordinator, a second name of one. */
		if (state != NULL && strcmp(state, "UP") == 0 &&
			(source == NULL || strcmp(source, "logical") != 0))
			up++;
	}
	return up;
}

/* Kafka has been asked about the topic, and no partition is what it knew. */
static bool
is_missing(const json_t *topic)
{
	json_t *partitions = json_object_get(topic, "partitions");
	const char *id;
	json_t *partition;

	json_object_foreach(partitions, id, partition)
	{
		if (id[0] != '-' &&
			!json_is_true(json_object_get(partition, "unknown")))
			return false;
	}
	return json_integer_value(json_object_get(topic, "metadata_age")) > 0;
}

static int
count_missing(json_t *root)
{
	json_t *topics = json_object_get(root, "topics");
	const char *name;
	json_t *topic;
	int n = 0;

	json_object_foreach(topics, name, topic)
	{
		n += is_missing(topic);
	}
	return n;
}

static int
count_leaderless(json_t *root)
{
	json_t *topics = json_object_get(root, "topics");
	const char *name, *id;
	json_t *topic, *partition;
	int n = 0;

	json_object_foreach(topics, name, topic)
	{
		json_t *partitions = json_object_get(topic, "partitions");

		/* "-1": where messages wait that have no partition yet. */
		json_object_foreach(partitions, id, partition)
		{
			json_t *leader = json_object_get(partition, "leader");

			n += id[0] != '-' && json_integer_value(leader) < 0;
		}
	}
	return n;
}

void
kafka_stats_read(const char *json, size_t len, struct kafka_stats *ret)
{
	json_t *root = json_loadb(json, len, 0, NULL);

	ret->brokers_up = count_brokers_up(root);
	ret->leaderless = count_leaderless(root);
	ret->missing = count_missing(root);
	json_decref(root);
}

int
kafka_check(const struct settings *settings, struct error *err)
{
	for (enum kafka_role role = KAFKA_PRODUCER; role <= KAFKA_ADMIN;
		role++) {
		rd_kafka_conf_t *conf;
		int rc = kafka_conf_new(settings, role, NULL, &conf, err);

		if (rc != 0)
			return rc;
		rd_kafka_conf_destroy(conf);
	}
	return 0;
}
