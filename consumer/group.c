/* SPDX-License-Identifier: MIT */
#include "consumer/group.h"

#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/kafka.h"
#include "common/log.h"
#include "common/metrics.h"
#include "consumer/assignment.h"
#include "consumer/guard.h"
#include "consumer/partition.h"

#include <assert.h>

/*
 * DESIGN
 *
 * A partition's messages come through a queue of its own, which must be taken
 * out of the group's queue before rd_kafka_assign(), and whose thread must be
 * joined before the partition is given up.  librdkafka keeps a queue apart
 * for good once it was taken out, so each assignment makes a partition anew.
 *
 * The partitions are assigned from their first message and each thread seeks
 * to where PostgreSQL says: what is fetched before that is dropped, and if
 * the seek went wrong we would read too much, never too little.
 *
 * The callback waits for nothing but its threads.  They leave every wait when
 * told to stop and finish a write that is under way; JOIN_GRACE_NS later that
 * write is called off as well, and its outcome read from PostgreSQL by
 * whoever has the partition next.
 */
#define JOIN_GRACE_NS (500 * NS_PER_MS)
#define COMMIT_TIMEOUT_MS 2000
#define FREE_TIMEOUT_NS (2 * NS_PER_S)
#define WATCH_INTERVAL_NS NS_PER_S

struct group {
	rd_kafka_t *rk;
	char *group_id;
	char *topic;
	struct metrics *metrics; /* borrowed */
	struct consumer_stats stats;
	struct partition_env env;
	_Atomic int64_t watchdog_ns;
	_Atomic int64_t polled_ns;
	atomic_int brokers_up;
	atomic_bool lacks_topic;
	atomic_bool assigned;
	atomic_bool fatal;
	int64_t watched_ns; /* the polling thread's */
	struct assignment *assignment;
};

/* ---- rebalances: called by rd_kafka_consumer_poll() and _close() ---- */

static bool
is_cooperative(rd_kafka_t *rk)
{
	/* NULL when the consumer was closed before it came to its first. */
	const char *protocol = rd_kafka_rebalance_protocol(rk);

	return protocol != NULL && strcmp(protocol, "COOPERATIVE") == 0;
}

static void
report(const char *what, rd_kafka_resp_err_t code)
{
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		LOG_ERROR("kafka group", LOG_STR("call", what),
			LOG_STR("error", rd_kafka_err2str(code)));
}

static void
report_and_destroy(const char *what, rd_kafka_error_t *error)
{
	report(what, rd_kafka_error_code(error));
	rd_kafka_error_destroy(error);
}

static void
take_on(struct group *group, rd_kafka_topic_partition_list_t *list)
{
	assignment_add(group->assignment, list);
	for (int i = 0; i < list->cnt; i++)
		list->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
	if (is_cooperative(group->rk))
		report_and_destroy("incremental_assign",
			rd_kafka_incremental_assign(group->rk, list));
	else
		report("assign", rd_kafka_assign(group->rk, list));
	assignment_start(group->assignment);
	atomic_store(&group->assigned, true);
	counter_add(group->stats.rebalances[REBALANCE_ASSIGNED], 1);
	LOG_INFO("partitions assigned", LOG_INT("count", list->cnt));
}

/* Kafka's own record of our position: for lag tools. */
static void
commit(struct group *group, const rd_kafka_topic_partition_list_t *offsets)
{
	if (offsets->cnt == 0)
		return;
	rd_kafka_queue_t *queue = rd_kafka_queue_new(group->rk);
	rd_kafka_resp_err_t code =
		rd_kafka_commit_queue(group->rk, offsets, queue, NULL, NULL);
	rd_kafka_event_t *event =
		code != RD_KAFKA_RESP_ERR_NO_ERROR
			? NULL
			: rd_kafka_queue_poll(queue, COMMIT_TIMEOUT_MS);

	if (event != NULL)
		rd_kafka_event_destroy(event);
	else
		LOG_WARN("offsets not committed to Kafka, ignoring",
			LOG_STR("error", rd_kafka_err2str(code)));
	rd_kafka_queue_destroy(queue);
}

static void
give_up(struct group *group, rd_kafka_topic_partition_list_t *list)
{
	bool lost = rd_kafka_assignment_lost(group->rk) != 0;
	rd_kafka_topic_partition_list_t *offsets =
		rd_kafka_topic_partition_list_new(list->cnt);

	assignment_end(group->assignment, list, clock_now_ns() + JOIN_GRACE_NS,
		offsets);
	if (!lost)
		commit(group, offsets);
	rd_kafka_topic_partition_list_destroy(offsets);
	if (is_cooperative(group->rk))
		report_and_destroy("incremental_unassign",
			rd_kafka_incremental_unassign(group->rk, list));
	else
		report("unassign", rd_kafka_assign(group->rk, NULL));
	counter_add(group->stats.rebalances[lost ? REBALANCE_LOST
						 : REBALANCE_REVOKED],
		1);
	LOG_INFO("partitions given up", LOG_INT("count", list->cnt),
		LOG_STR("lost", lost ? "true" : "false"));
}

static void
on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code,
	rd_kafka_topic_partition_list_t *list, void *opaque)
{
	struct group *group = opaque;

	assert(rk == group->rk || group->rk == NULL);
	if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		take_on(group, list);
		return;
	}
	if (code != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
		report("rebalance", code);
	give_up(group, list);
}

/* ---- other callbacks ---- */

static void
on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
	struct group *group = opaque;

	(void)rk;
	if (code == RD_KAFKA_RESP_ERR__FATAL) {
		atomic_store(&group->fatal, true);
		LOG_ERROR("kafka client failed for good: restart it",
			LOG_STR("error", reason));
		return;
	}
	LOG_WARN("kafka", LOG_STR("error", reason),
		LOG_STR("code", rd_kafka_err2name((rd_kafka_resp_err_t)code)));
}

static void
note_topic(struct group *group, bool missing)
{
	if (atomic_exchange(&group->lacks_topic, missing) == missing)
		return;
	if (missing)
		LOG_ERROR("the topic does not exist, nothing can be issued",
			LOG_STR("topic", group->topic));
	else
		LOG_INFO("the topic exists again",
			LOG_STR("topic", group->topic));
}

static int
on_stats(rd_kafka_t *rk, char *json, size_t len, void *opaque)
{
	struct group *group = opaque;
	struct kafka_stats stats;

	(void)rk;
	kafka_stats_read(json, len, &stats);
	atomic_store(&group->brokers_up, stats.brokers_up);
	note_topic(group, stats.missing > 0);
	return 0; /* librdkafka frees it */
}

static void
on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t code,
	rd_kafka_topic_partition_list_t *offsets, void *opaque)
{
	(void)rk;
	(void)offsets;
	(void)opaque;
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR &&
		code != RD_KAFKA_RESP_ERR__NO_OFFSET)
		LOG_DEBUG("offsets not committed to Kafka",
			LOG_STR("error", rd_kafka_err2str(code)));
}

/* ---- watching ---- */

struct sum {
	struct group_status *status;
	int64_t watchdog_ns;
};

static void
add_up(void *arg, const struct partition_status *partition)
{
	struct sum *sum = arg;
	struct group_status *status = sum->status;

	status->states[partition->state]++;
	status->hung += partition->silent_ns > sum->watchdog_ns;
	status->lag = partition->lag < 0 || status->lag < 0
			      ? -1
			      : status->lag + partition->lag;
}

void
group_status(struct group *group, struct group_status *ret)
{
	struct sum sum = { ret, atomic_load(&group->watchdog_ns) };

	*ret = (struct group_status){
		.assigned = atomic_load(&group->assigned),
		.fatal = atomic_load(&group->fatal),
		.missing_topic =
			atomic_load(&group->lacks_topic) ? group->topic : NULL,
		.brokers_up = atomic_load(&group->brokers_up),
		.unpolled_ns = clock_now_ns() - atomic_load(&group->polled_ns),
	};
	assignment_each(group->assignment, add_up, &sum);
}

static void
collect(void *arg, struct metrics_sink *sink)
{
	struct group *group = arg;
	struct group_status status;

	assignment_emit(group->assignment, sink);
	group_status(group, &status);
	consumer_stats_emit_states(sink, status.states, status.hung);
}

/* librdkafka 2.0.2 does not: any poll of any queue contents it. */
static void
watch(struct group *group)
{
	int64_t now_ns = clock_now_ns();
	struct group_status status;

	if (now_ns - group->watched_ns < WATCH_INTERVAL_NS)
		return;
	group->watched_ns = now_ns;
	group_status(group, &status);
	if (status.hung > 0)
		LOG_ERROR("partition threads hang",
			LOG_INT("count", status.hung),
			LOG_INT("watchdog_ms",
				atomic_load(&group->watchdog_ns) / NS_PER_MS));
}

void
group_poll(struct group *group, int timeout_ms)
{
	rd_kafka_message_t *message =
		rd_kafka_consumer_poll(group->rk, timeout_ms);

	atomic_store(&group->polled_ns, clock_now_ns());
	watch(group);
	if (message == NULL)
		return;
	if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
		LOG_WARN("kafka group",
			LOG_STR("code", rd_kafka_err2name(message->err)),
			LOG_STR("error", rd_kafka_message_errstr(message)));
	else
		/* Its thread finds the hole and reads it again. */
		LOG_ERROR("message in the group's queue, ignoring",
			LOG_INT("partition", message->partition),
			LOG_INT("offset", message->offset));
	rd_kafka_message_destroy(message);
}

/* ---- start and stop ---- */

void
group_configure(struct group *group, const struct settings *settings)
{
	struct partition_env *env = &group->env;

	atomic_store(&env->batch_size, (size_t)settings->consumer_batch_size);
	atomic_store(&env->batch_wait_ns, settings->consumer_batch_wait_ns);
	atomic_store(&env->connection_timeout_ns,
		settings->datasource_connection_timeout_ns);
	atomic_store(
		&group->watchdog_ns, settings->consumer_watchdog_timeout_ns);
}

static int
subscribe(struct group *group, struct error *err)
{
	rd_kafka_topic_partition_list_t *topics =
		rd_kafka_topic_partition_list_new(1);

	rd_kafka_topic_partition_list_add(
		topics, group->topic, RD_KAFKA_PARTITION_UA);
	rd_kafka_resp_err_t code = rd_kafka_subscribe(group->rk, topics);
	rd_kafka_topic_partition_list_destroy(topics);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		return error_set(err, ERROR_CONFIG_INVALID, "kafka.topic: %s",
			rd_kafka_err2str(code));
	return 0;
}

static int
open_client(
	struct group *group, const struct settings *settings, struct error *err)
{
	rd_kafka_conf_t *conf;
	int rc = kafka_conf_new(settings, KAFKA_CONSUMER, group, &conf, err);

	if (rc != 0)
		return rc;
	rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set_stats_cb(conf, on_stats);
	rd_kafka_conf_set_offset_commit_cb(conf, on_commit);
	rc = kafka_open(KAFKA_CONSUMER, &conf, &group->rk, err);
	if (rc == 0)
		(void)rd_kafka_poll_set_consumer(group->rk);
	return rc;
}

void
group_free(struct group *group)
{
	if (group == NULL)
		return;
	assignment_free(group->assignment);
	free(group->group_id);
	free(group->topic);
	free(group);
}

int
group_new(const struct group_config *config, struct group **ret,
	struct error *err)
{
	struct group *group = calloc(1, sizeof(*group));

	if (group == NULL)
		return error_set(err, ERROR_NO_MEMORY, "consumer group");
	group->assignment = assignment_new(&group->env);
	group->group_id = strdup(config->settings->kafka_group_id);
	group->topic = strdup(config->settings->kafka_topic);
	group->metrics = config->metrics;
	atomic_store(&group->brokers_up, -1);
	atomic_store(&group->polled_ns, clock_now_ns());
	consumer_stats_init(&group->stats, config->metrics);
	int rc = open_client(group, config->settings, err);
	if (rc != 0) {
		group_free(group);
		return rc;
	}
	group->env = (struct partition_env){
		.rk = group->rk,
		.rkt = rd_kafka_topic_new(group->rk, group->topic, NULL),
		.group = group->group_id,
		.topic = group->topic,
		.pool = config->pool,
		.writer = config->writer,
		.stats = &group->stats,
	};
	group_configure(group, config->settings);
	metrics_collector(group->metrics, collect, group);
	rc = subscribe(group, err);
	if (rc != 0) {
		group_leave(group, clock_now_ns() + NS_PER_S);
		group_free(group);
		return rc;
	}
	*ret = group;
	return 0;
}

void
group_leave(struct group *group, int64_t deadline_ns)
{
	struct guard guard;

	if (group == NULL)
		return;
	guard_start(&guard, deadline_ns, "leaving the consumer group",
		EXIT_FAILURE);
	metrics_collector_remove(group->metrics, collect, group);
	report("close", rd_kafka_consumer_close(group->rk));
	/* An assignment that arrived while it closed is not taken back. */
	assignment_end_all(group->assignment, deadline_ns);
	guard_end(&guard);
	/* 2.0.2 may wait for ever for partitions of a topic that was deleted.
	 * Nothing is left to it but memory. */
	guard_start(&guard, clock_now_ns() + FREE_TIMEOUT_NS,
		"freeing the Kafka client", EXIT_SUCCESS);
	rd_kafka_topic_destroy(group->env.rkt);
	rd_kafka_destroy(group->rk);
	guard_end(&guard);
}
