/* SPDX-License-Identifier: MIT */
/*
 * columns - some items of a batch as the binary arrays that unnest() takes.
 *
 * Memory is reused from fill to fill.  One thread's.
 */
#ifndef CONSUMER_COLUMNS_H
#define CONSUMER_COLUMNS_H

#include "common/pg.h"

#include <stdbool.h>
#include <stddef.h>

struct batch;
struct batch_item;

enum column {
	COLUMN_COUPON,
	COLUMN_USER,
	COLUMN_SEQ,
	COLUMN_REQUEST,
	COLUMN_ACCEPTED,
	COLUMN_REASON, /* verdict_name() */
	COLUMNS
};

struct columns {
	struct pg_array arrays[COLUMNS];
	size_t n;
	size_t *items; /* where in the batch each element stands */
	size_t size;
};

typedef bool column_filter(const struct batch_item *item);

/* The items of [from, to) that `filter` takes, in their order. */
void columns_fill(struct columns *columns, const struct batch *batch,
	column_filter *filter, size_t from, size_t to);
void columns_free(struct columns *columns);

/*
 * Parameters: the first `n_columns` columns, then text.  `storage` must live
 * as long as `params` is used.
 */
#define COLUMN_PARAMS_MAX 16
struct column_params {
	const char *values[COLUMN_PARAMS_MAX];
	int lengths[COLUMN_PARAMS_MAX];
	int formats[COLUMN_PARAMS_MAX];
	int n;
	char numbers[8][24];
	int n_numbers;
	struct pg_params params;
};
void column_params_start(
	struct column_params *p, const struct columns *columns, int n_columns);
void column_params_text(struct column_params *p, const char *text);
void column_params_number(struct column_params *p, int64_t number);

#endif
