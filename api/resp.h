/* SPDX-License-Identifier: MIT */
/*
 * resp - script calls written as Redis reads them, into buffers that are
 * reused.
 *
 * A call grows by one command at a time, as long as they can be joined, and
 * then goes into the buffer of what is sent.  One thread.
 */
#ifndef API_RESP_H
#define API_RESP_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct redis_command;
struct redis_script;

/* Redis serves nobody else while a script runs: at most so many requests. */
#define RESP_JOINED_MAX 64

/* The bytes [sent, len) are still to be written to the socket. */
struct resp_buffer {
	char *data; /* owned; NULL while nothing was ever written */
	size_t len, size, sent;
};

void resp_buffer_fini(struct resp_buffer *buf);

/* Forget what is in it, keep the memory. */
void resp_buffer_clear(struct resp_buffer *buf);

/* EVALSHA, or EVAL with the script's text, of n commands. */
struct resp_call {
	struct resp_buffer args; /* all but their number, which comes first */
	size_t n, argc;
	const struct redis_script *script;
	int64_t coupon_id;
	bool by_text, may_grow;
};

void resp_call_fini(struct resp_call *call);
/* Forget its commands, keep the memory. */
void resp_call_clear(struct resp_call *call);

/* May this command join those that are in it? */
bool resp_call_takes(
	const struct resp_call *call, const struct redis_command *command);

/*
 * Add it to an empty call, or to one that takes it.  False, with both as they
 * were, when out of memory: there is room in `out` for what is in `call`.
 */
bool resp_call_add(struct resp_call *call, const struct redis_command *command,
	struct resp_buffer *out) NODISCARD;

/* Into `out` with it; the call is empty then. */
void resp_call_end(struct resp_call *call, struct resp_buffer *out);

#endif
