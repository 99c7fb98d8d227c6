/* SPDX-License-Identifier: MIT */
/*
 * actuator_tasks - /actuator/scheduledtasks: what runs in the background, when
 * it last did and what came of it.
 */
#include "common/actuator_internal.h"
#include "common/clock.h"

#include <assert.h>
#include <jansson.h>

void
actuator_task(
	struct actuator *actuator, const char *name, task_fn *fn, void *arg)
{
	assert(actuator->n_tasks < ACTUATOR_TASKS_MAX);
	actuator->tasks[actuator->n_tasks++] =
		(struct actuator_named_task){ name, fn, arg };
}

/* Spring's lastExecution, with its age and how long it took. */
static json_t *
last_json(const struct actuator_task *task)
{
	const bool failed = task->error[0] != '\0';
	char time[CLOCK_RFC3339_SIZE];

	clock_format_rfc3339(
		clock_wall_ms() - task->last_age_ns / NS_PER_MS, time);
	json_t *json = json_pack("{s:s, s:s, s:I}", "time", time, "status",
		failed ? "ERROR" : "SUCCESS", "ageMs",
		(json_int_t)(task->last_age_ns / NS_PER_MS));
	if (task->last_took_ns >= 0)
		(void)json_object_set_new(json, "tookMs",
			json_integer(
				(json_int_t)(task->last_took_ns / NS_PER_MS)));
	if (failed)
		(void)json_object_set_new(json, "exception",
			json_pack("{s:s}", "message", task->error));
	return json;
}

static json_t *
task_json(const struct actuator_named_task *named, struct actuator_task *task)
{
	json_t *details = json_object();

	*task = (struct actuator_task){ .last_age_ns = -1, .last_took_ns = -1 };
	named->fn(named->arg, task, details);
	json_t *json =
		json_pack("{s:{s:s}}", "runnable", "target", named->name);
	if (task->interval_ns > 0)
		(void)json_object_set_new(json, "interval",
			json_integer(
				(json_int_t)(task->interval_ns / NS_PER_MS)));
	if (task->last_age_ns >= 0)
		(void)json_object_set_new(
			json, "lastExecution", last_json(task));
	(void)json_object_set_new(json, "details", details);
	return json;
}

/* Ours wait for their interval after the end of each run: fixedDelay. */
void
actuator_get_tasks(struct http_request *req)
{
	const struct actuator *actuator = actuator_of(req);
	json_t *delayed = json_array();
	json_t *custom = json_array();

	for (size_t i = 0; i < actuator->n_tasks; i++) {
		struct actuator_task task;
		json_t *json = task_json(&actuator->tasks[i], &task);

		(void)json_array_append_new(
			task.interval_ns > 0 ? delayed : custom, json);
	}
	actuator_reply(req, 200,
		json_pack("{s:[], s:o, s:[], s:o}", "cron", "fixedDelay",
			delayed, "fixedRate", "custom", custom));
}
