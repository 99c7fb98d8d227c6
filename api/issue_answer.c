/* SPDX-License-Identifier: MIT */
#include "api/api.h"
#include "api/issue.h"
#include "api/issue_internal.h"
#include "api/reply.h"
#include "common/clock.h"
#include "common/http.h"
#include "common/jitter.h"
#include "common/json.h"
#include "common/metrics.h"

#include <assert.h>
#include <sys/param.h>

static const struct metric_family issue_family METRIC_FAMILY = {
	.name = "coupon.issue",
	.kind = METRIC_COUNTER,
	.description = "Issue requests by what became of them.",
	.tags = "outcome",
};

struct issue_meters {
	struct counter *outcomes[N_ISSUE_OUTCOMES];
};

struct issue_meters *
issue_meters_new(struct metrics *metrics)
{
	struct issue_meters *meters = calloc(1, sizeof(*meters));

	if (meters == NULL)
		abort();
	for (enum issue_outcome i = 0; i < N_ISSUE_OUTCOMES; i++)
		meters->outcomes[i] = metrics_counter(metrics, &issue_family,
			METRIC_TAGS({ "outcome", issue_outcome_name(i) }));
	return meters;
}

void
issue_meters_free(struct issue_meters *meters)
{
	free(meters);
}

static void
count(struct api_loop *loop, enum issue_outcome outcome)
{
	counter_add(loop->api->issue_meters->outcomes[outcome], 1);
}

static struct http_request *
take_request(struct issue *issue)
{
	struct http_request *req = issue->req;

	issue->req = NULL;
	return req;
}

static void
answer_accepted(struct issue *issue, int64_t seq)
{
	char buf[REQUEST_ID_MAX + 80];
	struct json_text body;
	struct http_request *req = take_request(issue);

	json_text_init(&body, buf, sizeof(buf));
	json_text_member(&body, "requestId", issue->request_id);
	json_text_member(&body, "status", "PENDING");
	json_text_number(&body, "seq", seq);
	size_t len = json_text_end(&body);
	reply_location(
		req, issue->coupon_id, issue->user_id, issue->request_id);
	http_reply(req, 202, "application/json", buf, len);
}

/* Rounded up, and at least one: "0" would mean "at once". */
static int
whole_seconds(int64_t ns)
{
	int64_t seconds = (ns + NS_PER_S - 1) / NS_PER_S;

	return (int)MIN(MAX(seconds, 1), INT32_MAX);
}

static void
answer_refusal(struct issue *issue, enum issue_outcome outcome,
	const struct issue_reply *reply)
{
	static const enum problem problems[] = {
		[ISSUE_OUTCOME_ALREADY_ISSUED] = PROBLEM_ALREADY_ISSUED,
		[ISSUE_OUTCOME_REJECTED] = PROBLEM_REJECTED,
		[ISSUE_OUTCOME_SOLD_OUT] = PROBLEM_SOLD_OUT,
		[ISSUE_OUTCOME_NOT_OPEN] = PROBLEM_NOT_OPEN,
		[ISSUE_OUTCOME_CLOSED] = PROBLEM_CLOSED,
		[ISSUE_OUTCOME_NOT_FOUND] = PROBLEM_COUPON_NOT_FOUND,
		[ISSUE_OUTCOME_RATE_LIMITED] = PROBLEM_RATE_LIMITED,
	};
	struct problem_detail detail = {
		.outcome = "REFUSED",
		.request_id = issue->request_id,
	};
	struct http_request *req = take_request(issue);

	assert((size_t)outcome < ARRAY_SIZE(problems));
	if (outcome == ISSUE_OUTCOME_ALREADY_ISSUED) {
		detail.request_id = reply->entry.request_id;
		reply_location(req, issue->coupon_id, issue->user_id,
			reply->entry.request_id);
	} else if (outcome == ISSUE_OUTCOME_REJECTED) {
		detail.reason = reply->rejection.reason;
	} else if (outcome == ISSUE_OUTCOME_RATE_LIMITED) {
		detail.retry_after_s = issue->permit.retry_after_s;
	} else if (outcome == ISSUE_OUTCOME_NOT_OPEN) {
		detail.retry_after_s = whole_seconds(
			(reply->opens_at_ms - reply->now_ms) * NS_PER_MS);
	}
	http_reply_problem(req, problems[outcome], &detail);
}

static void
answer_unavailable(struct issue *issue, const struct issue_verdict *verdict)
{
	const int retry_after_s = issue->permit.retry_after_s;
	const struct problem_detail detail = {
		.reason = verdict->reason,
		.outcome = issue_outcome_name(verdict->outcome),
		.request_id = issue->request_id,
		.retry_after_s = retry_after_s > 0 ? retry_after_s
						   : jitter_retry_after_s(),
	};
	struct http_request *req = take_request(issue);

	if (verdict->outcome == ISSUE_OUTCOME_UNKNOWN)
		reply_location(req, issue->coupon_id, issue->user_id,
			issue->request_id);
	http_reply_problem(req, PROBLEM_SERVICE_UNAVAILABLE, &detail);
}

void
issue_answer(struct issue *issue, const struct issue_verdict *verdict,
	const struct issue_reply *reply)
{
	count(issue->loop, verdict->outcome);
	if (verdict->outcome == ISSUE_OUTCOME_ACCEPTED)
		answer_accepted(issue, reply->entry.seq);
	else if (verdict->reason != NULL)
		answer_unavailable(issue, verdict);
	else
		answer_refusal(issue, verdict->outcome, reply);
}
