/* SPDX-License-Identifier: MIT */
/*
 * outbox - takes out of Redis's outbox what Kafka has acknowledged.
 *
 * An entry that cannot be removed stays: the relay sends it again, which the
 * consumer recognises.  Its functions block: for threads that may.
 */
#ifndef API_OUTBOX_H
#define API_OUTBOX_H

#include <stddef.h>

struct metrics;
struct outbox;
struct producer_record;
struct redis_shards;

/* `shards` is borrowed.  Aborts when out of memory: this is start-up. */
struct outbox *outbox_new(struct redis_shards *shards, struct metrics *metrics);
void outbox_free(struct outbox *outbox);

/* A producer_persisted_fn; `arg` is the outbox.  From one thread. */
void outbox_remove(void *arg, struct producer_record *const *records, size_t n);

#endif
