/* SPDX-License-Identifier: MIT */
/*
 * reply - the answers that several handlers give, and the small parts of
 * requests that several of them read.  On the request's loop.
 */
#ifndef API_REPLY_H
#define API_REPLY_H

#include "common/compiler.h"
#include "common/message.h"
#include "common/problem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct http_request;

/* 400 with this note: English, for the caller's programmer. */
void reply_bad_request(struct http_request *req, const char *note);

void reply_not_found(struct http_request *req, enum problem problem);

/*
 * 503 SERVICE_UNAVAILABLE with a jittered Retry-After; `outcome` is "REFUSED"
 * or "UNKNOWN".
 */
void reply_unavailable(
	struct http_request *req, const char *reason, const char *outcome);

/* Location: /api/user-coupons/COUPON/USER?requestId=ID */
void reply_location(struct http_request *req, int64_t coupon_id,
	int64_t user_id, const char *request_id);

/* An Idempotency-Key, bare or quoted; false: it breaks the rule. */
#define IDEMPOTENCY_KEY_RULE "Idempotency-Key must match [A-Za-z0-9_-]{1,64}."
bool idempotency_key_parse(
	const char *header, char ret[REQUEST_ID_MAX + 1]) NODISCARD;

/* 1..2^63-1 in decimal, nothing else. */
#define ID_RULE "Ids are integers from 1 to 2^63-1."
int parse_id(const char *text, int64_t *ret) NODISCARD;

#endif
