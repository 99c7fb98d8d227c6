/* SPDX-License-Identifier: MIT */
#include "api/issue_verdict.h"

#include "api/scripts.h"

/*
 * DESIGN
 *
 *   never sent                     REFUSED: nobody can have run it
 *   sent once, script answered     what the script says
 *   sent once, Redis error reply   REFUSED: Redis refuses a #!lua script
 *                                  before its first line (OOM, READONLY ...)
 *   sent once, no answer           UNKNOWN
 *   sent twice                     the script's word only where it holds
 *                                  whatever the other copy did or will do;
 *                                  anything else: UNKNOWN
 */

static const char *const outcome_names[N_ISSUE_OUTCOMES] = {
#define X(name) [ISSUE_OUTCOME_##name] = #name,
	ISSUE_OUTCOMES(X)
#undef X
};

static const struct {
	const char *reason;
	enum issue_outcome outcome;
	bool final_if_sent_twice;
} by_status[] = {
	[ISSUE_ACCEPTED] = { NULL, ISSUE_OUTCOME_ACCEPTED, true },
	[ISSUE_DUPLICATE] = { NULL, ISSUE_OUTCOME_ALREADY_ISSUED, true },
	[ISSUE_REJECTED] = { NULL, ISSUE_OUTCOME_REJECTED, false },
	[ISSUE_SOLD_OUT] = { NULL, ISSUE_OUTCOME_SOLD_OUT, false },
	[ISSUE_NOT_OPEN] = { NULL, ISSUE_OUTCOME_NOT_OPEN, false },
	[ISSUE_CLOSED] = { NULL, ISSUE_OUTCOME_CLOSED, true },
	[ISSUE_OUTBOX_FULL] = { "OUTBOX_FULL", ISSUE_OUTCOME_REFUSED, false },
	[ISSUE_FENCED] = { "FENCED", ISSUE_OUTCOME_REFUSED, false },
	[ISSUE_MISSING] = { NULL, ISSUE_OUTCOME_NOT_FOUND, false },
};

const char *
issue_outcome_name(enum issue_outcome outcome)
{
	return outcome_names[outcome];
}

/* Our own doing, or an operator's: it says nothing of Redis. */
static bool
is_untried(enum error_kind kind)
{
	return kind == ERROR_CLOSED || kind == ERROR_SUSPENDED;
}

static struct issue_verdict
judge_error(const struct issue_end *end)
{
	bool refused = !end->sent || (end->answered && !end->sent_twice);

	return (struct issue_verdict){
		.outcome =
			refused ? ISSUE_OUTCOME_REFUSED : ISSUE_OUTCOME_UNKNOWN,
		.reason = unavailable_reason(end->error),
		.redis_failed =
			!is_untried(end->error) && end->error != ERROR_FENCED,
		.redis_untried = is_untried(end->error),
	};
}

struct issue_verdict
issue_judge(const struct issue_end *end)
{
	if (end->reply == NULL)
		return judge_error(end);

	struct issue_verdict verdict = {
		.outcome = by_status[end->reply->status].outcome,
		.reason = by_status[end->reply->status].reason,
	};
	if (end->sent_twice &&
		!by_status[end->reply->status].final_if_sent_twice) {
		verdict.outcome = ISSUE_OUTCOME_UNKNOWN;
		if (verdict.reason == NULL)
			verdict.reason = "CONNECTION_LOST";
	}
	return verdict;
}

enum issue_stock
issue_stock_of(const struct issue_reply *reply)
{
	if (reply->status == ISSUE_SOLD_OUT)
		return ISSUE_STOCK_SOLD_OUT;
	if (reply->status == ISSUE_DUPLICATE ||
		reply->status == ISSUE_REJECTED || reply->earlier)
		return ISSUE_STOCK_UNTOLD;
	return ISSUE_STOCK_OTHER;
}

const char *
unavailable_reason(enum error_kind kind)
{
	switch (kind) {
	case ERROR_EXHAUSTED:
	case ERROR_QUEUE_FULL:
		return "EXHAUSTED";
	case ERROR_CONNECT_FAILING:
		return "CONNECT_FAILING";
	case ERROR_SUSPENDED:
		return "SUSPENDED";
	case ERROR_TIMEOUT:
	case ERROR_CANCELLED:
		return "TIMEOUT";
	case ERROR_CONNECTION_LOST:
		return "CONNECTION_LOST";
	case ERROR_REDIS_ERROR:
		return "REDIS_ERROR";
	case ERROR_DATABASE_DOWN:
	case ERROR_DATABASE_ERROR:
		return "DATABASE_DOWN";
	case ERROR_CLOSED:
		return "DRAINING";
	case ERROR_FENCED:
		return "FENCED";
	default:
		return "BUSY";
	}
}

const char *
database_reason(enum error_kind kind)
{
	if (kind == ERROR_CONNECT_FAILING || kind == ERROR_SUSPENDED)
		return "DATABASE_DOWN";
	return unavailable_reason(kind);
}
