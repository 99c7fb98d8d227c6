/* SPDX-License-Identifier: MIT */
/*
 * audit_findings - what can be wrong with an event, and a list of what is.
 *
 * Plain memory, one thread.  The add function returns false when out of
 * memory.
 */
#ifndef API_AUDIT_FINDINGS_H
#define API_AUDIT_FINDINGS_H

#include "common/compiler.h"
#include "common/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUDIT_VIOLATIONS(X)                                                    \
	X(OVER_ISSUED)                                                         \
	X(DUPLICATE_USER)                                                      \
	X(DUPLICATE_NUMBER)                                                    \
	X(TWO_FINAL_STATES)                                                    \
	X(LOST_ACCEPT)                                                         \
	X(LEAKED_SLOT)                                                         \
	X(STUCK_PENDING)                                                       \
	X(ORPHAN_PENDING)                                                      \
	X(UNCONSUMED)                                                          \
	X(STATE_MISMATCH)                                                      \
	X(FENCED_TOO_LONG)

enum audit_violation {
#define X(id) AUDIT_##id,
	AUDIT_VIOLATIONS(X)
#undef X
		AUDIT_N_VIOLATIONS,
};

/* What ends a violation. */
enum audit_repair {
	AUDIT_BY_HAND, /* a person decides */
	AUDIT_WAIT,    /* relay, consumer or upkeep do it by themselves */
	AUDIT_SEND,    /* back into the outbox: the relay sends it again */
	AUDIT_REBUILD, /* a rebuild of the event in Redis */
};

/* Every way in which a violation shows: api/audit_case.def. */
enum audit_case {
#define CASE(id, ...) AUDIT_CASE_##id,
#include "api/audit_case.def"
#undef CASE
	AUDIT_N_CASES,
};

struct audit_case_info {
	enum audit_violation violation;
	enum audit_repair repair;
	const char *what; /* one clause, no full stop */
	const char *todo; /* for the person on call */
};
const struct audit_case_info *audit_case_info(enum audit_case found);
const char *audit_violation_name(enum audit_violation violation);

struct audit_finding {
	enum audit_case found;
	int64_t user_id;                     /* 0: none */
	int64_t seq;                         /* 0: none */
	char request_id[REQUEST_ID_MAX + 1]; /* "": none */
};

/* All are counted, the first AUDIT_FINDINGS_MAX kept. */
enum { AUDIT_FINDINGS_MAX = 10000 };
struct audit_findings {
	struct audit_finding *items; /* owned; audit_findings_fini() */
	size_t n, size;
	uint64_t counts[AUDIT_N_VIOLATIONS];
};
void audit_findings_fini(struct audit_findings *findings);
bool audit_findings_add(struct audit_findings *findings,
	const struct audit_finding *finding) NODISCARD;
/* By case, user and number. */
void audit_findings_sort(struct audit_findings *findings);
/* Keep only what `earlier` has as well; sorts both. */
void audit_findings_intersect(
	struct audit_findings *findings, struct audit_findings *earlier);

#endif
