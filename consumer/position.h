/* SPDX-License-Identifier: MIT */
/*
 * position - how far a partition has been processed: the row of
 * consumer_offset, which moves only in the transaction that writes what was
 * read, and only for the partition's present owner.
 */
#ifndef CONSUMER_POSITION_H
#define CONSUMER_POSITION_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct error;
struct lease;

struct position {
	const char *group; /* borrowed, as is topic */
	const char *topic;
	int32_t partition;
	int64_t epoch; /* raised by each owner; mine while the row has it */
	int64_t next_offset;
	int64_t newest_ms; /* Kafka's time of the newest message before it; -1:
			    * none is known */
};

/*
 * Own the partition: raise its epoch and learn where to go on.  A partition
 * that has no row yet begins at `first_offset`.
 */
int position_take(const struct lease *lease, struct position *pos,
	int64_t first_offset, struct error *err) NODISCARD;

/* What the row says now, seen from `pos`. */
enum position_state {
	POSITION_MINE,  /* as pos has it */
	POSITION_MOVED, /* my epoch, another offset: *ret_next */
	POSITION_LOST,  /* another owner's, or no row */
};
int position_read(const struct lease *lease, const struct position *pos,
	enum position_state *ret_state, int64_t *ret_next,
	struct error *err) NODISCARD;

/* A step over messages of which the newest is of `newest_ms` (-1: of none). */
struct position_step {
	int64_t to;
	int64_t newest_ms;
};

/*
 * Move from pos->next_offset, inside the caller's transaction if there is
 * one.  *ret_moved is false when the row is not as pos has it; pos is not
 * changed.
 */
int position_move(const struct lease *lease, const struct position *pos,
	const struct position_step *step, bool *ret_moved,
	struct error *err) NODISCARD;

#endif
