/* SPDX-License-Identifier: MIT */
#include "api/api.h"
#include "api/issue.h"
#include "api/issue_internal.h"
#include "common/http.h"

#include <assert.h>
#include <utlist.h>

/*
 * DESIGN
 *
 * With ratelimiter.timeout-duration > 0 a request may have to wait for its
 * permit.  It does so in its loop's list, sorted by time; nobody blocks.  A
 * limiter reserves permits in order, so a newcomer's place is at the end, or
 * near it where single events have limits of their own.
 */

/* utlist is macros: what clang-tidy counts is their expansion. */
/* NOLINTBEGIN(readability-function-size,readability-function-cognitive-complexity) */
void
issue_wait(struct issue *issue)
{
	struct issue **list = &issue->loop->waiting;
	struct issue *before = *list != NULL ? (*list)->prev : NULL;

	issue->resume_at_ns =
		http_loop_now_ns(issue->loop->loop) + issue->permit.wait_ns;
	while (before != NULL && before->resume_at_ns > issue->resume_at_ns)
		before = before == *list ? NULL : before->prev;
	DL_APPEND_ELEM(*list, before, issue);
}

void
issue_wait_cancel(struct issue *issue)
{
	assert(issue->resume_at_ns != 0);
	DL_DELETE(issue->loop->waiting, issue);
	issue->resume_at_ns = 0;
}
/* NOLINTEND(readability-function-size,readability-function-cognitive-complexity) */

bool
issue_wait_is_over(const struct issue *issue)
{
	return issue->resume_at_ns == 0;
}

void
issue_loop_turn(struct api_loop *loop)
{
	int64_t now_ns = http_loop_now_ns(loop->loop);

	while (loop->waiting != NULL && loop->waiting->resume_at_ns <= now_ns) {
		struct issue *issue = loop->waiting;
		issue_wait_cancel(issue);
		issue_resume(issue);
	}
}

int64_t
issue_loop_next_ns(const struct api_loop *loop)
{
	return loop->waiting != NULL ? loop->waiting->resume_at_ns : INT64_MAX;
}
