/* SPDX-License-Identifier: MIT */
#include "common/kafka_scan.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/kafka.h"

#include <assert.h>
#include <sys/param.h>

#define ASK_TIMEOUT_NS (5 * NS_PER_S)
#define POLL_MS 500

struct scan_run {
	const struct kafka_scan *scan;
	rd_kafka_t *rk;
	struct kafka_scan_partition *partitions;
	size_t n;
	size_t n_open; /* partitions whose end has not been reached */
};

static int
client_new(const struct settings *settings, rd_kafka_t **ret, struct error *err)
{
	static const char *const properties[][2] = {
		{ "enable.auto.commit", "false" },
		{ "enable.auto.offset.store", "false" },
		{ "enable.partition.eof", "true" },
		{ "auto.offset.reset", "error" },
		{ "statistics.interval.ms", "0" },
	};
	rd_kafka_conf_t *conf;
	char why[256];
	int rc = kafka_conf_new(settings, KAFKA_CONSUMER, NULL, &conf, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_SIZE(properties); i++)
		if (rd_kafka_conf_set(conf, properties[i][0], properties[i][1],
			    why, sizeof(why)) != RD_KAFKA_CONF_OK) {
			rd_kafka_conf_destroy(conf);
			return error_set(
				err, ERROR_CONFIG_INVALID, "kafka: %s", why);
		}
	*ret = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
	if (*ret == NULL) {
		rd_kafka_conf_destroy(conf);
		return error_set(err, ERROR_KAFKA_ERROR, "kafka: %s", why);
	}
	return 0;
}

static int
kafka_failed(struct error *err, const char *topic, const char *what,
	rd_kafka_resp_err_t code)
{
	if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
		code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
		return error_set(err, ERROR_KAFKA_ERROR,
			"kafka: topic %s does not exist", topic);
	return error_set(err,
		code == RD_KAFKA_RESP_ERR__TIMED_OUT ? ERROR_TIMEOUT
						     : ERROR_KAFKA_ERROR,
		"kafka: %s of topic %s: %s", what, topic,
		rd_kafka_err2str(code));
}

/*
 * For one question: a broker that is away must not hold a caller, who may
 * have been told to stop, until the deadline of a long scan.
 */
static int
ask_timeout_ms(const struct kafka_scan *scan)
{
	int64_t soon_ns = clock_now_ns() + ASK_TIMEOUT_NS;

	return clock_poll_timeout_ms(
		scan->deadline_ns < soon_ns ? scan->deadline_ns : soon_ns);
}

static int
tick(const struct kafka_scan *scan, struct error *err)
{
	return scan->tick == NULL ? 0 : scan->tick(scan->arg, err);
}

/* The ids of all partitions, from the broker and not from a cache. */
static int
find_partitions(struct scan_run *run, struct error *err)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_topic_t *topic =
		rd_kafka_topic_new(run->rk, run->scan->topic, NULL);
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;

	if (topic == NULL)
		return kafka_failed(err, run->scan->topic, "metadata", code);
	code = rd_kafka_metadata(
		run->rk, 0, topic, &metadata, ask_timeout_ms(run->scan));
	rd_kafka_topic_destroy(topic);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		return kafka_failed(err, run->scan->topic, "metadata", code);

	assert(metadata->topic_cnt == 1);
	const struct rd_kafka_metadata_topic *found = &metadata->topics[0];
	size_t n = (size_t)found->partition_cnt;
	int rc = 0;

	if (found->err != RD_KAFKA_RESP_ERR_NO_ERROR)
		rc = kafka_failed(
			err, run->scan->topic, "metadata", found->err);
	else
		run->partitions = calloc(n + 1, sizeof(*run->partitions));
	if (run->partitions != NULL) {
		for (size_t i = 0; i < n; i++)
			run->partitions[i].id = found->partitions[i].id;
		run->n = n;
	} else if (rc == 0) {
		rc = error_set(err, ERROR_NO_MEMORY, "kafka: out of memory");
	}
	rd_kafka_metadata_destroy(metadata);
	return rc;
}

static int
by_id(const void *a, const void *b)
{
	const struct kafka_scan_partition *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static int64_t
start_of(const struct kafka_scan *scan, int32_t partition, int64_t low,
	int64_t high)
{
	for (size_t i = 0; i < scan->n_starts; i++)
		if (scan->starts[i].partition == partition &&
			scan->starts[i].next_offset >= low &&
			scan->starts[i].next_offset <= high)
			return scan->starts[i].next_offset;
	return low;
}

static int
find_ends(struct scan_run *run, struct error *err)
{
	if (run->n > 0)
		qsort(run->partitions, run->n, sizeof(*run->partitions), by_id);
	for (size_t i = 0; i < run->n; i++) {
		struct kafka_scan_partition *p = &run->partitions[i];
		int64_t low;
		int rc = tick(run->scan, err);

		if (rc != 0)
			return rc;
		rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
			run->rk, run->scan->topic, p->id, &low, &p->high,
			ask_timeout_ms(run->scan));

		if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
			return kafka_failed(
				err, run->scan->topic, "watermarks", code);
		p->from = start_of(run->scan, p->id, low, p->high);
		run->n_open += p->from < p->high;
	}
	return 0;
}

static int
assign(struct scan_run *run, struct error *err)
{
	rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new((int)run->n);

	for (size_t i = 0; i < run->n; i++)
		if (run->partitions[i].from < run->partitions[i].high)
			rd_kafka_topic_partition_list_add(
				list, run->scan->topic, run->partitions[i].id)
				->offset = run->partitions[i].from;
	rd_kafka_resp_err_t code = rd_kafka_assign(run->rk, list);

	rd_kafka_topic_partition_list_destroy(list);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		return kafka_failed(err, run->scan->topic, "assignment", code);
	return 0;
}

static const struct kafka_scan_partition *
partition_of(const struct scan_run *run, const rd_kafka_message_t *message)
{
	const struct kafka_scan_partition key = { .id = message->partition };

	return bsearch(&key, run->partitions, run->n, sizeof(key), by_id);
}

/* One message or event; closes its partition when that was the end. */
static int
take(struct scan_run *run, const rd_kafka_message_t *message, bool *ret_last,
	struct error *err)
{
	*ret_last = false;
	if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		/* Offsets may have gaps before the end; EOF has the word. */
		*ret_last = true;
		return 0;
	}
	if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
		/* Brokers come and go; only a lost offset ends the scan. */
		if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
			return kafka_failed(
				err, run->scan->topic, "offset", message->err);
		return 0;
	}
	const struct kafka_scan_partition *p = partition_of(run, message);

	if (p == NULL || message->offset >= p->high)
		return 0; /* newer than the scan; EOF or `last` has ended it */
	*ret_last = message->offset == p->high - 1;
	return run->scan->message(run->scan->arg, message, err);
}

/* The next message or event before the deadline, or NULL and *err. */
static rd_kafka_message_t *
next_message(const struct scan_run *run, struct error *err)
{
	const struct kafka_scan *scan = run->scan;
	rd_kafka_message_t *message = NULL;

	while (message == NULL) {
		int wait_ms = clock_poll_timeout_ms(scan->deadline_ns);

		if (tick(scan, err) != 0)
			return NULL;
		if (wait_ms == 0) {
			(void)error_set(err, ERROR_TIMEOUT,
				"kafka: topic %s was not read to its end in "
				"time",
				scan->topic);
			return NULL;
		}
		message =
			rd_kafka_consumer_poll(run->rk, MIN(wait_ms, POLL_MS));
	}
	return message;
}

static int
read_all(struct scan_run *run, struct error *err)
{
	bool *ended = calloc(run->n + 1, sizeof(*ended));
	int rc = 0;

	if (ended == NULL)
		return error_set(err, ERROR_NO_MEMORY, "kafka: out of memory");
	while (rc == 0 && run->n_open > 0) {
		rd_kafka_message_t *message = next_message(run, err);
		bool last;

		if (message == NULL) {
			rc = -(int)err->kind;
			break;
		}
		rc = take(run, message, &last, err);
		const struct kafka_scan_partition *p =
			last ? partition_of(run, message) : NULL;

		if (p != NULL && !ended[p - run->partitions]) {
			ended[p - run->partitions] = true;
			run->n_open--;
		}
		rd_kafka_message_destroy(message);
	}
	free(ended);
	return rc;
}

static int
run_scan(struct scan_run *run, struct error *err)
{
	int rc = find_partitions(run, err);

	if (rc == 0)
		rc = find_ends(run, err);
	if (rc < 0 || run->scan->message == NULL || run->n_open == 0)
		return rc;
	rc = assign(run, err);
	if (rc == 0)
		rc = read_all(run, err);
	return rc;
}

int
kafka_scan(const struct settings *settings, const struct kafka_scan *scan,
	struct kafka_scan_partition **ret, size_t *ret_n, struct error *err)
{
	struct scan_run run = { .scan = scan };
	int rc = client_new(settings, &run.rk, err);

	if (rc < 0)
		return rc;
	rc = run_scan(&run, err);
	rd_kafka_consumer_close(run.rk);
	rd_kafka_destroy(run.rk);
	if (rc < 0) {
		free(run.partitions);
		return rc;
	}
	*ret = run.partitions;
	*ret_n = run.n;
	return 0;
}
