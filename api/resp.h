/* SPDX-License-Identifier: MIT */
/*
 * resp - commands written as Redis reads them, into a buffer that is reused.
 *
 * The bytes [sent, len) are still to be written to the socket.  One thread.
 */
#ifndef API_RESP_H
#define API_RESP_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>

struct redis_command;

struct resp_buffer {
	char *data; /* owned; NULL while nothing was ever written */
	size_t len, size, sent;
};

void resp_buffer_fini(struct resp_buffer *buf);

/* Forget what is in it, keep the memory. */
void resp_buffer_clear(struct resp_buffer *buf);

/*
 * Append EVALSHA, or EVAL with the script's text.  False, with the buffer as
 * it was, when out of memory.
 */
bool resp_append_script(struct resp_buffer *buf,
	const struct redis_command *command, bool by_text) NODISCARD;

#endif
