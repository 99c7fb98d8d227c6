/* SPDX-License-Identifier: MIT */
/* What decodes must encode to the same text again. */
#include "api/cursor.h"

#include <assert.h>
#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[64];
	char again[CURSOR_SIZE];
	int64_t key;

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (cursor_decode(CURSOR_COUPONS, text, &key)) {
		assert(key >= 0);
		cursor_encode(CURSOR_COUPONS, key, again);
		assert(strcmp(text, again) == 0);
	}
	return 0;
}
