/* SPDX-License-Identifier: MIT */
/*
 * coupon-topic - create, grow, show and delete Kafka topics.
 *
 * Kafka's shell tools are not to be had everywhere; this one takes the
 * options of kafka-topics.sh and prints as it does, so that a runbook line
 * works with either.  It returns when the brokers' metadata shows the change.
 */
#include "common/clock.h"
#include "common/compiler.h"
#include "common/config.h"
#include "common/error.h"
#include "common/kafka.h"
#include "common/log.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>

#define TIMEOUT_NS (15 * NS_PER_S)
#define TIMEOUT_MS ((int)(TIMEOUT_NS / NS_PER_MS))

struct request {
	const char *bootstrap;
	const char *topic;
	int partitions; /* 0: not given */
	int replication;
	bool if_exists;
	bool if_not_exists;
	const struct action *action;
};

struct client {
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
};

struct action {
	const char *name;
	int (*run)(struct client *client, const struct request *req,
		struct error *err);
	bool needs_topic;
	bool needs_partitions;
};

static void
metadata_cleanup(const struct rd_kafka_metadata **md)
{
	if (*md != NULL)
		rd_kafka_metadata_destroy(*md);
}

static void
event_cleanup(rd_kafka_event_t **event)
{
	if (*event != NULL)
		rd_kafka_event_destroy(*event);
}

/* All topics: asking for one by name could create it. */
static int
fetch(struct client *client, const struct rd_kafka_metadata **ret,
	struct error *err)
{
	rd_kafka_resp_err_t rc =
		rd_kafka_metadata(client->rk, 1, NULL, ret, TIMEOUT_MS);

	if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
		return error_set(err, ERROR_KAFKA_ERROR,
			"Kafka does not answer: %s", rd_kafka_err2str(rc));
	return 0;
}

static const struct rd_kafka_metadata_topic *
find(const struct rd_kafka_metadata *md, const char *topic)
{
	for (int i = 0; i < md->topic_cnt; i++)
		if (strcmp(md->topics[i].topic, topic) == 0 &&
			md->topics[i].err == RD_KAFKA_RESP_ERR_NO_ERROR)
			return &md->topics[i];
	return NULL;
}

/* Partitions that have a leader; -1 when there is no such topic. */
static int
count_partitions(
	struct client *client, const char *topic, int *ret, struct error *err)
{
	const struct rd_kafka_metadata *md CLEANUP(metadata_cleanup) = NULL;
	int rc = fetch(client, &md, err);

	if (rc != 0)
		return rc;
	const struct rd_kafka_metadata_topic *found = find(md, topic);
	*ret = found == NULL ? -1 : 0;
	for (int i = 0; found != NULL && i < found->partition_cnt; i++)
		*ret += found->partitions[i].leader >= 0;
	return 0;
}

static int
await_partitions(
	struct client *client, const char *topic, int want, struct error *err)
{
	const struct timespec pause = { .tv_nsec = 20 * NS_PER_MS };
	int64_t deadline_ns = clock_now_ns() + TIMEOUT_NS;
	int have = 0;

	for (;;) {
		int rc = count_partitions(client, topic, &have, err);
		if (rc != 0 || have == want)
			return rc;
		if (clock_now_ns() > deadline_ns)
			return error_set(err, ERROR_TIMEOUT,
				"Topic '%s' has %d partitions, expected %d.",
				topic, have, want);
		(void)nanosleep(&pause, NULL);
	}
}

/* err->code holds librdkafka's name of the error, perhaps cut. */
static bool
error_is(const struct error *err, rd_kafka_resp_err_t code)
{
	return strncmp(err->code, rd_kafka_err2name(code),
		       sizeof(err->code) - 1) == 0;
}

static int
topic_error(const rd_kafka_topic_result_t *result, struct error *err)
{
	rd_kafka_resp_err_t rc = rd_kafka_topic_result_error(result);
	const char *text = rd_kafka_topic_result_error_string(result);

	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR)
		return 0;
	return error_set_code(err, ERROR_KAFKA_ERROR, rd_kafka_err2name(rc),
		"%s", text != NULL ? text : rd_kafka_err2str(rc));
}

/* The answer to the one admin request that is under way. */
static int
await_result(struct client *client, struct error *err)
{
	rd_kafka_event_t *event CLEANUP(event_cleanup) =
		rd_kafka_queue_poll(client->queue, TIMEOUT_MS);
	const rd_kafka_topic_result_t **results = NULL;
	size_t n = 0;

	if (event == NULL)
		return error_set(err, ERROR_TIMEOUT, "Kafka does not answer.");
	if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return error_set(err, ERROR_KAFKA_ERROR, "%s",
			rd_kafka_event_error_string(event));
	switch (rd_kafka_event_type(event)) {
	case RD_KAFKA_EVENT_CREATETOPICS_RESULT:
		results = rd_kafka_CreateTopics_result_topics(
			rd_kafka_event_CreateTopics_result(event), &n);
		break;
	case RD_KAFKA_EVENT_CREATEPARTITIONS_RESULT:
		results = rd_kafka_CreatePartitions_result_topics(
			rd_kafka_event_CreatePartitions_result(event), &n);
		break;
	default:
		results = rd_kafka_DeleteTopics_result_topics(
			rd_kafka_event_DeleteTopics_result(event), &n);
		break;
	}
	return n == 1 ? topic_error(results[0], err)
		      : error_set(err, ERROR_KAFKA_ERROR,
				"Kafka answered for %zu topics.", n);
}

static int
run_create(struct client *client, const struct request *req, struct error *err)
{
	char why[256];
	int partitions = req->partitions > 0 ? req->partitions : 1;
	rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(
		req->topic, partitions, req->replication, why, sizeof(why));

	if (topic == NULL)
		return error_set(err, ERROR_BAD_INPUT, "%s", why);
	rd_kafka_CreateTopics(client->rk, &topic, 1, NULL, client->queue);
	rd_kafka_NewTopic_destroy(topic);

	int rc = await_result(client, err);
	if (rc != 0 && req->if_not_exists &&
		error_is(err, RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS))
		return 0;
	if (rc != 0)
		return rc;
	rc = await_partitions(client, req->topic, partitions, err);
	if (rc == 0)
		printf("Created topic %s.\n", req->topic);
	return rc;
}

/* -1 partitions with --if-exists: nothing to do. */
static int
present(struct client *client, const struct request *req, int *ret_partitions,
	struct error *err)
{
	int rc = count_partitions(client, req->topic, ret_partitions, err);

	if (rc == 0 && *ret_partitions < 0 && !req->if_exists)
		return error_set(err, ERROR_NOT_FOUND,
			"Topic '%s' does not exist as expected", req->topic);
	return rc;
}

static int
run_alter(struct client *client, const struct request *req, struct error *err)
{
	char why[256];
	int have;
	int rc = present(client, req, &have, err);

	if (rc != 0 || have < 0)
		return rc;
	rd_kafka_NewPartitions_t *grown = rd_kafka_NewPartitions_new(
		req->topic, (size_t)req->partitions, why, sizeof(why));
	if (grown == NULL)
		return error_set(err, ERROR_BAD_INPUT, "%s", why);
	rd_kafka_CreatePartitions(client->rk, &grown, 1, NULL, client->queue);
	rd_kafka_NewPartitions_destroy(grown);
	puts("WARNING: If partitions are increased for a topic that has a key, "
	     "the partition logic or ordering of the messages will be "
	     "affected");
	rc = await_result(client, err);
	if (rc == 0)
		rc = await_partitions(client, req->topic, req->partitions, err);
	if (rc == 0)
		puts("Adding partitions succeeded!");
	return rc;
}

static int
run_delete(struct client *client, const struct request *req, struct error *err)
{
	int have;
	int rc = present(client, req, &have, err);

	if (rc != 0 || have < 0)
		return rc;
	rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(req->topic);
	rd_kafka_DeleteTopics(client->rk, &topic, 1, NULL, client->queue);
	rd_kafka_DeleteTopic_destroy(topic);
	rc = await_result(client, err);
	return rc != 0 ? rc : await_partitions(client, req->topic, -1, err);
}

static void
print_ids(const char *label, const int32_t *ids, int n)
{
	printf("\t%s: ", label);
	for (int i = 0; i < n; i++)
		printf("%s%" PRId32, i == 0 ? "" : ",", ids[i]);
}

static void
print_topic(const struct rd_kafka_metadata_topic *topic)
{
	printf("Topic: %s\tPartitionCount: %d\tReplicationFactor: %d\n",
		topic->topic, topic->partition_cnt,
		topic->partition_cnt > 0 ? topic->partitions[0].replica_cnt
					 : 0);
	for (int i = 0; i < topic->partition_cnt; i++) {
		const struct rd_kafka_metadata_partition *part =
			&topic->partitions[i];

		printf("\tTopic: %s\tPartition: %" PRId32, topic->topic,
			part->id);
		if (part->leader < 0)
			printf("\tLeader: none");
		else
			printf("\tLeader: %" PRId32, part->leader);
		print_ids("Replicas", part->replicas, part->replica_cnt);
		print_ids("Isr", part->isrs, part->isr_cnt);
		putchar('\n');
	}
}

static int
run_describe(
	struct client *client, const struct request *req, struct error *err)
{
	const struct rd_kafka_metadata *md CLEANUP(metadata_cleanup) = NULL;
	int rc = fetch(client, &md, err);

	if (rc != 0)
		return rc;
	if (req->topic != NULL && find(md, req->topic) == NULL)
		return req->if_exists ? 0
				      : error_set(err, ERROR_NOT_FOUND,
						"Topic '%s' does not exist as "
						"expected",
						req->topic);
	for (int i = 0; i < md->topic_cnt; i++)
		if (req->topic == NULL ||
			strcmp(md->topics[i].topic, req->topic) == 0)
			print_topic(&md->topics[i]);
	return 0;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const struct rd_kafka_metadata_topic *)a)->topic,
		((const struct rd_kafka_metadata_topic *)b)->topic);
}

static int
run_list(struct client *client, const struct request *req, struct error *err)
{
	const struct rd_kafka_metadata *md CLEANUP(metadata_cleanup) = NULL;
	int rc = fetch(client, &md, err);

	(void)req;
	if (rc != 0)
		return rc;
	qsort(md->topics, (size_t)md->topic_cnt, sizeof(*md->topics),
		compare_names);
	for (int i = 0; i < md->topic_cnt; i++)
		puts(md->topics[i].topic);
	return 0;
}

/* clang-format off */
static const struct action actions[] = {
	/*  name       run           topic  partitions */
	{ "create",   run_create,   true,  false },
	{ "alter",    run_alter,    true,  true  },
	{ "describe", run_describe, false, false },
	{ "list",     run_list,     false, false },
	{ "delete",   run_delete,   true,  false },
};

static const struct option options[] = {
	{ "bootstrap-server",   required_argument, NULL, 'b' },
	{ "topic",              required_argument, NULL, 't' },
	{ "partitions",         required_argument, NULL, 'p' },
	{ "replication-factor", required_argument, NULL, 'r' },
	{ "if-exists",          no_argument,       NULL, 'e' },
	{ "if-not-exists",      no_argument,       NULL, 'n' },
	{ "create",             no_argument,       NULL, 0 },
	{ "alter",              no_argument,       NULL, 1 },
	{ "describe",           no_argument,       NULL, 2 },
	{ "list",               no_argument,       NULL, 3 },
	{ "delete",             no_argument,       NULL, 4 },
	{ "help",               no_argument,       NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] =
"coupon-topic --bootstrap-server HOST:PORT ACTION [OPTION]...\n"
"  --create    --topic T [--partitions N] [--replication-factor N]\n"
"              [--if-not-exists]\n"
"  --alter     --topic T --partitions N [--if-exists]   add partitions\n"
"  --describe  [--topic T] [--if-exists]\n"
"  --list\n"
"  --delete    --topic T [--if-exists]\n"
"Options and output are those of kafka-topics.sh.\n"
"Exit status: 0 done, 1 Kafka refused or does not answer, 2 usage.\n";
/* clang-format on */

static int
parse_count(const char *option, const char *text, int *ret, struct error *err)
{
	char *end;

	errno = 0;
	long n = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || n < 1 || n > 100000)
		return error_set(err, ERROR_BAD_INPUT,
			"--%s %s: expected a number from 1", option, text);
	*ret = (int)n;
	return 0;
}

static int
take_option(struct request *req, int option, struct error *err)
{
	switch (option) {
	case 'b':
		req->bootstrap = optarg;
		return 0;
	case 't':
		req->topic = optarg;
		return 0;
	case 'p':
		return parse_count("partitions", optarg, &req->partitions, err);
	case 'r':
		return parse_count(
			"replication-factor", optarg, &req->replication, err);
	case 'e':
		req->if_exists = true;
		return 0;
	case 'n':
		req->if_not_exists = true;
		return 0;
	default:
		if (option < 0 || (size_t)option >= ARRAY_SIZE(actions))
			return error_set(err, ERROR_BAD_INPUT,
				"unknown option or missing value");
		if (req->action != NULL)
			return error_set(err, ERROR_BAD_INPUT,
				"--%s and --%s exclude each other",
				req->action->name, actions[option].name);
		req->action = &actions[option];
		return 0;
	}
}

static int
check(const struct request *req, struct error *err)
{
	if (req->bootstrap == NULL)
		return error_set(
			err, ERROR_BAD_INPUT, "--bootstrap-server is missing");
	if (req->action == NULL)
		return error_set(err, ERROR_BAD_INPUT,
			"one of --create, --alter, --describe, --list, "
			"--delete is needed");
	if (req->action->needs_topic && req->topic == NULL)
		return error_set(err, ERROR_BAD_INPUT, "--%s needs --topic",
			req->action->name);
	if (req->action->needs_partitions && req->partitions == 0)
		return error_set(err, ERROR_BAD_INPUT,
			"--%s needs --partitions", req->action->name);
	return 0;
}

static int
parse(int argc, char **argv, struct request *req, struct error *err)
{
	int option;

	opterr = 0;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): before any thread */
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			(void)fputs(usage, stdout);
			exit(EXIT_SUCCESS); /* NOLINT(concurrency-mt-unsafe) */
		}
		int rc = take_option(req, option, err);
		if (rc != 0)
			return rc;
	}
	if (optind < argc)
		return error_set(
			err, ERROR_BAD_INPUT, "unexpected: %s", argv[optind]);
	return check(req, err);
}

static int
run(const struct request *req, struct error *err)
{
	struct settings settings = { .kafka_bootstrap_servers =
					     req->bootstrap };
	struct client client = { NULL, NULL };
	rd_kafka_conf_t *conf;
	int rc = kafka_conf_new(&settings, KAFKA_ADMIN, NULL, &conf, err);

	if (rc == 0)
		rc = kafka_open(KAFKA_ADMIN, &conf, &client.rk, err);
	if (rc != 0)
		return rc;
	client.queue = rd_kafka_queue_new(client.rk);
	assert(req->action != NULL); /* check() saw to it */
	rc = req->action->run(&client, req, err);
	rd_kafka_queue_destroy(client.queue);
	rd_kafka_destroy(client.rk);
	return rc;
}

int
main(int argc, char **argv)
{
	struct request req = { .replication = 1 };
	struct error err;

	/* librdkafka repeats in its log what we say once. */
	log_set_level(LOG_LEVEL_OFF);
	if (parse(argc, argv, &req, &err) != 0) {
		(void)fprintf(stderr, "coupon-topic: %s\n%s", err.msg, usage);
		return 2;
	}
	if (run(&req, &err) != 0) {
		(void)fprintf(stderr, "Error while executing topic command : %s\n",
			err.msg);
		return 1;
	}
	return 0;
}
