/* SPDX-License-Identifier: MIT */
#include "consumer/columns.h"

#include "common/compiler.h"
#include "consumer/batch.h"

#include <assert.h>
#include <inttypes.h>

static const enum pg_array_type types[COLUMNS] = {
	[COLUMN_COUPON] = PG_ARRAY_INT8,
	[COLUMN_USER] = PG_ARRAY_INT8,
	[COLUMN_SEQ] = PG_ARRAY_INT8,
	[COLUMN_REQUEST] = PG_ARRAY_TEXT,
	[COLUMN_ACCEPTED] = PG_ARRAY_TIMESTAMPTZ,
	[COLUMN_REASON] = PG_ARRAY_TEXT,
};

static void
append(struct columns *columns, const struct batch_item *item)
{
	struct pg_array *arrays = columns->arrays;

	pg_array_int8(&arrays[COLUMN_COUPON], item->message.coupon_id);
	pg_array_int8(&arrays[COLUMN_USER], item->message.user_id);
	pg_array_int8(&arrays[COLUMN_SEQ], item->message.seq);
	pg_array_text(&arrays[COLUMN_REQUEST], item->message.request_id);
	pg_array_timestamp_ms(
		&arrays[COLUMN_ACCEPTED], item->message.accepted_at_ms);
	pg_array_text(&arrays[COLUMN_REASON], verdict_name(item->verdict));
}

void
columns_fill(struct columns *columns, const struct batch *batch,
	column_filter *filter, size_t from, size_t to)
{
	assert(from <= to && to <= batch->n);
	if (columns->size < batch->n) {
		free(columns->items);
		columns->items = calloc(batch->n, sizeof(*columns->items));
		if (columns->items == NULL)
			abort(); /* bounded by consumer.batch-size */
		columns->size = batch->n;
	}
	for (int i = 0; i < COLUMNS; i++)
		pg_array_start(&columns->arrays[i], types[i]);
	columns->n = 0;
	for (size_t i = from; i < to; i++) {
		if (!filter(&batch->items[i]))
			continue;
		append(columns, &batch->items[i]);
		columns->items[columns->n++] = i;
	}
	for (int i = 0; i < COLUMNS; i++)
		pg_array_finish(&columns->arrays[i]);
}

void
columns_free(struct columns *columns)
{
	for (int i = 0; i < COLUMNS; i++)
		pg_array_free(&columns->arrays[i]);
	free(columns->items);
	*columns = (struct columns){ 0 };
}

static void
add(struct column_params *p, const char *value, int length, int format)
{
	assert(p->n < COLUMN_PARAMS_MAX);
	p->values[p->n] = value;
	p->lengths[p->n] = length;
	p->formats[p->n] = format;
	p->n++;
}

void
column_params_start(
	struct column_params *p, const struct columns *columns, int n_columns)
{
	p->n = p->n_numbers = 0;
	for (int i = 0; i < n_columns; i++)
		add(p, columns->arrays[i].data, (int)columns->arrays[i].len, 1);
	p->params = (struct pg_params){ .values = p->values,
		.lengths = p->lengths,
		.formats = p->formats,
		.binary_result = true };
}

void
column_params_text(struct column_params *p, const char *text)
{
	add(p, text, 0, 0);
}

void
column_params_number(struct column_params *p, int64_t number)
{
	assert((size_t)p->n_numbers < ARRAY_SIZE(p->numbers));
	char *text = p->numbers[p->n_numbers++];

	(void)snprintf(text, sizeof(p->numbers[0]), "%" PRId64, number);
	add(p, text, 0, 0);
}
