/* SPDX-License-Identifier: MIT */
/*
 * text - short texts put together on the request path, where printf would
 * cost ten times as much.
 *
 *	char *end = text_put_int(TEXT_PUT(buf, "/api/coupons/"), id);
 *	*end = '\0';
 *
 * Each writes at `at` and returns the end; the room is the caller's affair.
 */
#ifndef COMMON_TEXT_H
#define COMMON_TEXT_H

#include <stdint.h>
#include <string.h>

#define TEXT_INT_MAX 20 /* -9223372036854775808 */

static inline char *
text_put(char *at, const char *text, size_t len)
{
	memcpy(at, text, len);
	return at + len;
}

#define TEXT_PUT(at, literal) text_put(at, literal, sizeof(literal) - 1)

static inline char *
text_put_int(char *at, int64_t value)
{
	char digits[TEXT_INT_MAX];
	char *const end = digits + sizeof(digits);
	char *first = end;
	uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

	do
		*--first = (char)('0' + left % 10);
	while ((left /= 10) > 0);
	if (value < 0)
		*--first = '-';
	return text_put(at, first, (size_t)(end - first));
}

#endif
