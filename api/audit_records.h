/* SPDX-License-Identifier: MIT */
/*
 * audit_records - every request and every user that an audit has heard of.
 *
 * Internal to the audit.  Plain memory, one thread.
 */
#ifndef API_AUDIT_RECORDS_H
#define API_AUDIT_RECORDS_H

#include "common/compiler.h"
#include "common/message.h"

#include <stdint.h>
#include <uthash.h>

/* Where a request was found. */
enum audit_flag {
	HELD = 1,           /* users has it as a holder */
	REJECTED_THERE = 2, /* users has it as rejected */
	PENDING = 4,
	ROW = 8,
	REJECTION = 16,
	WAITING = 32,  /* in Kafka, not consumed */
	CONSUMED = 64, /* in Kafka before the consumer's offset */
};

struct audit_request {
	UT_hash_handle hh; /* in `requests` */
	struct audit_user *user;
	int64_t accepted_at_ms; /* 0: not known */
	int64_t held_seq, row_seq;
	unsigned flags;
	char key[]; /* user id and request id side by side */
};

struct audit_user {
	UT_hash_handle hh; /* in `users` */
	int64_t id;
	const struct audit_request *holder, *row;
};

struct audit_records {
	struct audit_request *requests; /* in the order of their coming */
	struct audit_user *users;
};
void audit_records_fini(struct audit_records *records);

struct audit_request *audit_records_find(
	const struct audit_records *records, const struct message *message);
/* The same, made if there is none; NULL when out of memory. */
struct audit_request *audit_records_provide(
	struct audit_records *records, const struct message *message);

void audit_request_id(
	const struct audit_request *request, char buf[REQUEST_ID_MAX + 1]);

#endif
