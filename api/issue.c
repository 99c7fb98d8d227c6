/* SPDX-License-Identifier: MIT */
#include "api/issue.h"

#include "api/api.h"
#include "api/dispatch.h"
#include "api/issue_internal.h"
#include "api/producer.h"
#include "api/reply.h"
#include "common/clock.h"
#include "common/http.h"
#include "common/log.h"

#include <assert.h>

/*
 * DESIGN
 *
 * A struct issue outlives its HTTP request where it must: the deadline may
 * pass while the command is in flight, and what Redis says afterwards still
 * counts (an acceptance goes to Kafka, whoever listens).  So it is not the
 * request's memory but comes from the loop's spare list; `req` is NULL once
 * the client has his answer.  It ends in finish(), exactly once, when
 * neither the pipeline nor the worker nor the
 * list of those that wait for a permit holds it.
 *
 * The pipeline answers overdue commands itself; on_deadline() is for a request
 * whose event is being loaded, and the last resort.
 */

/* Finished ones kept per loop: about as many as are in flight at a peak. */
#define SPARE_MAX 1024
/* How long "no such event" is answered without asking again. */
#define UNKNOWN_NS (500 * NS_PER_MS)

static struct issue *
issue_new(struct api_loop *loop)
{
	struct issue *issue = loop->spare;

	if (issue == NULL) {
		issue = calloc(1, sizeof(*issue));
	} else {
		loop->spare = issue->next;
		loop->n_spare--;
	}
	if (issue != NULL) {
		issue->loop = loop;
		issue->req = NULL;
		issue->loaded = false;
		issue->submitted = false;
		issue->resume_at_ns = 0;
	}
	return issue;
}

static void
issue_free(struct issue *issue)
{
	struct api_loop *loop = issue->loop;

	assert(issue->req == NULL);
	if (loop->n_spare == SPARE_MAX) {
		free(issue);
		return;
	}
	issue->next = loop->spare;
	loop->spare = issue;
	loop->n_spare++;
}

static void on_reply(struct redis_command *command,
	const struct redisReply *reply, const struct error *err);

static void
submit(struct issue *issue)
{
	struct redis_command *command = &issue->command;
	const char *const args[] = { issue->outbox_limit, issue->user,
		issue->request_id };

	command_init(
		command, SCRIPT_ISSUE, &issue->keys, args, ARRAY_SIZE(args));
	command->n_common = SCRIPT_ISSUE_KEYS + 1;
	command->coupon_id = issue->coupon_id;
	command->deadline_ns = issue->deadline_ns;
	command->done = on_reply;
	issue->submitted = true;
	pipeline_submit(issue->loop->pipeline, command);
}

/* Accepted: into Kafka with it, whether or not the client still listens. */
static void
forward(struct issue *issue, const struct issue_reply *reply)
{
	struct message message = {
		.coupon_id = issue->coupon_id,
		.user_id = issue->user_id,
		.seq = reply->entry.seq,
		.accepted_at_ms = reply->entry.accepted_at_ms,
	};

	seen_note(&issue->loop->seen, message.coupon_id, message.seq);
	/* A copy that got the earlier answer has been forwarded, unless that
	 * answer was ours and got lost; otherwise the relay sees to it. */
	if (reply->earlier && !issue->command.sent_twice)
		return;
	memcpy(message.request_id, issue->request_id,
		sizeof(message.request_id));
	(void)producer_send(issue->loop->api->producer, &message,
		issue->traceparent[0] != '\0' ? issue->traceparent : NULL);
}

static void
report(struct issue *issue, const struct issue_verdict *verdict)
{
	if (verdict->redis_untried) {
		admission_forget(issue->loop->api->admission, &issue->permit);
		return;
	}
	admission_report(issue->loop->api->admission, &issue->permit,
		http_loop_now_ns(issue->loop->loop),
		verdict->redis_failed ? BREAKER_FAILURE : BREAKER_SUCCESS);
}

/* An admitted request comes to its end, once. */
static void
finish(struct issue *issue, const struct issue_verdict *verdict,
	const struct issue_reply *reply)
{
	report(issue, verdict);
	if (verdict->outcome == ISSUE_OUTCOME_ACCEPTED) {
		assert(reply != NULL);
		forward(issue, reply);
	}
	if (issue->req != NULL)
		issue_answer(issue, verdict, reply);
	issue_free(issue);
}

static int
load_run(struct worker_job *job, struct error *err)
{
	struct issue *issue = container_of(job, struct issue, job);

	return event_load(&issue->loop->api->loader, issue->coupon_id,
		job->deadline_ns, &issue->load, err);
}

static void
load_done(struct worker_job *job)
{
	struct issue *issue = container_of(job, struct issue, job);
	struct issue_verdict verdict = { .outcome = ISSUE_OUTCOME_REFUSED };

	if (job->rc != 0) {
		verdict.reason = unavailable_reason(job->err.kind);
		LOG_WARN("event not loaded",
			LOG_INT("coupon", issue->coupon_id),
			LOG_ERR(&job->err));
	} else if (issue->load == EVENT_LOADED && issue->req != NULL) {
		submit(issue);
		return;
	} else if (issue->load == EVENT_LOADED) {
		/* Refused when its deadline passed: nothing may follow. */
		admission_forget(issue->loop->api->admission, &issue->permit);
		issue_free(issue);
		return;
	} else if (issue->load == EVENT_UNKNOWN) {
		verdict.outcome = ISSUE_OUTCOME_NOT_FOUND;
		latch_arm(&issue->loop->unknown, issue->coupon_id,
			http_loop_now_ns(issue->loop->loop), UNKNOWN_NS);
	} else {
		verdict.reason = "FENCED";
	}
	finish(issue, &verdict, NULL);
}

static void
load(struct issue *issue)
{
	struct error err;

	issue->loaded = true;
	issue->job = (struct worker_job){
		.loop = issue->loop->loop,
		.deadline_ns = issue->deadline_ns,
		.run = load_run,
		.done = load_done,
	};
	int rc = worker_submit(issue->loop->api->worker, &issue->job, &err);
	if (rc == 0)
		return;
	const struct issue_verdict verdict = {
		.outcome = ISSUE_OUTCOME_REFUSED,
		.reason = unavailable_reason(err.kind),
	};
	finish(issue, &verdict, NULL);
}

static void
tell_latch(const struct issue *issue, const struct issue_reply *reply)
{
	const struct api_loop *loop = issue->loop;

	admission_heard(loop->api->admission, issue->coupon_id, &issue->permit,
		http_loop_now_ns(loop->loop),
		reply != NULL ? issue_stock_of(reply) : ISSUE_STOCK_UNHEARD);
}

/* The command ended: Redis answered, or will not. */
static void
on_reply(struct redis_command *command, const struct redisReply *reply,
	const struct error *err)
{
	struct issue *issue = container_of(command, struct issue, command);
	struct issue_reply parsed;
	struct issue_end end = {
		.sent = command->sent,
		.sent_twice = command->sent_twice,
		.answered = reply != NULL,
		.error = err != NULL ? err->kind : ERROR_NONE,
	};

	if (err == NULL && issue_reply_parse(reply, &parsed) == 0)
		end.reply = &parsed;
	else if (err == NULL)
		end.error = ERROR_REDIS_ERROR;
	else
		LOG_WARN("issue command failed",
			LOG_INT("coupon", issue->coupon_id),
			LOG_STR("request", issue->request_id), LOG_ERR(err));
	issue->submitted = false;
	tell_latch(issue, end.reply);
	struct issue_verdict verdict = issue_judge(&end);
	if (verdict.outcome != ISSUE_OUTCOME_NOT_FOUND) {
		finish(issue, &verdict, end.reply);
	} else if (!issue->loaded) {
		load(issue);
	} else { /* loaded a moment ago and gone again: Redis forgets */
		verdict.outcome = ISSUE_OUTCOME_REFUSED;
		verdict.reason = "FENCED";
		finish(issue, &verdict, NULL);
	}
}

static bool
is_known_absent(const struct issue *issue)
{
	const struct api_loop *loop = issue->loop;

	return latch_is_armed(
		&loop->unknown, issue->coupon_id, http_loop_now_ns(loop->loop));
}

/* It was admitted, or was not. */
static void
on_verdict(struct issue *issue, enum admission_verdict admission)
{
	struct issue_verdict verdict = { .outcome = ISSUE_OUTCOME_NOT_FOUND };

	switch (admission) {
	case ADMISSION_OK:
		if (!is_known_absent(issue)) {
			submit(issue);
			return;
		}
		admission_forget(issue->loop->api->admission, &issue->permit);
		break;
	case ADMISSION_WAIT:
		issue_wait(issue);
		return;
	case ADMISSION_SOLD_OUT:
		verdict.outcome = ISSUE_OUTCOME_SOLD_OUT;
		break;
	case ADMISSION_RATE_LIMITED:
		verdict.outcome = ISSUE_OUTCOME_RATE_LIMITED;
		break;
	case ADMISSION_BREAKER_OPEN:
		verdict.outcome = ISSUE_OUTCOME_REFUSED;
		verdict.reason = "BREAKER_OPEN";
		break;
	}
	issue_answer(issue, &verdict, NULL);
	issue_free(issue);
}

static struct admission_request
admission_request(const struct issue *issue)
{
	return (struct admission_request){
		.coupon_id = issue->coupon_id,
		.has_key = issue->has_key,
		.now_ns = http_loop_now_ns(issue->loop->loop),
		.deadline_ns = issue->deadline_ns,
	};
}

void
issue_resume(struct issue *issue)
{
	const struct admission_request request = admission_request(issue);

	on_verdict(issue, admission_resume(issue->loop->api->admission,
				  &request, &issue->permit));
}

/*
 * The kit calls this when nobody has answered in time.  A command that the
 * pipeline has may be on its way out at this very moment, whatever its `sent`
 * says: only without one nothing can be left behind.
 */
static void
on_deadline(struct http_request *req)
{
	struct issue *issue = http_request_user(req);
	const struct issue_verdict verdict = {
		.outcome = issue->submitted ? ISSUE_OUTCOME_UNKNOWN
					    : ISSUE_OUTCOME_REFUSED,
		.reason = "TIMEOUT",
	};

	issue_answer(issue, &verdict, NULL);
	if (issue_wait_is_over(issue))
		return; /* the pipeline or the worker has it */
	issue_wait_cancel(issue);
	admission_cancel(issue->loop->api->admission, &issue->permit);
	issue_free(issue);
}

void
issue_post(struct http_request *req)
{
	struct api_loop *loop = api_loop_of(req);
	struct issue *issue = issue_new(loop);

	if (issue == NULL) {
		reply_unavailable(req, "BUSY", "REFUSED");
		return;
	}
	if (!issue_fill(issue, req)) {
		issue_free(issue);
		return;
	}
	issue->req = req;
	http_request_set_user(req, issue);
	http_request_on_deadline(req, on_deadline);
	const struct admission_request request = admission_request(issue);
	on_verdict(issue, admission_enter(loop->api->admission, &request,
				  &issue->permit));
}

void
issue_loop_stop(struct api_loop *loop)
{
	const struct issue_verdict closing = {
		.outcome = ISSUE_OUTCOME_REFUSED,
		.reason = "DRAINING",
	};

	while (loop->waiting != NULL) {
		struct issue *issue = loop->waiting;
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it left the list */
		issue_wait_cancel(issue);
		admission_cancel(loop->api->admission, &issue->permit);
		issue_answer(issue, &closing, NULL);
		issue_free(issue);
	}
}

void
issue_loop_fini(struct api_loop *loop)
{
	while (loop->spare != NULL) {
		struct issue *issue = loop->spare;
		loop->spare = issue->next;
		free(issue);
	}
	loop->n_spare = 0;
}
