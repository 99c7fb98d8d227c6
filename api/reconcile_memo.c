/* SPDX-License-Identifier: MIT */
#include "api/reconcile_memo.h"

#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

/* uthash is macros: what clang-tidy counts below is their expansion. */
/* NOLINTBEGIN(readability-function-size,readability-function-cognitive-complexity,clang-analyzer-unix.Malloc) */

struct reconcile_memo *
reconcile_memos_recall(struct reconcile_memos *memos, int64_t coupon_id)
{
	struct reconcile_memo *memo;

	HASH_FIND(hh, memos->items, &coupon_id, sizeof(coupon_id), memo);
	if (memo == NULL) {
		memo = calloc(1, sizeof(*memo));
		if (memo == NULL)
			abort(); /* as little memory as this: start over */
		memo->coupon_id = coupon_id;
		HASH_ADD(hh, memos->items, coupon_id, sizeof(memo->coupon_id),
			memo);
	}
	memo->pass = memos->pass;
	return memo;
}

void
reconcile_memos_forget(struct reconcile_memos *memos)
{
	struct reconcile_memo *memo = memos->items;

	while (memo != NULL) {
		struct reconcile_memo *next = memo->hh.next;

		if (memo->pass != memos->pass) {
			HASH_DEL(memos->items, memo);
			free(memo);
		}
		memo = next;
	}
}

/* NOLINTEND(readability-function-size,readability-function-cognitive-complexity,clang-analyzer-unix.Malloc) */

/* The most that a slice showed; over after a round that showed nothing. */
bool
reconcile_memo_note(struct reconcile_memo *memo,
	const struct audit_findings *findings, uint32_t n_slices)
{
	bool wrong = false;
	bool round_ends = ++memo->turn % n_slices == 0;

	for (size_t i = 0; i < AUDIT_N_VIOLATIONS; i++) {
		memo->round[i] = MAX(memo->round[i], findings->counts[i]);
		memo->counts[i] = round_ends
					  ? memo->round[i]
					  : MAX(memo->counts[i], memo->round[i]);
		wrong |= memo->counts[i] > 0;
	}
	if (round_ends)
		memset(memo->round, 0, sizeof(memo->round));
	return wrong;
}

void
reconcile_memos_fini(struct reconcile_memos *memos)
{
	memos->pass++; /* which nobody has seen */
	reconcile_memos_forget(memos);
}
