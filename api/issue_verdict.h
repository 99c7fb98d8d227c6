/* SPDX-License-Identifier: MIT */
/*
 * issue_verdict - what the end of an issue command means to the client.
 *
 * The heart of DESIGN 2 and 5 as one pure function: accepted, refused (no
 * trace in Redis) or unknown (a copy may have run, or may still run).
 * Stateless; any thread.
 */
#ifndef API_ISSUE_VERDICT_H
#define API_ISSUE_VERDICT_H

#include "common/error.h"

#include <stdbool.h>

struct issue_reply;

/* The tag `outcome` of coupon.issue. */
/* clang-format off */
#define ISSUE_OUTCOMES(X) \
	X(ACCEPTED)       \
	X(ALREADY_ISSUED) \
	X(REJECTED)       \
	X(SOLD_OUT)       \
	X(NOT_OPEN)       \
	X(CLOSED)         \
	X(NOT_FOUND)      \
	X(RATE_LIMITED)   \
	X(REFUSED)        \
	X(UNKNOWN)
/* clang-format on */

enum issue_outcome {
#define X(name) ISSUE_OUTCOME_##name,
	ISSUE_OUTCOMES(X)
#undef X
		N_ISSUE_OUTCOMES,
};

const char *issue_outcome_name(enum issue_outcome outcome);

/* How the command ended. */
struct issue_end {
	bool sent; /* a copy may have reached Redis */
	bool sent_twice;
	const struct issue_reply *reply; /* the script's word, or NULL: */
	bool answered;                   /* Redis answered with an error */
	enum error_kind error;
};

struct issue_verdict {
	enum issue_outcome outcome;
	const char *reason; /* of a 503 (REFUSED, UNKNOWN), else NULL */
	/* For the breaker: neither is a success. */
	bool redis_failed;  /* counts as a failure */
	bool redis_untried; /* nothing is learned of Redis */
};

/*
 * NOT_FOUND means "Redis does not have the event": whether it exists is
 * PostgreSQL's to say.
 */
struct issue_verdict issue_judge(const struct issue_end *end);

/* What the script's word says of the stock. */
enum issue_stock {
	ISSUE_STOCK_UNHEARD, /* there was no word */
	ISSUE_STOCK_UNTOLD, /* an earlier answer again: the stock was not read */
	ISSUE_STOCK_SOLD_OUT,
	ISSUE_STOCK_OTHER, /* there is some, or it is not what matters now */
};
enum issue_stock issue_stock_of(const struct issue_reply *reply);

/* The `reason` a client is told for an error: one of DESIGN 9's. */
const char *unavailable_reason(enum error_kind kind);

/* The same for an error that came from PostgreSQL or its pool. */
const char *database_reason(enum error_kind kind);

#endif
