/* SPDX-License-Identifier: MIT */
/*
 * audit - do Redis, Kafka and PostgreSQL agree on an event?
 *
 * Fed with what each of them holds, it names what violates the guarantees:
 * who, which number, which request, and what ends it.  Reading is
 * api/audit_look.h's business, acting on it the reconciler's.
 *
 * Plain memory, one thread.  The add functions return false when out of
 * memory; the audit is then good for audit_free() only.
 */
#ifndef API_AUDIT_H
#define API_AUDIT_H

#include "api/audit_findings.h"
#include "common/compiler.h"
#include "common/message.h"

#include <stdbool.h>
#include <stdint.h>

struct audit;

/* How things stood before anything below was read. */
struct audit_begin {
	int64_t total;    /* PostgreSQL's */
	bool only_rows;   /* Redis is not judged: it lacks the event */
	int64_t next;     /* the next new number in Redis */
	bool at_rest;     /* nothing is on its way: all is judged */
	int64_t as_of_ms; /* else nothing accepted from then on */
	int64_t stuck_after_ms;
	/* Only every n_slices-th user is remembered and judged, so that an
	 * event of any size fits; 0 or 1: all.  Numbers are judged anyway. */
	uint32_t n_slices, slice;
};
/* `findings` is borrowed and added to, by the add functions as well. */
struct audit *audit_new(
	const struct audit_begin *begin, struct audit_findings *findings);
void audit_free(struct audit *audit); /* NULL ok */

/* Redis: who holds a number, who was rejected, the outbox, free numbers. */
bool audit_add_holder(
	struct audit *audit, const struct message *holder) NODISCARD;
bool audit_add_rejected(
	struct audit *audit, const struct message *request) NODISCARD;
/* After the holders.  NULL: an entry that is none of ours. */
bool audit_add_pending(struct audit *audit, const struct message *entry,
	int64_t score_ms) NODISCARD;
bool audit_add_free(struct audit *audit, int64_t seq) NODISCARD;

/* PostgreSQL */
bool audit_add_row(struct audit *audit, const struct message *row) NODISCARD;
bool audit_add_rejection(
	struct audit *audit, const struct message *request) NODISCARD;

/*
 * Something is missing that may still lie in Kafka?  Only then do its
 * messages matter.
 */
bool audit_needs_kafka(const struct audit *audit);
/* It could not be read: what is missing is not judged. */
void audit_without_kafka(struct audit *audit);
/* `consumed`: it lies before the consumer's offset. */
bool audit_add_message(struct audit *audit, const struct message *message,
	bool consumed) NODISCARD;

/* Once, at the end. */
bool audit_judge(struct audit *audit) NODISCARD;

#endif
