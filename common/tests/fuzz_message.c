/* SPDX-License-Identifier: MIT */
/*
 * fuzz_message - a Kafka value: what decodes is in range, and encodes to what
 * decodes to the same.
 */
#include "common/error.h"
#include "common/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
expect(bool condition)
{
	if (!condition)
		abort();
}

static void
round_trip(const struct message *message)
{
	char buf[MESSAGE_SIZE_MAX];
	struct message back;
	struct error err;
	bool identified;
	size_t len = message_encode(message, buf);

	expect(message_decode(buf, len, &back, &identified, &err) ==
		MESSAGE_OK);
	expect(back.coupon_id == message->coupon_id);
	expect(back.user_id == message->user_id && back.seq == message->seq);
	expect(back.accepted_at_ms == message->accepted_at_ms);
	expect(strcmp(back.request_id, message->request_id) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message message;
	struct error err = { 0 };
	bool identified;

	switch (message_decode(
		(const char *)data, size, &message, &identified, &err)) {
	case MESSAGE_OK:
		expect(identified && message.seq >= 1);
		round_trip(&message);
		break;
	case MESSAGE_NEWER:
		break;
	case MESSAGE_BAD:
		expect(err.kind == ERROR_BAD_INPUT && *err.msg != '\0');
		break;
	}
	if (identified)
		expect(message.coupon_id >= 1 && message.user_id >= 1 &&
			*message.request_id != '\0');
	return 0;
}
