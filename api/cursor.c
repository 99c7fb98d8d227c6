/* SPDX-License-Identifier: MIT */
#include "api/cursor.h"

#include <assert.h>
#include <endian.h>
#include <sodium.h>
#include <string.h>

#define VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING

struct plain {
	uint8_t list;
	uint8_t key[8];
};

static_assert(
	CURSOR_SIZE == sodium_base64_ENCODED_LEN(sizeof(struct plain), VARIANT),
	"as the header says");

void
cursor_encode(enum cursor_list list, int64_t key, char buf[CURSOR_SIZE])
{
	struct plain plain = { .list = (uint8_t)list };
	uint64_t big_endian = htobe64((uint64_t)key);

	memcpy(plain.key, &big_endian, sizeof(plain.key));
	(void)sodium_bin2base64(buf, CURSOR_SIZE, (const uint8_t *)&plain,
		sizeof(plain), VARIANT);
}

bool
cursor_decode(enum cursor_list list, const char *text, int64_t *ret_key)
{
	struct plain plain;
	uint64_t big_endian;
	size_t len;

	if (strlen(text) != CURSOR_SIZE - 1 ||
		sodium_base642bin((uint8_t *)&plain, sizeof(plain), text,
			CURSOR_SIZE - 1, NULL, &len, NULL, VARIANT) != 0 ||
		len != sizeof(plain) || plain.list != (uint8_t)list)
		return false;
	memcpy(&big_endian, plain.key, sizeof(big_endian));
	int64_t key = (int64_t)be64toh(big_endian);
	if (key < 0)
		return false;
	/* libsodium 1.0.18 takes bytes above 0x7f for digits. */
	char canonical[CURSOR_SIZE];

	cursor_encode(list, key, canonical);
	if (strcmp(text, canonical) != 0)
		return false;
	*ret_key = key;
	return true;
}
