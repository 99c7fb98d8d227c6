/* SPDX-License-Identifier: MIT */
/*
 * settle - the second half of writing a batch in which not every row went in:
 * find out why, and make it final together with the offset.
 */
#ifndef CONSUMER_SETTLE_H
#define CONSUMER_SETTLE_H

#include "common/compiler.h"

struct columns;
struct error;
struct write;

/*
 * Replace the verdict of every open item by what PostgreSQL knows of it, read
 * in one snapshot; an item that nothing speaks against stays open.  A row
 * younger than the batch counts as `inserted` by it.
 */
int settle_classify(struct columns *columns, const struct write *write,
	struct error *err) NODISCARD;

enum settle_result {
	SETTLE_DONE,     /* committed: rejections written, offset moved */
	SETTLE_NOT_MINE, /* rolled back: the offset is not as write->pos has it */
	SETTLE_REOPENED, /* rolled back: an item may be inserted after all */
};

/* No item may be open and no letter due. */
int settle_commit(struct columns *columns, const struct write *write,
	enum settle_result *ret, struct error *err) NODISCARD;

#endif
