/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * Every request that anybody knows gets one record, found by user and request
 * id, with a flag per place that has it; every user gets one with his row and
 * his entry in Redis.  Judging is then a table of flags.
 *
 * While the service runs, the places are read one after the other in the
 * order in which a request goes through them: first Redis (the figures, free
 * numbers, users, then the outbox), then PostgreSQL with the consumer's
 * offsets in one snapshot, then Kafka from those offsets on.  A request that
 * has left a place when it is read is therefore found in a later one, so
 * what is missing everywhere is missing.  What was accepted after the first
 * look at Redis (as_of_ms, Redis's clock) is not judged: the users that were
 * read may lack it.  Only a rebuild breaks this order; the reader notices it
 * by the epoch and looks again.
 *
 * A record is some 250 bytes, so of a big event only a slice of the users
 * gets them, as the caller wishes; a number costs a few bits, of all users.
 *
 * Each number that is missing from what can be sold has one name: a holder
 * without a final state is LOST_ACCEPT, a rejected one STATE_MISMATCH, and
 * only a number that nobody holds is a LEAKED_SLOT.
 */
#include "api/audit.h"

#include "api/audit_records.h"
#include "api/number_set.h"

#include <malloc.h>

#include <sys/param.h>

struct audit {
	struct audit_begin begin;
	struct audit_records records;
	struct number_set taken; /* by whatever */
	struct number_set held, rows, free;
	int64_t n_rows; /* with a number in 1..total */
	bool without_kafka;
	struct audit_findings *findings;
};

/* ---- the records ---- */

struct audit *
audit_new(const struct audit_begin *begin, struct audit_findings *findings)
{
	struct audit *audit = calloc(1, sizeof(*audit));

	if (audit == NULL)
		return NULL;
	audit->begin = *begin;
	audit->findings = findings;
	number_set_init(&audit->taken, begin->total);
	number_set_init(&audit->held, begin->total);
	number_set_init(&audit->rows, begin->total);
	number_set_init(&audit->free, begin->total);
	return audit;
}

void
audit_free(struct audit *audit)
{
	if (audit == NULL)
		return;
	audit_records_fini(&audit->records);
	number_set_fini(&audit->taken);
	number_set_fini(&audit->held);
	number_set_fini(&audit->rows);
	number_set_fini(&audit->free);
	free(audit);
	/* A big event's records are tens of MB in small pieces, which glibc
	 * would keep for the next look. */
	(void)malloc_trim(0);
}

static bool
find(struct audit *audit, enum audit_case found, const struct message *message)
{
	struct audit_finding finding = {
		.found = found,
		.user_id = message->user_id,
		.seq = message->seq,
	};

	memcpy(finding.request_id, message->request_id,
		sizeof(finding.request_id));
	return audit_findings_add(audit->findings, &finding);
}

static bool
find_number(struct audit *audit, enum audit_case found, int64_t seq)
{
	return find(audit, found, &(struct message){ .seq = seq });
}

/* Neighbouring ids, and those that one service gives out, are spread. */
static bool
is_of_slice(const struct audit *audit, const struct message *message)
{
	uint64_t hash =
		(uint64_t)message->user_id * UINT64_C(0x9e3779b97f4a7c15);

	return audit->begin.n_slices <= 1 ||
	       (hash >> 32) % audit->begin.n_slices == audit->begin.slice;
}

static bool
hold_number(struct audit *audit, int64_t seq)
{
	return number_set_add(&audit->held, seq) &&
	       number_set_add(&audit->taken, seq);
}

bool
audit_add_holder(struct audit *audit, const struct message *holder)
{
	struct audit_request *request;

	/* A scan may show it twice: his own slice tells that from a twin. */
	if (!is_of_slice(audit, holder))
		return hold_number(audit, holder->seq);
	request = audit_records_provide(&audit->records, holder);
	if (request == NULL)
		return false;
	if ((request->flags & HELD) != 0)
		return true; /* a scan may show it twice */
	request->flags |= HELD;
	request->held_seq = holder->seq;
	request->user->holder = request;
	if (number_set_has(&audit->held, holder->seq) &&
		!find(audit, AUDIT_CASE_NUMBER_HELD_TWICE, holder))
		return false;
	return hold_number(audit, holder->seq);
}

bool
audit_add_rejected(struct audit *audit, const struct message *message)
{
	struct audit_request *request;

	if (!is_of_slice(audit, message))
		return true;
	request = audit_records_provide(&audit->records, message);
	if (request == NULL)
		return false;
	request->flags |= REJECTED_THERE;
	return true;
}

bool
audit_add_pending(
	struct audit *audit, const struct message *entry, int64_t score_ms)
{
	static const struct message unreadable;
	struct audit_request *request = NULL;

	if (entry != NULL && !is_of_slice(audit, entry))
		return true;
	if (entry != NULL)
		request = audit_records_find(&audit->records, entry);
	if (request != NULL && (request->flags & HELD) != 0 &&
		request->held_seq == entry->seq) {
		request->flags |= PENDING;
		return true;
	}
	if (!audit->begin.at_rest && score_ms >= audit->begin.as_of_ms)
		return true;
	return find(audit, AUDIT_CASE_PENDING_ORPHAN,
		entry == NULL ? &unreadable : entry);
}

bool
audit_add_free(struct audit *audit, int64_t seq)
{
	if (seq >= audit->begin.next &&
		!find_number(audit, AUDIT_CASE_FREE_AHEAD, seq))
		return false;
	return number_set_add(&audit->free, seq) &&
	       number_set_add(&audit->taken, seq);
}

/* The keys of PostgreSQL forbid both, as long as they are there. */
static bool
find_twins(struct audit *audit, const struct audit_user *user,
	const struct message *row)
{
	if (user->row != NULL && !find(audit, AUDIT_CASE_USER_TWICE, row))
		return false;
	return !number_set_has(&audit->rows, row->seq) ||
	       find(audit, AUDIT_CASE_NUMBER_TWICE, row);
}

static bool
count_row(struct audit *audit, int64_t seq)
{
	audit->n_rows += seq >= 1 && seq <= audit->begin.total;
	return number_set_add(&audit->rows, seq) &&
	       number_set_add(&audit->taken, seq);
}

bool
audit_add_row(struct audit *audit, const struct message *row)
{
	struct audit_request *request;

	if (!is_of_slice(audit, row))
		return count_row(audit, row->seq);
	request = audit_records_provide(&audit->records, row);
	if (request == NULL || !find_twins(audit, request->user, row))
		return false;
	if ((request->flags & ROW) == 0)
		request->row_seq = row->seq;
	if (request->user->row == NULL)
		request->user->row = request;
	request->flags |= ROW;
	return count_row(audit, row->seq);
}

bool
audit_add_rejection(struct audit *audit, const struct message *message)
{
	struct audit_request *request;

	if (!is_of_slice(audit, message))
		return true;
	request = audit_records_provide(&audit->records, message);
	if (request == NULL)
		return false;
	request->flags |= REJECTION;
	return true;
}

bool
audit_add_message(
	struct audit *audit, const struct message *message, bool consumed)
{
	struct audit_request *request;

	if (!consumed && !number_set_add(&audit->taken, message->seq))
		return false;
	if (!is_of_slice(audit, message))
		return true;
	request = audit_records_provide(&audit->records, message);
	if (request == NULL)
		return false;
	request->flags |= consumed ? CONSUMED : WAITING;
	return true;
}

/* ---- judging ---- */

static bool
is_judged(const struct audit *audit, const struct audit_request *request)
{
	return audit->begin.at_rest ||
	       request->accepted_at_ms < audit->begin.as_of_ms;
}

static bool
is_final(const struct audit_request *request)
{
	return (request->flags & (ROW | REJECTION | REJECTED_THERE)) != 0;
}

/* Accepted, and no trace of it in Redis or PostgreSQL but its entry. */
static bool
is_missing(const struct audit *audit, const struct audit_request *request)
{
	/* With a row of the user's other request a rebuild settles it. */
	return !audit->without_kafka && (request->flags & HELD) != 0 &&
	       !is_final(request) && (request->flags & PENDING) == 0 &&
	       request->user->row == NULL && is_judged(audit, request);
}

/* The next number >= from that was given out and is nobody's, or 0. */
static int64_t
leaked_number(const struct audit *audit, int64_t from)
{
	int64_t end = MIN(audit->begin.next - 1, audit->begin.total);

	if (audit->begin.only_rows || audit->without_kafka)
		return 0;
	for (int64_t seq = from; seq <= end; seq++)
		if (!number_set_has(&audit->taken, seq))
			return seq;
	return 0;
}

bool
audit_needs_kafka(const struct audit *audit)
{
	for (const struct audit_request *request = audit->records.requests;
		request != NULL; request = request->hh.next)
		if (is_missing(audit, request))
			return true;
	return leaked_number(audit, 1) != 0;
}

void
audit_without_kafka(struct audit *audit)
{
	audit->without_kafka = true;
}

static bool
find_request_case(struct audit *audit, enum audit_case found,
	const struct audit_request *request, int64_t seq)
{
	struct message message = {
		.user_id = request->user->id,
		.seq = seq,
	};

	audit_request_id(request, message.request_id);
	return find(audit, found, &message);
}

/* What Redis should know of a row. */
static bool
judge_row(struct audit *audit, const struct audit_request *request)
{
	const struct audit_request *holder = request->user->holder;

	if (audit->begin.only_rows || !is_judged(audit, request) ||
		request->user->row != request)
		return true;
	if (holder == NULL)
		return find_request_case(audit, AUDIT_CASE_ROW_UNKNOWN, request,
			request->row_seq);
	if (holder != request || holder->held_seq != request->row_seq)
		return find_request_case(audit, AUDIT_CASE_ROW_DIFFERS, request,
			request->row_seq);
	return true;
}

static bool
judge_issued(struct audit *audit, const struct audit_request *request)
{
	int64_t seq = request->row_seq;

	if ((seq < 1 || seq > audit->begin.total) &&
		!find_request_case(
			audit, AUDIT_CASE_NUMBER_TOO_HIGH, request, seq))
		return false;
	if ((request->flags & REJECTION) != 0 &&
		!find_request_case(
			audit, AUDIT_CASE_ROW_AND_REJECTION, request, seq))
		return false;
	if ((request->flags & REJECTED_THERE) != 0 &&
		!find_request_case(
			audit, AUDIT_CASE_REJECTED_IN_REDIS, request, seq))
		return false;
	return judge_row(audit, request);
}

/* A request without a row: which state is it in, if any? */
static bool
judge_unissued(struct audit *audit, const struct audit_request *request)
{
	unsigned flags = request->flags;
	int64_t seq = request->held_seq;

	if ((flags & (REJECTION | HELD)) == (REJECTION | HELD))
		return find_request_case(
			audit, AUDIT_CASE_REJECTED_HOLDER, request, seq);
	if ((flags & (REJECTION | REJECTED_THERE)) == REJECTED_THERE)
		return find_request_case(
			audit, AUDIT_CASE_REJECTED_IN_REDIS, request, seq);
	if (is_final(request))
		return true;
	if ((flags & WAITING) != 0)
		return !audit->begin.at_rest ||
		       find_request_case(
			       audit, AUDIT_CASE_NOT_CONSUMED, request, seq);
	if (is_missing(audit, request))
		return find_request_case(audit, AUDIT_CASE_LOST, request, seq);
	if ((flags & (HELD | CONSUMED)) == CONSUMED &&
		is_judged(audit, request))
		return find_request_case(
			audit, AUDIT_CASE_MESSAGE_LOST, request, seq);
	return true;
}

static bool
is_stuck(const struct audit *audit, const struct audit_request *request)
{
	return (request->flags & PENDING) != 0 &&
	       (audit->begin.at_rest ||
		       audit->begin.as_of_ms - request->accepted_at_ms >
			       audit->begin.stuck_after_ms);
}

/* What is wrong with its place in Redis. */
static bool
judge_held(struct audit *audit, const struct audit_request *request)
{
	int64_t seq = request->held_seq;

	if (is_stuck(audit, request) &&
		!find_request_case(
			audit, AUDIT_CASE_PENDING_TOO_LONG, request, seq))
		return false;
	if (!is_judged(audit, request) ||
		(seq < audit->begin.next && !number_set_has(&audit->free, seq)))
		return true;
	return find_request_case(audit, AUDIT_CASE_GIVEN_AGAIN, request, seq);
}

static bool
judge_request(struct audit *audit, const struct audit_request *request)
{
	bool done = (request->flags & ROW) != 0
			    ? judge_issued(audit, request)
			    : judge_unissued(audit, request);

	return done &&
	       ((request->flags & HELD) == 0 || judge_held(audit, request));
}

bool
audit_judge(struct audit *audit)
{
	bool done = audit->n_rows <= audit->begin.total ||
		    find_number(audit, AUDIT_CASE_TOO_MANY_ROWS, 0);

	for (const struct audit_request *request = audit->records.requests;
		done && request != NULL; request = request->hh.next)
		done = judge_request(audit, request);
	for (int64_t seq = leaked_number(audit, 1); done && seq != 0;
		seq = leaked_number(audit, seq + 1))
		done = find_number(audit, AUDIT_CASE_NUMBER_LEAKED, seq);
	return done;
}
