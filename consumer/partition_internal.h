/* SPDX-License-Identifier: MIT */
/*
 * partition_internal - what partition.c (the thread and its life) and
 * partition_turn.c (what it does) know of each other.
 */
#ifndef CONSUMER_PARTITION_INTERNAL_H
#define CONSUMER_PARTITION_INTERNAL_H

#include "consumer/batch.h"
#include "consumer/partition.h"
#include "consumer/position.h"
#include "consumer/reader.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct error;
struct pool_inbox;

struct partition {
	struct partition_env *env; /* borrowed */
	int32_t id;
	pthread_t thread;
	bool started;
	int stop_fd;
	int cancel_fd;
	int done_fd;
	atomic_bool stop;

	/* Written by the thread, read by others. */
	_Atomic int64_t next_offset;
	_Atomic int64_t high; /* as last asked for, -1: never */
	_Atomic int64_t beat_ns;
	atomic_size_t batch_size;
	_Atomic enum partition_state state;

	/* The thread's own. */
	struct reader reader;
	struct batch batch;
	struct writer *writer;
	struct pool_inbox *inbox;
	struct position pos;
	bool owned;
	int64_t checked_ns; /* when pos was last known to be true */
	int64_t paused_ns;  /* since when it is not RUNNING */
	int64_t paused_at;  /* the offset it paused at */
	int64_t backoff_ns;
};

/*
 * One turn: own the partition, gather a batch, write it, or look after its
 * row.  What fails leaves everything as it was, to be tried again; the kind
 * says what to wait for:
 *	-ERROR_KAFKA_ERROR  Kafka
 *	-ERROR_BAD_INPUT    a message newer than this program
 *	-ERROR_BUSY         another owner of the partition
 *	-ERROR_CANCELLED    nothing: the thread is to end
 *	another             PostgreSQL
 */
int partition_turn(struct partition *p, struct error *err) NODISCARD;

#endif
