/* SPDX-License-Identifier: MIT */
#include "api/dispatch.h"

#include "api/api.h"
#include "api/worker.h"
#include "common/clock.h"
#include "common/http.h"

#include <assert.h>
#include <sys/param.h>

#define STEP_MARGIN_NS (5 * NS_PER_MS)

static const int key_counts[SCRIPTS_COUNT] = {
#define X(id, file, keys) [SCRIPT_##id] = (keys),
	SCRIPTS(X)
#undef X
};

struct api_loop *
api_loop_of(const struct http_request *req)
{
	return http_loop_user(http_request_loop(req));
}

int64_t
step_deadline_ns(const struct http_request *req)
{
	int64_t deadline_ns = http_request_deadline_ns(req);
	int64_t whole_ns = deadline_ns - http_request_arrived_ns(req);

	return deadline_ns - MIN(STEP_MARGIN_NS, whole_ns / 10);
}

void
command_init(struct redis_command *command, enum script_id script,
	const struct event_keys *keys, const char *const *args, size_t n)
{
	command->script = &scripts[script];
	command->n_keys = key_counts[script];
	command->n_common = 0;
	command->argc = event_keys_to_argv(
		keys, key_counts[script], command->argv, command->argvlen);
	assert((size_t)command->argc + n <= REDIS_COMMAND_ARGS_MAX);
	for (size_t i = 0; i < n; i++) {
		command->argv[command->argc] = args[i];
		command->argvlen[command->argc++] = strlen(args[i]);
	}
}

int
dispatch_job(
	struct http_request *req, struct worker_job *job, struct error *err)
{
	const struct api *api = http_request_app(req);

	job->loop = http_request_loop(req);
	job->deadline_ns = step_deadline_ns(req);
	return worker_submit(api->worker, job, err);
}
