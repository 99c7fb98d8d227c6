/* SPDX-License-Identifier: MIT */
#include "common/message.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/text.h"

#include <assert.h>
#include <jansson.h>
#include <sodium.h>

/* Far above what we write, far below what could hurt the parser. */
#define DECODE_MAX 65536

/* Bytes of randomness fetched at once: ids of one thread per system call. */
#define ID_RANDOM 10
#define ID_BATCH 64

/* ---- encode ---- */

size_t
message_encode(const struct message *message, char buf[MESSAGE_SIZE_MAX])
{
	char *at = buf;

	at = TEXT_PUT(at, "{\"v\":1,\"requestId\":\"");
	at = text_put(at, message->request_id,
		strnlen(message->request_id, REQUEST_ID_MAX));
	at = TEXT_PUT(at, "\",\"couponId\":");
	at = text_put_int(at, message->coupon_id);
	at = TEXT_PUT(at, ",\"userId\":");
	at = text_put_int(at, message->user_id);
	at = TEXT_PUT(at, ",\"seq\":");
	at = text_put_int(at, message->seq);
	at = TEXT_PUT(at, ",\"acceptedAt\":\"");
	clock_format_rfc3339(message->accepted_at_ms, at);
	at += CLOCK_RFC3339_SIZE - 1;
	at = TEXT_PUT(at, "\"}");
	*at = '\0';
	assert(at - buf < MESSAGE_SIZE_MAX);
	return (size_t)(at - buf);
}

/* ---- decode ---- */

static bool
read_id(const json_t *root, const char *key, int64_t *ret, struct error *err)
{
	const json_t *member = json_object_get(root, key);

	if (!json_is_integer(member) || json_integer_value(member) < 1) {
		error_set(err, ERROR_BAD_INPUT,
			"%s: expected an integer from 1 to 2^63-1", key);
		return false;
	}
	*ret = json_integer_value(member);
	return true;
}

static bool
read_request_id(const json_t *root, char *ret, struct error *err)
{
	const json_t *member = json_object_get(root, "requestId");

	if (!json_is_string(member) ||
		!request_id_is_valid(json_string_value(member),
			json_string_length(member))) {
		error_set(err, ERROR_BAD_INPUT,
			"requestId: expected [A-Za-z0-9_-]{1,64}");
		return false;
	}
	memcpy(ret, json_string_value(member), json_string_length(member) + 1);
	return true;
}

static bool
read_accepted_at(const json_t *root, int64_t *ret_ms, struct error *err)
{
	const char *text =
		json_string_value(json_object_get(root, "acceptedAt"));

	if (text == NULL || clock_parse_rfc3339(text, ret_ms) != 0) {
		error_set(err, ERROR_BAD_INPUT,
			"acceptedAt: expected an RFC 3339 time");
		return false;
	}
	return true;
}

static enum message_verdict
read_message(const json_t *root, struct message *ret, bool *ret_identified,
	struct error *err)
{
	const json_t *v = json_object_get(root, "v");

	if (!json_is_integer(v) || json_integer_value(v) < 1) {
		error_set(err, ERROR_BAD_INPUT, "v: expected an integer >= 1");
		return MESSAGE_BAD;
	}
	if (json_integer_value(v) > MESSAGE_VERSION)
		return MESSAGE_NEWER;
	if (!read_id(root, "couponId", &ret->coupon_id, err) ||
		!read_id(root, "userId", &ret->user_id, err) ||
		!read_request_id(root, ret->request_id, err))
		return MESSAGE_BAD;
	*ret_identified = true;
	if (!read_id(root, "seq", &ret->seq, err) ||
		!read_accepted_at(root, &ret->accepted_at_ms, err))
		return MESSAGE_BAD;
	return MESSAGE_OK;
}

enum message_verdict
message_decode(const char *data, size_t len, struct message *ret,
	bool *ret_identified, struct error *err)
{
	json_error_t why;

	*ret = (struct message){ 0 };
	*ret_identified = false;
	if (data == NULL || len > DECODE_MAX) {
		error_set(err, ERROR_BAD_INPUT, "%s",
			data == NULL ? "no value" : "larger than 64 KB");
		return MESSAGE_BAD;
	}
	json_t *root = json_loadb(data, len, JSON_REJECT_DUPLICATES, &why);

	if (!json_is_object(root)) {
		json_decref(root);
		error_set(err, ERROR_BAD_INPUT, "no JSON object: %s",
			root == NULL ? why.text : "another type");
		return MESSAGE_BAD;
	}
	enum message_verdict verdict =
		read_message(root, ret, ret_identified, err);

	json_decref(root);
	return verdict;
}

/* ---- request ids ---- */

bool
request_id_is_valid(const char *text, size_t len)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz0123456789_-";

	if (len < 1 || len > REQUEST_ID_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (memchr(allowed, text[i], sizeof(allowed) - 1) == NULL)
			return false;
	}
	return true;
}

/* The next ID_RANDOM random bytes of this thread, each handed out once. */
static void
take_random(unsigned char out[ID_RANDOM])
{
	static _Thread_local unsigned char batch[ID_BATCH * ID_RANDOM];
	static _Thread_local size_t left;

	if (left == 0) {
		int rc = sodium_init(); /* idempotent; fails without entropy */

		assert(rc >= 0);
		randombytes_buf(batch, sizeof(batch));
		left = ID_BATCH;
	}
	left--;
	memcpy(out, batch + left * ID_RANDOM, ID_RANDOM);
	sodium_memzero(batch + left * ID_RANDOM, ID_RANDOM);
}

/*
 * A ULID: 48 bits of unix milliseconds, 80 random bits, in Crockford's
 * base 32, whose order as text is the order in time.
 */
void
request_id_generate(char buf[REQUEST_ID_MAX + 1])
{
	static const char base32[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	unsigned char random[ID_RANDOM];
	uint64_t ms = (uint64_t)clock_wall_ms();

	take_random(random);
	for (int i = 9; i >= 0; i--, ms >>= 5)
		buf[i] = base32[ms & 31];
	for (size_t half = 0; half < 2; half++) {
		uint64_t bits = 0;

		for (size_t i = 0; i < ID_RANDOM / 2; i++)
			bits = bits << 8 | random[half * (ID_RANDOM / 2) + i];
		for (int i = 7; i >= 0; i--, bits >>= 5)
			buf[10 + half * 8 + (size_t)i] = base32[bits & 31];
	}
	buf[26] = '\0';
}
