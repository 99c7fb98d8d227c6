/* SPDX-License-Identifier: MIT */
#include "consumer/assignment.h"

#include "common/sync.h"

#include <assert.h>

struct assignment {
	struct partition_env *env; /* borrowed */
	struct mutex lock;
	struct locked { /* only through locked() */
		struct partition **items;
		size_t n, size;
	} locked_;
};

static struct locked *locked(struct assignment *assignment)
	REQUIRES(assignment->lock);

static struct locked *
locked(struct assignment *assignment)
{
	return &assignment->locked_;
}

struct assignment *
assignment_new(struct partition_env *env)
{
	struct assignment *assignment = calloc(1, sizeof(*assignment));

	if (assignment == NULL)
		abort(); /* at start */
	assignment->env = env;
	mutex_init(&assignment->lock);
	return assignment;
}

void
assignment_free(struct assignment *assignment)
{
	if (assignment == NULL)
		return;
	mutex_lock(&assignment->lock);
	assert(locked(assignment)->n == 0);
	free(locked(assignment)->items);
	mutex_unlock(&assignment->lock);
	mutex_fini(&assignment->lock);
	free(assignment);
}

static void
append(struct assignment *assignment, struct partition *partition)
{
	mutex_lock(&assignment->lock);
	struct locked *list = locked(assignment);
	if (list->n == list->size) {
		list->size = list->size == 0 ? 8 : 2 * list->size;
		list->items = reallocarray(
			list->items, list->size, sizeof(struct partition *));
		if (list->items == NULL)
			abort();
	}
	list->items[list->n++] = partition;
	mutex_unlock(&assignment->lock);
}

void
assignment_add(struct assignment *assignment,
	const rd_kafka_topic_partition_list_t *list)
{
	for (int i = 0; i < list->cnt; i++)
		append(assignment, partition_new(assignment->env,
					   list->elems[i].partition));
}

void
assignment_start(struct assignment *assignment)
{
	mutex_lock(&assignment->lock);
	struct locked *list = locked(assignment);
	for (size_t i = 0; i < list->n; i++)
		partition_start(list->items[i]);
	mutex_unlock(&assignment->lock);
}

/* Taken out of the list; NULL when it is not in it. */
static struct partition *
take_out(struct assignment *assignment, int32_t id)
{
	struct partition *found = NULL;

	mutex_lock(&assignment->lock);
	struct locked *list = locked(assignment);
	for (size_t i = 0; found == NULL && i < list->n; i++)
		if (partition_id(list->items[i]) == id) {
			found = list->items[i];
			list->items[i] = list->items[--list->n];
		}
	mutex_unlock(&assignment->lock);
	return found;
}

static void
end_one(struct assignment *assignment, struct partition *partition,
	int64_t deadline_ns, rd_kafka_topic_partition_list_t *offsets)
{
	struct partition_status status;

	partition_join(partition, deadline_ns);
	partition_status(partition, &status);
	if (status.next_offset >= 0)
		rd_kafka_topic_partition_list_add(
			offsets, assignment->env->topic, status.id)
			->offset = status.next_offset;
	partition_free(partition);
}

void
assignment_end(struct assignment *assignment,
	const rd_kafka_topic_partition_list_t *list, int64_t deadline_ns,
	rd_kafka_topic_partition_list_t *offsets)
{
	size_t n = (size_t)list->cnt;
	struct partition **ended = calloc(n + 1, sizeof(struct partition *));

	if (ended == NULL)
		abort();
	/* All are told before the first is waited for. */
	for (size_t i = 0; i < n; i++) {
		ended[i] = take_out(assignment, list->elems[i].partition);
		if (ended[i] != NULL)
			partition_stop(ended[i]);
	}
	for (size_t i = 0; i < n; i++)
		if (ended[i] != NULL)
			end_one(assignment, ended[i], deadline_ns, offsets);
	free(ended);
}

static void
add_id(void *arg, const struct partition_status *status)
{
	rd_kafka_topic_partition_list_add(arg, "", status->id);
}

void
assignment_end_all(struct assignment *assignment, int64_t deadline_ns)
{
	rd_kafka_topic_partition_list_t *left =
		rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_t *ignored =
		rd_kafka_topic_partition_list_new(1);

	assignment_each(assignment, add_id, left);
	assignment_end(assignment, left, deadline_ns, ignored);
	rd_kafka_topic_partition_list_destroy(ignored);
	rd_kafka_topic_partition_list_destroy(left);
}

void
assignment_each(struct assignment *assignment,
	void (*fn)(void *arg, const struct partition_status *status), void *arg)
{
	struct partition_status status;

	mutex_lock(&assignment->lock);
	for (size_t i = 0; i < locked(assignment)->n; i++) {
		partition_status(locked(assignment)->items[i], &status);
		fn(arg, &status);
	}
	mutex_unlock(&assignment->lock);
}

struct emission {
	struct metrics_sink *sink;
	const char *topic;
};

static void
emit(void *arg, const struct partition_status *status)
{
	const struct emission *emission = arg;

	consumer_stats_emit_partition(emission->sink, emission->topic,
		&(struct partition_gauges){ .partition = status->id,
			.lag = status->lag,
			.batch_size = status->batch_size });
}

void
assignment_emit(struct assignment *assignment, struct metrics_sink *sink)
{
	struct emission emission = { sink, assignment->env->topic };

	assignment_each(assignment, emit, &emission);
}
