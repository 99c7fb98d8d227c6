/* SPDX-License-Identifier: MIT */
#include "consumer/reader.h"

#include "common/clock.h"
#include "common/error.h"
#include "consumer/batch.h"

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <sys/param.h>

#define IDLE_MS 100
#define SEEK_MS 1000
#define WATERMARKS_MS 1000

void
reader_init(struct reader *reader, struct rd_kafka_s *rk,
	struct rd_kafka_topic_s *rkt, int32_t partition)
{
	*reader = (struct reader){
		.rk = rk,
		.rkt = rkt,
		.partition = partition,
		.must_seek = true,
		.gap_at = -1,
		.queue = rd_kafka_queue_get_partition(
			rk, rd_kafka_topic_name(rkt), partition),
	};
	/* Once forwarded to nobody, a queue stays so: every later assignment
	 * of this partition must have a reader again. */
	rd_kafka_queue_forward(reader->queue, NULL);
}

void
reader_fini(struct reader *reader)
{
	rd_kafka_queue_destroy(reader->queue);
	reader->queue = NULL;
}

void
reader_wake(struct reader *reader)
{
	rd_kafka_queue_yield(reader->queue);
}

int
reader_watermarks(struct reader *reader, int64_t *ret_low, int64_t *ret_high,
	struct error *err)
{
	rd_kafka_resp_err_t rc = rd_kafka_query_watermark_offsets(reader->rk,
		rd_kafka_topic_name(reader->rkt), reader->partition, ret_low,
		ret_high, WATERMARKS_MS);

	if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
		return error_set_code(err, ERROR_KAFKA_ERROR,
			rd_kafka_err2name(rc), "offsets of the partition: %s",
			rd_kafka_err2str(rc));
	return 0;
}

int
reader_first_after(struct reader *reader, int64_t ms, int64_t *ret_offset,
	struct error *err)
{
	rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_t *found = rd_kafka_topic_partition_list_add(
		list, rd_kafka_topic_name(reader->rkt), reader->partition);

	found->offset = ms + 1;
	rd_kafka_resp_err_t rc =
		rd_kafka_offsets_for_times(reader->rk, list, WATERMARKS_MS);

	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR)
		rc = found->err;
	*ret_offset = found->offset >= 0 ? found->offset : -1;
	rd_kafka_topic_partition_list_destroy(list);
	if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
		return error_set_code(err, ERROR_KAFKA_ERROR,
			rd_kafka_err2name(rc),
			"the first message after a time: %s",
			rd_kafka_err2str(rc));
	return 0;
}

int64_t
reader_cached_high(const struct reader *reader, const char *topic)
{
	int64_t low;
	int64_t high;

	if (rd_kafka_get_watermark_offsets(reader->rk, topic, reader->partition,
		    &low, &high) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return -1;
	return high >= 0 ? high : -1; /* RD_KAFKA_OFFSET_INVALID */
}

void
reader_seek_later(struct reader *reader)
{
	reader->must_seek = true;
}

void
reader_store_offset(struct reader *reader, int64_t next)
{
	/* Adds 1 itself.  Refused when the partition is no longer ours, which
	 * is of no consequence: PostgreSQL has the truth. */
	(void)rd_kafka_offset_store(reader->rkt, reader->partition, next - 1);
}

static int
seek(struct reader *reader, int64_t offset, struct error *err)
{
	/* Not rd_kafka_seek_partitions(): 2.0.2 waits a thousandth of the
	 * time it is given. */
	rd_kafka_resp_err_t rc =
		rd_kafka_seek(reader->rkt, reader->partition, offset, SEEK_MS);

	if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
		return error_set_code(err, ERROR_KAFKA_ERROR,
			rd_kafka_err2name(rc), "seek to %" PRId64 ": %s",
			offset, rd_kafka_err2str(rc));
	reader->must_seek = false;
	return 0;
}

/* What one message means for the gathering. */
enum taken {
	TAKEN,     /* it is in the batch, or of no interest */
	TAKEN_END, /* the batch ends before it */
	TAKEN_NEWER,
	TAKEN_OUT_OF_PLACE,
	TAKEN_ERROR,
};

static enum taken
take_error(const rd_kafka_message_t *raw, struct error *err)
{
	if (raw->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		return TAKEN;
	(void)error_set_code(err, ERROR_KAFKA_ERROR,
		rd_kafka_err2name(raw->err), "%s",
		rd_kafka_message_errstr(raw));
	return TAKEN_ERROR;
}

/* Takes ownership of `raw` only when it joins the batch. */
static enum taken
take(struct reader *reader, struct batch *batch, rd_kafka_message_t *raw,
	bool *ret_kept, struct error *err)
{
	if (raw->err != RD_KAFKA_RESP_ERR_NO_ERROR)
		return take_error(raw, err);
	if (raw->offset != batch->end && reader->gap_at != batch->end) {
		reader->gap_at = batch->end;
		return TAKEN_OUT_OF_PLACE;
	}
	if (raw->offset < batch->end)
		return TAKEN; /* the topic does hold batch->end: an old copy */
	if (batch_add(batch, raw) == MESSAGE_NEWER) {
		reader->must_seek = true;
		return TAKEN_NEWER;
	}
	*ret_kept = true;
	return TAKEN;
}

/* One message, or none within `timeout_ms`: TAKEN_END. */
static enum taken
take_next(struct reader *reader, struct batch *batch, int timeout_ms,
	int64_t *skipped, struct error *err)
{
	rd_kafka_message_t *raw =
		rd_kafka_consume_queue(reader->queue, timeout_ms);
	int64_t expected = batch->end;
	bool kept = false;

	if (raw == NULL)
		return TAKEN_END;
	enum taken taken = take(reader, batch, raw, &kept, err);
	if (kept) {
		*skipped += raw->offset - expected;
		batch->newest_ms = MAX(batch->newest_ms,
			rd_kafka_message_timestamp(raw, NULL));
	} else {
		rd_kafka_message_destroy(raw);
	}
	return taken;
}

static enum taken
fill(struct reader *reader, struct batch *batch,
	const struct gather_limits *limits, int64_t *skipped, struct error *err)
{
	enum taken taken = take_next(reader, batch, IDLE_MS, skipped, err);
	int64_t deadline_ns = clock_now_ns() + limits->wait_ns;

	/* Once it is old enough, still what is there without waiting. */
	while (taken == TAKEN && batch->n < limits->size)
		taken = take_next(reader, batch,
			clock_poll_timeout_ms(deadline_ns), skipped, err);
	return taken;
}

int
reader_gather(struct reader *reader, struct batch *batch,
	const struct gather_limits *limits, struct gathered *ret,
	struct error *err)
{
	int rc = reader->must_seek ? seek(reader, batch->end, err) : 0;

	if (rc != 0)
		return rc;
	*ret = (struct gathered){ .end = GATHERED };
	switch (fill(reader, batch, limits, &ret->skipped, err)) {
	case TAKEN:
	case TAKEN_END:
		return 0;
	case TAKEN_NEWER:
		ret->end = GATHERED_NEWER;
		return 0;
	case TAKEN_OUT_OF_PLACE:
		ret->end = GATHERED_OUT_OF_PLACE;
		return 0;
	case TAKEN_ERROR:
		break;
	}
	return -(int)err->kind;
}
