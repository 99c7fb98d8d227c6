/* SPDX-License-Identifier: MIT */
/*
 * issue_internal - what the files of the issue path share; for api/issue*.c
 * only.
 */
#ifndef API_ISSUE_INTERNAL_H
#define API_ISSUE_INTERNAL_H

#include "api/admission.h"
#include "api/event_loader.h"
#include "api/issue_verdict.h"
#include "api/pipeline.h"
#include "api/scripts.h"
#include "api/worker.h"
#include "common/message.h"

#include <stdbool.h>
#include <stdint.h>

struct api_loop;
struct http_request;

#define TRACEPARENT_SIZE 56 /* 00-32-16-02 */

/* One request on its way; issue.c says how long it lives. */
struct issue {
	struct issue *prev, *next; /* in the loop's spare or waiting list */
	struct api_loop *loop;
	struct http_request *req; /* NULL once answered */
	int64_t coupon_id;
	int64_t user_id;
	char user[24];
	char outbox_limit[24];
	char request_id[REQUEST_ID_MAX + 1];
	char traceparent[TRACEPARENT_SIZE]; /* "" if none */
	bool has_key;
	bool submitted; /* the pipeline has its command */
	bool loaded;    /* the worker has asked PostgreSQL already */
	int64_t deadline_ns;
	int64_t resume_at_ns; /* waits for its permit; 0: it does not */
	struct admission_permit permit;
	struct event_keys keys;
	int64_t keys_of;         /* the coupon of `keys`; 0: none yet */
	int64_t outbox_limit_of; /* the number in `outbox_limit` */
	struct redis_command command;
	struct worker_job job;
	enum event_load load;
};

/*
 * issue_request.c: read the request into `issue`; false: it was answered 400.
 * Sets everything a command needs, but not `req`.
 */
bool issue_fill(struct issue *issue, struct http_request *req);

/* issue_answer.c: answer issue->req (which becomes NULL) and count it. */
void issue_answer(struct issue *issue, const struct issue_verdict *verdict,
	const struct issue_reply *reply);

/* issue.c: its permit has become valid. */
void issue_resume(struct issue *issue);

/* issue_wait.c: into the list until now + permit.wait_ns, and out of it. */
void issue_wait(struct issue *issue);
void issue_wait_cancel(struct issue *issue);
bool issue_wait_is_over(const struct issue *issue);

#endif
