/* SPDX-License-Identifier: MIT */
/*
 * dispatch - hand a request's next step to Redis or to a worker, with the
 * deadline it has to keep.  On the request's loop.
 */
#ifndef API_DISPATCH_H
#define API_DISPATCH_H

#include "api/pipeline.h"
#include "api/scripts.h"
#include "common/compiler.h"

#include <stddef.h>
#include <stdint.h>

struct api_loop;
struct error;
struct http_request;
struct worker_job;

/* The loop's own things, which start_loop made. */
struct api_loop *api_loop_of(const struct http_request *req);

/*
 * When a step must have ended: a little before the request's own deadline,
 * so that its answer, which knows the cause, comes first.
 */
int64_t step_deadline_ns(const struct http_request *req);

/*
 * Fill a command: script, keys, arguments (all borrowed until its end).  The
 * caller sets coupon_id, deadline_ns and done, and submits it.
 */
void command_init(struct redis_command *command, enum script_id script,
	const struct event_keys *keys, const char *const *args, size_t n);

/*
 * job->run and job->done are set.  Not 0 (BUSY, CLOSED): neither will be
 * called.
 */
int dispatch_job(struct http_request *req, struct worker_job *job,
	struct error *err) NODISCARD;

#endif
