/* SPDX-License-Identifier: MIT */
#include "consumer/batch.h"

#include "common/clock.h"
#include "common/error.h"

#include <assert.h>
#include <librdkafka/rdkafka.h>

#define FIRST_SIZE 64

/* clang-format off */
static const struct {
	const char *name;
	bool rejection;
} verdicts[VERDICTS] = {
	[VERDICT_OPEN]            = { "OPEN",            false },
	[VERDICT_SETTLED]         = { "SETTLED",         false },
	[VERDICT_SET_ASIDE]       = { "SET_ASIDE",       false },
	[VERDICT_DUPLICATE]       = { "DUPLICATE",       true },
	[VERDICT_NUMBER_TAKEN]    = { "NUMBER_TAKEN",    true },
	[VERDICT_NUMBER_TOO_HIGH] = { "NUMBER_TOO_HIGH", true },
	[VERDICT_EVENT_UNKNOWN]   = { "EVENT_UNKNOWN",   true },
	[VERDICT_INVALID]         = { "INVALID",         true },
};
/* clang-format on */

bool
verdict_is_rejection(enum verdict verdict)
{
	return verdicts[verdict].rejection;
}

const char *
verdict_name(enum verdict verdict)
{
	return verdicts[verdict].name;
}

void
batch_reset(struct batch *batch, int64_t start)
{
	for (size_t i = 0; i < batch->n; i++) {
		rd_kafka_message_destroy(batch->items[i].raw);
		free(batch->items[i].detail);
	}
	batch->n = 0;
	batch->start = batch->end = start;
	batch->newest_ms = -1;
}

void
batch_free(struct batch *batch)
{
	batch_reset(batch, 0);
	free(batch->items);
	*batch = (struct batch){ 0 };
}

static struct batch_item *
append(struct batch *batch)
{
	if (batch->n == batch->size) {
		batch->size = batch->size == 0 ? FIRST_SIZE : 2 * batch->size;
		batch->items = reallocarray(
			batch->items, batch->size, sizeof(*batch->items));
		if (batch->items == NULL)
			abort(); /* bounded by consumer.batch-size */
	}
	return &batch->items[batch->n++];
}

void
batch_item_letter(
	struct batch_item *item, const char *reason, const char *detail)
{
	if (item->letter != LETTER_NONE)
		return;
	item->letter = LETTER_DUE;
	item->reason = reason;
	item->detail = strdup(detail);
}

enum message_verdict
batch_add(struct batch *batch, struct rd_kafka_message_s *raw)
{
	struct batch_item item = { .raw = raw };
	bool identified = false;
	struct error err;
	enum message_verdict verdict = message_decode(
		raw->payload, raw->len, &item.message, &identified, &err);

	assert(raw->offset >= batch->end);
	if (verdict == MESSAGE_NEWER)
		return verdict;
	if (verdict == MESSAGE_BAD) {
		item.initial = identified ? VERDICT_INVALID : VERDICT_SET_ASIDE;
		batch_item_letter(
			&item, identified ? "INVALID" : "UNREADABLE", err.msg);
	}
	item.verdict = item.initial;
	if (batch->n == 0)
		batch->begun_ns = clock_now_ns();
	*append(batch) = item;
	batch->end = raw->offset + 1;
	return verdict;
}

void
batch_reopen(struct batch *batch)
{
	for (size_t i = 0; i < batch->n; i++)
		batch->items[i].verdict = batch->items[i].initial;
}

size_t
batch_count(const struct batch *batch, enum verdict verdict)
{
	size_t n = 0;

	for (size_t i = 0; i < batch->n; i++)
		n += batch->items[i].verdict == verdict;
	return n;
}

size_t
batch_rejections(const struct batch *batch)
{
	size_t n = 0;

	for (size_t i = 0; i < batch->n; i++)
		n += verdict_is_rejection(batch->items[i].verdict);
	return n;
}

bool
batch_has_letters(const struct batch *batch)
{
	for (size_t i = 0; i < batch->n; i++)
		if (batch->items[i].letter == LETTER_DUE)
			return true;
	return false;
}
