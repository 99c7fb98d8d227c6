/* SPDX-License-Identifier: MIT */
/*
 * inflight - the messages this process has given to librdkafka and has not
 * heard of yet, by request and by event.
 *
 * The relay asks before it sends an outbox entry again; a rebuild asks
 * whether every message of an event has its delivery report.  A request may
 * be in here several times (it was sent again).  The table owns no memory
 * but its index: entries belong to the producer.  Any thread; the table is
 * split so that HTTP threads hardly ever meet on a lock.
 */
#ifndef API_INFLIGHT_H
#define API_INFLIGHT_H

#include "common/message.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

struct inflight;

/* A request; zero the struct before filling it (it is compared as bytes). */
struct inflight_key {
	int64_t coupon_id;
	int64_t user_id;
	char request_id[72]; /* REQUEST_ID_MAX + 1, without padding behind */
};

static_assert(sizeof(((struct inflight_key *)0)->request_id) > REQUEST_ID_MAX,
	"a request id must fit");

/* Embedded in the message's record; set the key before inflight_add(). */
struct inflight_entry {
	struct inflight_key key;
	bool reported;     /* the table's */
	UT_hash_handle hh; /* the table's */
};

/* Aborts when out of memory: this is start-up. */
struct inflight *inflight_new(void);
/* Must be empty.  NULL is a no-op. */
void inflight_free(struct inflight *inflight);

void inflight_add(struct inflight *inflight, struct inflight_entry *entry);

/* Kafka has answered: no longer counted for the event, still found. */
void inflight_reported(struct inflight *inflight, struct inflight_entry *entry);

/* The outbox entry is dealt with: the caller may free it. */
void inflight_remove(struct inflight *inflight, struct inflight_entry *entry);

/* Is a copy of this request here? */
bool inflight_has(struct inflight *inflight, const struct inflight_key *key);

/* Messages of this event without a delivery report. */
size_t inflight_unreported(struct inflight *inflight, int64_t coupon_id);

#endif
