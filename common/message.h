/* SPDX-License-Identifier: MIT */
/*
 * message - an accepted request on its way through Kafka.
 *
 *	{"v":1,"requestId":"…","couponId":1,"userId":42,"seq":17,
 *	 "acceptedAt":"2026-11-22T14:02:00.123Z"}
 *
 * Plain values; stateless; any thread.
 */
#ifndef COMMON_MESSAGE_H
#define COMMON_MESSAGE_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define MESSAGE_VERSION 1
/* [A-Za-z0-9_-]{1,64} */
#define REQUEST_ID_MAX 64
/* Longest encoding, NUL included. */
#define MESSAGE_SIZE_MAX 320

struct message {
	int64_t coupon_id;      /* 1 .. 2^63-1 */
	int64_t user_id;        /* 1 .. 2^63-1 */
	int64_t seq;            /* >= 1 */
	int64_t accepted_at_ms; /* unix time by Redis's clock */
	char request_id[REQUEST_ID_MAX + 1];
};

/* Writes at most MESSAGE_SIZE_MAX bytes; returns the length without NUL. */
size_t message_encode(const struct message *message,
	char buf[MESSAGE_SIZE_MAX]);

enum message_verdict {
	MESSAGE_OK,
	MESSAGE_NEWER, /* a higher "v": not ours to judge, pause */
	MESSAGE_BAD,   /* err says why: dead letter */
};

/*
 * On MESSAGE_BAD, *ret may still identify the request: *ret_identified says
 * whether coupon, user and request id could be read.
 */
enum message_verdict message_decode(const char *data, size_t len,
	struct message *ret, bool *ret_identified, struct error *err);

bool request_id_is_valid(const char *text, size_t len);

/* Time-ordered and unguessable, 26 characters of [0-9A-Z]; NUL-terminated. */
void request_id_generate(char buf[REQUEST_ID_MAX + 1]);

#endif
