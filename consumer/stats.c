/* SPDX-License-Identifier: MIT */
#include "consumer/stats.h"

#include "common/clock.h"
#include "common/metrics.h"

#include <inttypes.h>

enum family {
	RECORDS,
	ROWS,
	GAPS,
	REJECTIONS,
	DEAD_LETTERS,
	REBALANCED,
	RESET,
	BATCH,
	TIME_TO_ISSUE,
	LAG,
	BATCH_SIZE,
	ASSIGNED,
	PAUSED,
	HUNG,
	FAMILIES
};

/* clang-format off */
static const struct metric_family families[FAMILIES] METRIC_FAMILY = {
	[RECORDS] = { "kafka.consumer.records.consumed", METRIC_COUNTER, NULL,
		"Messages whose outcome is committed.", false, NULL },
	[ROWS] = { "coupon.rows.written", METRIC_COUNTER, NULL,
		"Coupons issued: rows inserted into user_coupon.", false, NULL },
	[GAPS] = { "kafka.consumer.offset.gaps", METRIC_COUNTER, NULL,
		"Offsets that do not exist in the topic, confirmed by a second read.",
		false, NULL },
	[REJECTIONS] = { "coupon.rejections", METRIC_COUNTER, NULL,
		"Requests that ended without a coupon.", false, "reason" },
	[DEAD_LETTERS] = { "coupon.dead.letters", METRIC_COUNTER, NULL,
		"Messages sent to the dead-letter topic.", false, "reason" },
	[REBALANCED] = { "kafka.consumer.rebalances", METRIC_COUNTER, NULL,
		"Changes of the assignment by the group.", false, "kind" },
	[RESET] = { "kafka.consumer.offset.resets", METRIC_COUNTER, NULL,
		"Partitions that started over because the topic does not hold their offset.",
		false, "reason" },
	[BATCH] = { "coupon.batch.write", METRIC_TIMER, NULL,
		"Time to write one batch to PostgreSQL.", true, NULL },
	[TIME_TO_ISSUE] = { "coupon.time.to.issue", METRIC_TIMER, NULL,
		"Time from accepting a request to its committed row.", true, NULL },
	[LAG] = { "kafka.consumer.lag", METRIC_GAUGE, NULL,
		"Messages between the next offset in PostgreSQL and the end of the partition.",
		false, "topic, partition" },
	[BATCH_SIZE] = { "coupon.batch.size", METRIC_GAUGE, NULL,
		"Messages in the last batch of the partition.",
		false, "topic, partition" },
	[ASSIGNED] = { "kafka.consumer.assigned.partitions", METRIC_GAUGE, NULL,
		"Partitions this process owns.", false, NULL },
	[PAUSED] = { "kafka.consumer.paused.partitions", METRIC_GAUGE, NULL,
		"Partitions that wait for something to come back.", false, "reason" },
	[HUNG] = { "kafka.consumer.hung.partitions", METRIC_GAUGE, NULL,
		"Partition threads without a sign of life for consumer.watchdog-timeout.",
		false, NULL },
};

static const char *const letter_reasons[] = {
	"UNREADABLE", "INVALID", "EVENT_UNKNOWN",
};
static const char *const rebalances[REBALANCES] = {
	[REBALANCE_ASSIGNED] = "assigned",
	[REBALANCE_REVOKED] = "revoked",
	[REBALANCE_LOST] = "lost",
};
static const char *const resets[RESETS] = {
	[RESET_EXPIRED] = "expired",
	[RESET_RECREATED] = "recreated",
};
static const char *const states[PARTITION_STATES] = {
	[PARTITION_RUNNING] = "RUNNING",
	[PARTITION_DATABASE] = "DATABASE",
	[PARTITION_KAFKA] = "KAFKA",
	[PARTITION_VERSION] = "VERSION",
	[PARTITION_OWNER] = "OWNER",
};
/* clang-format on */

const char *
partition_state_name(enum partition_state state)
{
	return states[state];
}

static struct counter *
tagged(struct metrics *metrics, enum family family, const char *key,
	const char *value)
{
	return metrics_counter(
		metrics, &families[family], METRIC_TAGS({ key, value }));
}

void
consumer_stats_init(struct consumer_stats *stats, struct metrics *metrics)
{
	stats->records =
		metrics_counter(metrics, &families[RECORDS], METRIC_NO_TAGS);
	stats->rows = metrics_counter(metrics, &families[ROWS], METRIC_NO_TAGS);
	stats->gaps = metrics_counter(metrics, &families[GAPS], METRIC_NO_TAGS);
	for (enum verdict v = 0; v < VERDICTS; v++)
		stats->rejections[v] =
			!verdict_is_rejection(v)
				? NULL
				: tagged(metrics, REJECTIONS, "reason",
					  verdict_name(v));
	for (size_t i = 0; i < ARRAY_SIZE(letter_reasons); i++)
		stats->dead_letters[i] = tagged(
			metrics, DEAD_LETTERS, "reason", letter_reasons[i]);
	for (size_t i = 0; i < REBALANCES; i++)
		stats->rebalances[i] =
			tagged(metrics, REBALANCED, "kind", rebalances[i]);
	for (size_t i = 0; i < RESETS; i++)
		stats->resets[i] = tagged(metrics, RESET, "reason", resets[i]);
	stats->write = metrics_timer(metrics, &families[BATCH], METRIC_NO_TAGS);
	stats->time_to_issue = metrics_timer(
		metrics, &families[TIME_TO_ISSUE], METRIC_NO_TAGS);
}

static void
count_letter(struct consumer_stats *stats, const struct batch_item *item)
{
	for (size_t i = 0; i < ARRAY_SIZE(letter_reasons); i++)
		if (strcmp(item->reason, letter_reasons[i]) == 0)
			counter_add(stats->dead_letters[i], 1);
}

void
consumer_stats_batch(
	struct consumer_stats *stats, const struct batch *batch, size_t rows)
{
	counter_add(stats->records, batch->n);
	counter_add(stats->rows, rows);
	for (size_t i = 0; i < batch->n; i++) {
		const struct batch_item *item = &batch->items[i];

		if (stats->rejections[item->verdict] != NULL)
			counter_add(stats->rejections[item->verdict], 1);
		if (item->letter == LETTER_SENT)
			count_letter(stats, item);
	}
}

void
consumer_stats_emit_partition(struct metrics_sink *sink, const char *topic,
	const struct partition_gauges *gauges)
{
	char partition[16];

	(void)snprintf(
		partition, sizeof(partition), "%" PRId32, gauges->partition);
	const struct metric_tag *tags =
		METRIC_TAGS({ "topic", topic }, { "partition", partition });
	/* From the start: what scales by it refuses a missing series. */
	metrics_emit(sink, &families[LAG], tags,
		gauges->lag > 0 ? (double)gauges->lag : 0.0);
	metrics_emit(
		sink, &families[BATCH_SIZE], tags, (double)gauges->batch_size);
}

void
consumer_stats_emit_states(struct metrics_sink *sink,
	const size_t counts[PARTITION_STATES], size_t hung)
{
	size_t total = 0;

	for (size_t i = 0; i < PARTITION_STATES; i++) {
		total += counts[i];
		if (i != PARTITION_RUNNING)
			metrics_emit(sink, &families[PAUSED],
				METRIC_TAGS({ "reason", states[i] }),
				(double)counts[i]);
	}
	metrics_emit(sink, &families[ASSIGNED], METRIC_NO_TAGS, (double)total);
	metrics_emit(sink, &families[HUNG], METRIC_NO_TAGS, (double)hung);
}
