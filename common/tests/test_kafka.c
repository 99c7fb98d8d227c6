/* SPDX-License-Identifier: MIT */
#include "common/config.h"
#include "common/error.h"
#include "common/kafka.h"
#include "common/tests/unit.h"

static struct settings
settings_with(struct settings_property *items, size_t n)
{
	return (struct settings){
		.kafka_bootstrap_servers = "127.0.0.1:20799",
		.kafka_group_id = "group",
		.kafka_properties = { .items = items, .count = n },
	};
}

static void
assert_property(rd_kafka_conf_t *conf, const char *name, const char *want)
{
	char value[128];
	size_t size = sizeof(value);

	assert_int_equal(
		rd_kafka_conf_get(conf, name, value, &size), RD_KAFKA_CONF_OK);
	assert_string_equal(value, want);
}

static rd_kafka_conf_t *
conf_of(enum kafka_role role, struct settings_property *items, size_t n)
{
	struct settings settings = settings_with(items, n);
	rd_kafka_conf_t *conf = NULL;
	struct error err;

	assert_int_equal(kafka_conf_new(&settings, role, NULL, &conf, &err), 0);
	return conf;
}

static int
check(const char *name, const char *value, struct error *err)
{
	struct settings_property item = { name, value };
	struct settings settings = settings_with(&item, 1);

	return kafka_check(&settings, err);
}

static void
each_role_gets_its_defaults(void **state)
{
	(void)state;
	rd_kafka_conf_t *producer = conf_of(KAFKA_PRODUCER, NULL, 0);
	assert_property(producer, "bootstrap.servers", "127.0.0.1:20799");
	assert_property(producer, "linger.ms", "20");
	assert_property(producer, "enable.idempotence", "false");
	rd_kafka_conf_destroy(producer);

	rd_kafka_conf_t *consumer = conf_of(KAFKA_CONSUMER, NULL, 0);
	assert_property(consumer, "group.id", "group");
	assert_property(consumer, "partition.assignment.strategy", "range");
	assert_property(consumer, "topic.metadata.refresh.interval.ms", "5000");
	assert_property(consumer, "enable.auto.offset.store", "false");
	rd_kafka_conf_destroy(consumer);
}

static void
the_users_property_wins_over_a_default(void **state)
{
	(void)state;
	struct settings_property item = { "linger.ms", "7" };
	rd_kafka_conf_t *conf = conf_of(KAFKA_PRODUCER, &item, 1);

	assert_property(conf, "linger.ms", "7");
	rd_kafka_conf_destroy(conf);
}

static void
offsets_are_ours_whatever_the_user_says(void **state)
{
	(void)state;
	struct settings_property items[] = {
		{ "enable.auto.offset.store", "true" },
		{ "auto.offset.reset", "latest" },
	};
	rd_kafka_conf_t *conf = conf_of(KAFKA_CONSUMER, items, 2);
	const rd_kafka_topic_conf_t *topic =
		rd_kafka_conf_get_default_topic_conf(conf);
	char value[32];
	size_t size = sizeof(value);

	assert_property(conf, "enable.auto.offset.store", "false");
	assert_int_equal(rd_kafka_topic_conf_get(
				 topic, "auto.offset.reset", value, &size),
		RD_KAFKA_CONF_OK);
	assert_string_equal(value, "smallest");
	rd_kafka_conf_destroy(conf);
}

static void
an_unknown_property_is_refused_by_name(void **state)
{
	(void)state;
	struct error err;

	assert_int_equal(check("lingr.ms", "5", &err), -ERROR_CONFIG_INVALID);
	assert_non_null(strstr(err.msg, "kafka.properties.lingr.ms"));
}

static void
a_bad_value_is_refused_by_name(void **state)
{
	(void)state;
	struct error err;

	assert_int_equal(
		check("linger.ms", "soon", &err), -ERROR_CONFIG_INVALID);
	assert_non_null(strstr(err.msg, "kafka.properties.linger.ms"));
}

static void
what_has_its_own_key_is_refused_with_that_key(void **state)
{
	(void)state;
	struct error err;

	assert_int_equal(check("group.id", "x", &err), -ERROR_CONFIG_INVALID);
	assert_non_null(strstr(err.msg, "kafka.group-id"));
}

static void
a_property_of_a_newer_librdkafka_is_tolerated(void **state)
{
	(void)state;
	struct error err;

	assert_int_equal(check("enable.metrics.push", "false", &err), 0);
}

static void
properties_that_contradict_each_other_fail_to_open(void **state)
{
	(void)state;
	struct settings_property items[] = {
		{ "session.timeout.ms", "60000" },
		{ "max.poll.interval.ms", "1000" },
	};
	rd_kafka_conf_t *conf = conf_of(KAFKA_CONSUMER, items, 2);
	rd_kafka_t *rk = NULL;
	struct error err;

	assert_int_equal(kafka_open(KAFKA_CONSUMER, &conf, &rk, &err),
		-ERROR_CONFIG_INVALID);
	assert_null(conf);
	assert_null(rk);
	assert_non_null(strstr(err.msg, "max.poll.interval.ms"));
}

static struct kafka_stats
read_stats(const char *json)
{
	struct kafka_stats stats;

	kafka_stats_read(json, strlen(json), &stats);
	return stats;
}

static void
connected_brokers_are_counted_once(void **state)
{
	(void)state;
	static const char json[] =
		"{\"brokers\":{"
		"\"a/1\":{\"state\":\"UP\",\"source\":\"learned\"},"
		"\"b/2\":{\"state\":\"DOWN\",\"source\":\"configured\"},"
		"\"GroupCoordinator\":{\"state\":\"UP\",\"source\":\"logical\"}"
		"}}";

	assert_int_equal(read_stats(json).brokers_up, 1);
	assert_int_equal(read_stats("{}").brokers_up, -1);
	assert_int_equal(read_stats("nonsense").brokers_up, -1);
}

static void
partitions_without_a_leader_are_counted(void **state)
{
	(void)state;
	static const char json[] =
		"{\"brokers\":{},\"topics\":{\"t\":{\"partitions\":{"
		"\"0\":{\"leader\":1},\"1\":{\"leader\":-1},"
		"\"2\":{\"leader\":-1},\"-1\":{\"leader\":-1}}}}}";

	assert_int_equal(read_stats(json).leaderless, 2);
	assert_int_equal(read_stats("{}").leaderless, 0);
}

static void
a_topic_is_missing_once_kafka_has_said_so(void **state)
{
	(void)state;
	static const char not_asked[] =
		"{\"topics\":{\"t\":{\"metadata_age\":0,\"partitions\":{"
		"\"-1\":{\"unknown\":false}}}}}";
	static const char missing[] =
		"{\"topics\":{\"t\":{\"metadata_age\":7,\"partitions\":{"
		"\"0\":{\"unknown\":true},\"-1\":{\"unknown\":false}}}}}";
	static const char there[] =
		"{\"topics\":{\"t\":{\"metadata_age\":7,\"partitions\":{"
		"\"0\":{\"unknown\":false},\"-1\":{\"unknown\":false}}}}}";

	assert_int_equal(read_stats(not_asked).missing, 0);
	assert_int_equal(read_stats(missing).missing, 1);
	assert_int_equal(read_stats(there).missing, 0);
	assert_int_equal(read_stats("{}").missing, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_role_gets_its_defaults),
		cmocka_unit_test(the_users_property_wins_over_a_default),
		cmocka_unit_test(offsets_are_ours_whatever_the_user_says),
		cmocka_unit_test(an_unknown_property_is_refused_by_name),
		cmocka_unit_test(a_bad_value_is_refused_by_name),
		cmocka_unit_test(what_has_its_own_key_is_refused_with_that_key),
		cmocka_unit_test(a_property_of_a_newer_librdkafka_is_tolerated),
		cmocka_unit_test(
			properties_that_contradict_each_other_fail_to_open),
		cmocka_unit_test(connected_brokers_are_counted_once),
		cmocka_unit_test(partitions_without_a_leader_are_counted),
		cmocka_unit_test(a_topic_is_missing_once_kafka_has_said_so),
	};

	return cmocka_run_group_tests_name("kafka", tests, NULL, NULL);
}
