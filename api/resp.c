/* SPDX-License-Identifier: MIT */
#include "api/resp.h"

#include "api/pipeline.h"
#include "common/redis.h"
#include "common/text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* '$' or '*', up to 20 digits, CR LF */
#define HEAD_MAX 23

void
resp_buffer_fini(struct resp_buffer *buf)
{
	free(buf->data);
	*buf = (struct resp_buffer){ 0 };
}

void
resp_buffer_clear(struct resp_buffer *buf)
{
	buf->len = buf->sent = 0;
}

static bool
reserve(struct resp_buffer *buf, size_t more)
{
	size_t size = buf->size > 0 ? buf->size : 4096;

	if (buf->size - buf->len >= more)
		return true;
	while (size - buf->len < more)
		size *= 2;

	char *data = realloc(buf->data, size);

	if (data == NULL)
		return false;
	buf->data = data;
	buf->size = size;
	return true;
}

/* The put_ functions write into room that reserve() has made. */
static void
put_bytes(struct resp_buffer *buf, const char *data, size_t len)
{
	assert(buf->size - buf->len >= len);
	memcpy(buf->data + buf->len, data, len);
	buf->len += len;
}

static void
put_head(struct resp_buffer *buf, char kind, size_t n)
{
	char head[HEAD_MAX] = { kind };
	const char *end = TEXT_PUT(text_put_int(head + 1, (int64_t)n), "\r\n");

	put_bytes(buf, head, (size_t)(end - head));
}

static void
put_bulk(struct resp_buffer *buf, const char *data, size_t len)
{
	put_head(buf, '$', len);
	put_bytes(buf, data, len);
	put_bytes(buf, "\r\n", 2);
}

void
resp_call_fini(struct resp_call *call)
{
	resp_buffer_fini(&call->args);
}

void
resp_call_clear(struct resp_call *call)
{
	resp_buffer_clear(&call->args);
	call->n = call->argc = 0;
}

bool
resp_call_takes(
	const struct resp_call *call, const struct redis_command *command)
{
	return call->n > 0 && call->n < RESP_JOINED_MAX && call->may_grow &&
	       command->n_common > 0 && call->script == command->script &&
	       call->coupon_id == command->coupon_id &&
	       call->by_text == command->by_text;
}

static const char *
script_of(const struct redis_command *command)
{
	return command->by_text ? command->script->text : command->script->sha1;
}

/* The verb, the script and how many keys follow. */
static void
begin(struct resp_call *call, const struct redis_command *command)
{
	enum { VERB, SCRIPT, N_KEYS, BEFORE_ARGS };
	const char *const verb = command->by_text ? "EVAL" : "EVALSHA";
	const char *const script = script_of(command);
	char keys[TEXT_INT_MAX];
	const size_t keys_len =
		(size_t)(text_put_int(keys, command->n_keys) - keys);

	put_bulk(&call->args, verb, strlen(verb));
	put_bulk(&call->args, script, strlen(script));
	put_bulk(&call->args, keys, keys_len);
	call->argc = BEFORE_ARGS;
	call->script = command->script;
	call->coupon_id = command->coupon_id;
	call->by_text = command->by_text;
	call->may_grow = command->n_common > 0;
}

bool
resp_call_add(struct resp_call *call, const struct redis_command *command,
	struct resp_buffer *out)
{
	const int first = call->n > 0 ? command->n_common : 0;
	size_t room = ((size_t)(command->argc - first)) * (HEAD_MAX + 2);

	assert(call->n == 0 || resp_call_takes(call, command));
	if (call->n == 0)
		room += 3 * (HEAD_MAX + 2) + TEXT_INT_MAX + strlen("EVALSHA") +
			strlen(script_of(command));
	for (int i = first; i < command->argc; i++)
		room += command->argvlen[i];
	if (!reserve(&call->args, room) ||
		!reserve(out, HEAD_MAX + call->args.len + room))
		return false;
	if (call->n++ == 0)
		begin(call, command);
	for (int i = first; i < command->argc; i++)
		put_bulk(&call->args, command->argv[i], command->argvlen[i]);
	call->argc += (size_t)(command->argc - first);
	return true;
}

void
resp_call_end(struct resp_call *call, struct resp_buffer *out)
{
	put_head(out, '*', call->argc);
	put_bytes(out, call->args.data, call->args.len);
	resp_call_clear(call);
}
