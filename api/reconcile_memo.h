/* SPDX-License-Identifier: MIT */
/*
 * reconcile_memo - what the reconciler remembers of each event from pass to
 * pass.
 *
 * Zero-initialised; one thread.
 */
#ifndef API_RECONCILE_MEMO_H
#define API_RECONCILE_MEMO_H

#include "api/audit_findings.h"

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

/* What is remembered of an event from pass to pass. */
struct reconcile_memo {
	UT_hash_handle hh; /* in `items` */
	int64_t coupon_id;
	uint64_t pass;         /* the last one that saw the event */
	int64_t not_before_ns; /* the next look, whatever it counts */
	int64_t next_full_ns, next_rebuild_ns;
	uint32_t turn; /* of looks: each sees one slice of a big event */
	/* What was seen last, and in this round of slices until now. */
	uint64_t counts[AUDIT_N_VIOLATIONS];
	uint64_t round[AUDIT_N_VIOLATIONS];
};

struct reconcile_memos {
	struct reconcile_memo *items;
	uint64_t pass; /* the present one: raised by the owner */
};

/* The event's, made if there is none; seen in this pass.  Aborts when out of
 * memory. */
struct reconcile_memo *reconcile_memos_recall(
	struct reconcile_memos *memos, int64_t coupon_id);

/* A look's findings come in.  False: the event shows no violation. */
bool reconcile_memo_note(struct reconcile_memo *memo,
	const struct audit_findings *findings, uint32_t n_slices);

/* Drop the events that this pass has not seen; drop all. */
void reconcile_memos_forget(struct reconcile_memos *memos);
void reconcile_memos_fini(struct reconcile_memos *memos);

#endif
