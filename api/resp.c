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

bool
resp_append_script(struct resp_buffer *buf, const struct redis_command *command,
	bool by_text)
{
	enum { VERB, SCRIPT, N_KEYS, BEFORE_ARGS };
	const char *const verb = by_text ? "EVAL" : "EVALSHA";
	const char *const script =
		by_text ? command->script->text : command->script->sha1;
	const size_t script_len = strlen(script);
	const size_t argc = (size_t)command->argc + BEFORE_ARGS;
	size_t room = (argc + 1) * (HEAD_MAX + 2) + HEAD_MAX + script_len;
	char keys[TEXT_INT_MAX];
	const size_t keys_len =
		(size_t)(text_put_int(keys, command->n_keys) - keys);

	for (int i = 0; i < command->argc; i++)
		room += command->argvlen[i];
	if (!reserve(buf, room))
		return false;
	put_head(buf, '*', argc);
	put_bulk(buf, verb, strlen(verb));
	put_bulk(buf, script, script_len);
	put_bulk(buf, keys, keys_len);
	for (int i = 0; i < command->argc; i++)
		put_bulk(buf, command->argv[i], command->argvlen[i]);
	return true;
}
