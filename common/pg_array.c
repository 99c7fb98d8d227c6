/* SPDX-License-Identifier: MIT */
/*
 * The binary form of a one-dimensional array, all numbers big-endian:
 *
 *	int32 dimensions (1), int32 has-null, int32 element type,
 *	int32 count, int32 lower bound (1), then per element
 *	int32 length (-1: null), bytes
 */
#include "common/pg.h"

#include <assert.h>
#include <endian.h>

#define HEADER_SIZE 20
#define HAS_NULL_AT 4
#define COUNT_AT 12

/* Types of pg_type.dat: fixed for ever. */
static const uint32_t oids[] = {
	[PG_ARRAY_INT8] = 20,
	[PG_ARRAY_INT4] = 23,
	[PG_ARRAY_TEXT] = 25,
	[PG_ARRAY_TIMESTAMPTZ] = 1184,
};

static void
put(struct pg_array *array, const void *bytes, size_t n)
{
	if (array->len + n > array->size) {
		size_t size = array->size == 0 ? 1024 : array->size;

		while (size < array->len + n)
			size *= 2;
		array->data = realloc(array->data, size);
		if (array->data == NULL)
			abort();
		array->size = size;
	}
	memcpy(array->data + array->len, bytes, n);
	array->len += n;
}

static void
put_int4(struct pg_array *array, uint32_t value)
{
	const uint32_t big = htobe32(value);

	put(array, &big, sizeof(big));
}

static void
put_int8(struct pg_array *array, int64_t value)
{
	const uint64_t big = htobe64((uint64_t)value);

	put_int4(array, sizeof(big));
	put(array, &big, sizeof(big));
	array->count++;
}

void
pg_array_start(struct pg_array *array, enum pg_array_type type)
{
	array->len = 0;
	array->count = 0;
	array->oid = oids[type];
	put_int4(array, 1);
	put_int4(array, 0);
	put_int4(array, array->oid);
	put_int4(array, 0); /* pg_array_finish() */
	put_int4(array, 1);
}

void
pg_array_int8(struct pg_array *array, int64_t value)
{
	assert(array->oid == oids[PG_ARRAY_INT8]);
	put_int8(array, value);
}

void
pg_array_int4(struct pg_array *array, int32_t value)
{
	assert(array->oid == oids[PG_ARRAY_INT4]);
	put_int4(array, sizeof(value));
	put_int4(array, (uint32_t)value);
	array->count++;
}

void
pg_array_text(struct pg_array *array, const char *value)
{
	const size_t len = strlen(value);

	assert(array->oid == oids[PG_ARRAY_TEXT]);
	assert(len <= INT32_MAX);
	put_int4(array, (uint32_t)len);
	put(array, value, len);
	array->count++;
}

void
pg_array_timestamp_ms(struct pg_array *array, int64_t unix_ms)
{
	assert(array->oid == oids[PG_ARRAY_TIMESTAMPTZ]);
	put_int8(array, (unix_ms - PG_EPOCH_MS) * 1000);
}

void
pg_array_null(struct pg_array *array)
{
	const uint32_t yes = htobe32(1);

	put_int4(array, UINT32_MAX);
	memcpy(array->data + HAS_NULL_AT, &yes, sizeof(yes));
	array->count++;
}

void
pg_array_finish(struct pg_array *array)
{
	const uint32_t count = htobe32((uint32_t)array->count);

	assert(array->len >= HEADER_SIZE);
	memcpy(array->data + COUNT_AT, &count, sizeof(count));
}

void
pg_array_free(struct pg_array *array)
{
	free(array->data);
	*array = (struct pg_array){ 0 };
}
