/* SPDX-License-Identifier: MIT */
/* What a partition thread does. */
#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pg.h"
#include "consumer/lease.h"
#include "consumer/partition_internal.h"

/*
 * DESIGN
 *
 * One turn of the thread does one thing: own the partition, gather a batch,
 * write it, or look after its row when nothing comes.  A turn that fails
 * leaves everything as it was; the thread sleeps and takes the same turn
 * again.  So there is no state to unwind: an unwritten batch stays in memory,
 * and what is not certain any more is asked of PostgreSQL.
 *
 * The position in PostgreSQL decides, never Kafka's committed offset.  It may
 * change behind our back: another process took the partition (a new epoch),
 * or a standby without our last commits was promoted (a lower offset).  Every
 * write notices, and so does a look every IDLE_CHECK_NS when nothing is to be
 * written; a lost epoch is taken again, since the group says the partition is
 * ours, and a moved offset is sought.
 *
 * An offset that the topic does not hold, whether it has expired or the topic
 * was created anew, makes the partition start over at its first message:
 * everything is idempotent, so that costs time and loses nothing that is
 * still there.  It is an ERROR in the log and a counter.  A topic created anew
 * may have grown beyond the offset.  librdkafka 2.0.2 does not tell topics of
 * one name apart, but the row knows the time of the newest message that was
 * consumed: no message before the offset can be newer, unless it is another
 * topic's.  These are Kafka's times both, so no two clocks are compared.
 */
#define TAKE_TIMEOUT_NS (5 * NS_PER_S)
#define WRITE_TIMEOUT_NS (15 * NS_PER_S)
#define IDLE_CHECK_NS (5 * NS_PER_S)

static void
set_position(struct partition *p, int64_t next)
{
	p->pos.next_offset = next;
	p->checked_ns = clock_now_ns();
	atomic_store(&p->next_offset, next);
	batch_reset(&p->batch, next);
}

static void
go_on_at(struct partition *p, int64_t next)
{
	set_position(p, next);
	reader_seek_later(&p->reader);
}

static int
borrow(struct partition *p, int64_t timeout_ns, struct lease *ret,
	struct error *err)
{
	const struct lease_request request = {
		.pool = p->env->pool,
		.inbox = p->inbox,
		.deadline_ns = clock_now_ns() +
			       atomic_load(&p->env->connection_timeout_ns),
		.cancel_fd = p->stop_fd,
	};
	int rc = lease_acquire(&request, ret, err);

	if (rc != 0)
		return rc;
	ret->wait = (struct pg_wait){
		.deadline_ns = clock_now_ns() + timeout_ns,
		.cancel_fd = p->cancel_fd,
	};
	return 0;
}

/* ---- owning ---- */

static int
start_over(struct partition *p, const struct lease *lease, int64_t low,
	int64_t high, struct error *err)
{
	int64_t next = p->pos.next_offset;
	enum offset_reset why = next < low ? RESET_EXPIRED : RESET_RECREATED;
	bool moved = false;

	LOG_ERROR("the topic does not hold what comes next, starting over",
		LOG_STR("topic", p->env->topic), LOG_INT("partition", p->id),
		LOG_INT("next", next), LOG_INT("low", low),
		LOG_INT("high", high),
		LOG_STR("cause",
			why == RESET_EXPIRED
				? "messages expired before they were consumed"
				: "the topic was created anew or cut off"));
	counter_add(p->env->stats->resets[why], 1);
	int rc = position_move(lease, &p->pos,
		&(struct position_step){ low, -1 }, &moved, err);
	if (rc != 0)
		return rc;
	if (!moved)
		return error_set(
			err, ERROR_BUSY, "another process took the partition");
	p->pos.next_offset = low;
	return 0;
}

/* Not the topic that was consumed, although it has the next offset? */
static int
is_another(struct partition *p, bool *ret, struct error *err)
{
	int64_t newer = -1;
	int rc = 0;

	if (p->pos.newest_ms >= 0)
		rc = reader_first_after(
			&p->reader, p->pos.newest_ms, &newer, err);
	*ret = newer >= 0 && newer < p->pos.next_offset;
	return rc;
}

static int
take_row(struct partition *p, const struct lease *lease, int64_t low,
	int64_t high, struct error *err)
{
	int rc = position_take(lease, &p->pos, low, err);

	if (rc != 0)
		return rc;
	bool another = p->pos.next_offset < low || p->pos.next_offset > high;

	if (!another)
		rc = is_another(p, &another, err);
	if (rc != 0 || !another)
		return rc;
	return start_over(p, lease, low, high, err);
}

static int
take(struct partition *p, struct error *err)
{
	struct lease lease;
	int64_t low;
	int64_t high;
	int rc = reader_watermarks(&p->reader, &low, &high, err);

	if (rc == 0)
		rc = borrow(p, TAKE_TIMEOUT_NS, &lease, err);
	if (rc != 0)
		return rc;
	atomic_store(&p->high, high);
	rc = take_row(p, &lease, low, high, err);
	lease_release(&lease, rc);
	if (rc != 0)
		return rc;
	p->owned = true;
	go_on_at(p, p->pos.next_offset);
	LOG_INFO("partition taken", LOG_INT("partition", p->id),
		LOG_INT("next", p->pos.next_offset), LOG_INT("low", low),
		LOG_INT("high", high), LOG_INT("epoch", p->pos.epoch));
	return 0;
}

static int
lost(struct partition *p, struct error *err)
{
	p->owned = false;
	batch_reset(&p->batch, p->pos.next_offset);
	return error_set(
		err, ERROR_BUSY, "another process has taken the partition");
}

/* ---- reading and writing ---- */

static int
gather(struct partition *p, struct error *err)
{
	const struct gather_limits limits = {
		.size = atomic_load(&p->env->batch_size),
		.wait_ns = atomic_load(&p->env->batch_wait_ns),
	};
	struct gathered gathered;
	int rc = reader_gather(&p->reader, &p->batch, &limits, &gathered, err);

	if (rc != 0)
		return rc;
	if (gathered.skipped > 0) {
		counter_add(p->env->stats->gaps, (uint64_t)gathered.skipped);
		LOG_WARN("offsets missing in the topic, going on",
			LOG_INT("partition", p->id),
			LOG_INT("from", p->batch.start),
			LOG_INT("missing", gathered.skipped));
	}
	if (gathered.end == GATHERED_OUT_OF_PLACE)
		p->owned = false; /* take() looks at what the topic holds */
	if (gathered.end == GATHERED_NEWER && p->batch.n == 0)
		return error_set(err, ERROR_BAD_INPUT,
			"a message is newer than this program: upgrade it");
	return 0;
}

static void
committed(struct partition *p, const struct written *written)
{
	struct consumer_stats *stats = p->env->stats;
	int64_t now_ms = clock_wall_ms();
	int64_t next = p->batch.end;

	consumer_stats_batch(stats, &p->batch, written->rows);
	for (size_t i = 0; i < p->batch.n; i++) {
		const struct batch_item *item = &p->batch.items[i];

		if (written->at_once || item->inserted)
			timer_record(stats->time_to_issue,
				(now_ms - item->message.accepted_at_ms) *
					NS_PER_MS);
	}
	atomic_store(&p->batch_size, p->batch.n);
	reader_store_offset(&p->reader, next);
	set_position(p, next);
}

static int
conclude(struct partition *p, const struct written *written, struct error *err)
{
	switch (written->result) {
	case WRITE_LOST:
		return lost(p, err);
	case WRITE_MOVED:
		if (written->next_offset == p->batch.end)
			break; /* an earlier commit whose answer was lost */
		LOG_WARN("the offset in PostgreSQL has moved, following it",
			LOG_INT("partition", p->id),
			LOG_INT("from", p->pos.next_offset),
			LOG_INT("to", written->next_offset));
		p->owned = false; /* take() looks whether the topic has it */
		return 0;
	case WRITE_DONE:
		break;
	}
	committed(p, written);
	return 0;
}

static int
write_batch(struct partition *p, struct error *err)
{
	struct lease lease;
	struct written written;
	int64_t started_ns = clock_now_ns();
	int rc = borrow(p, WRITE_TIMEOUT_NS, &lease, err);

	if (rc != 0)
		return rc;
	const struct write write = {
		.lease = &lease, .pos = &p->pos, .batch = &p->batch
	};
	rc = writer_write(p->writer, &write, &written, err);
	lease_release(&lease, rc);
	if (rc != 0)
		return rc;
	timer_record(p->env->stats->write, clock_now_ns() - started_ns);
	return conclude(p, &written, err);
}

/* Nothing to write for a while: is the row still as we left it? */
static int
check_row(struct partition *p, struct error *err)
{
	enum position_state state;
	struct lease lease;
	int64_t next;

	if (clock_now_ns() - p->checked_ns < IDLE_CHECK_NS)
		return 0;
	int rc = borrow(p, TAKE_TIMEOUT_NS, &lease, err);
	if (rc != 0)
		return rc;
	rc = position_read(&lease, &p->pos, &state, &next, err);
	lease_release(&lease, rc);
	if (rc != 0)
		return rc;
	p->checked_ns = clock_now_ns();
	if (state == POSITION_MINE)
		return 0;
	const struct written written = {
		.result = state == POSITION_MOVED ? WRITE_MOVED : WRITE_LOST,
		.next_offset = next,
	};
	return conclude(p, &written, err);
}

int
partition_turn(struct partition *p, struct error *err)
{
	if (!p->owned)
		return take(p, err);
	if (p->batch.n == 0) {
		int rc = gather(p, err);
		if (rc != 0)
			return rc;
	}
	return p->batch.n > 0 ? write_batch(p, err) : check_row(p, err);
}
