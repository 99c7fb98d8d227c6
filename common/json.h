/* SPDX-License-Identifier: MIT */
/*
 * json - strict reading of request bodies, small writing of replies.
 *
 * Reading is jansson's, made stricter: one object and nothing behind it, no
 * duplicate members, valid UTF-8, bounded depth.  Errors are -ERROR_BAD_INPUT
 * with a sentence for the client that names the member.
 * Stateless; any thread.
 */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct json_t;

#define JSON_DEPTH_MAX 16

/* ---- reading ---- */

/* *ret is an object, the caller's reference. */
int json_body_parse(const char *body, size_t len, struct json_t **ret,
	struct error *err) NODISCARD;

struct json_id {
	const char *name;
	int64_t value;
};

/*
 * The bodies that nearly all clients send, at a tenth of the cost: true when
 * `body` is an object of exactly these members, each named without escapes
 * and an integer from 1 of at most 18 digits.  False says nothing about it:
 * parse it.
 */
bool json_scan_ids(
	const char *body, size_t len, struct json_id *ids, size_t n) NODISCARD;

struct json_range {
	int64_t min, max;
};

/* A JSON integer in `range`; no fraction, no exponent, no string. */
int json_member_int(const struct json_t *object, const char *name,
	struct json_range range, int64_t *ret, struct error *err) NODISCARD;

/* An id of ours: 1 .. 2^63-1. */
int json_member_id(const struct json_t *object, const char *name, int64_t *ret,
	struct error *err) NODISCARD;

/* A string of so many bytes; *ret is borrowed from the object. */
int json_member_text(const struct json_t *object, const char *name,
	struct json_range bytes, const char **ret, struct error *err) NODISCARD;

/* ---- writing ---- */

/*
 * One flat object into a buffer of the caller, without allocating.  A member
 * that does not fit is left out as a whole.
 */
struct json_text {
	char *buf;
	size_t size;
	size_t len;
};

/* size >= 3 */
void json_text_init(struct json_text *text, char *buf, size_t size);
/* `name` needs no escaping, `value` gets it. */
void json_text_member(
	struct json_text *text, const char *name, const char *value);
void json_text_number(struct json_text *text, const char *name, int64_t value);
/* Closes and NUL-terminates it; its length. */
size_t json_text_end(struct json_text *text);

#endif
