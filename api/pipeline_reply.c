/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * Redis answers the commands of a connection in their order, so the n-th
 * reply belongs to the n-th place of the lease (or its elements to the next
 * places, when commands were joined).  That is all that connects a
 * reply with its request: were a place ever lost, every later request would
 * get its neighbour's answer.  So an overdue command leaves its place
 * standing, empty, and the reply that comes for it is dropped; and a reply
 * without a place is a reason to give the connection up.
 */
#include "api/pipeline_internal.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/redis.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/param.h>
#include <sys/socket.h>

/* The script cache was emptied; the text goes once more, the script ran not. */
static void
send_text(struct redis_lease *lease, struct redis_command *command)
{
	struct pipeline *pipeline = lease->lane->pipeline;
	struct error err;

	counter_add(pipeline->by_text, 1);
	command->by_text = true;
	command->copies--;
	if (lease_append(lease, command, clock_now_ns()))
		return;
	error_set(&err, ERROR_NO_MEMORY, "redis: out of memory");
	pipeline_end(pipeline, command, NULL, &err);
}

static void
answer(struct redis_lease *lease, struct redis_command *command,
	const struct redisReply *reply, int64_t took_ns)
{
	struct pipeline *pipeline = lease->lane->pipeline;
	const size_t script = (size_t)(command->script - pipeline->scripts);
	struct error err;

	assert(script < pipeline->n_scripts);
	if (reply->type != REDIS_REPLY_ERROR) {
		timer_record(pipeline->timers[script], took_ns);
		pipeline_end(pipeline, command, reply, NULL);
		return;
	}

	char code[sizeof(err.code)];

	(void)snprintf(code, sizeof(code), "%.*s",
		(int)strcspn(reply->str, " "), reply->str);
	if (strcmp(code, "NOSCRIPT") == 0 && !command->by_text) {
		send_text(lease, command);
		return;
	}
	error_set_code(&err, ERROR_REDIS_ERROR, code, "redis: %s", reply->str);
	pipeline_end(pipeline, command, reply, &err);
}

/* An answer meets the oldest place. */
static void
meet(struct redis_lease *lease, const struct redisReply *reply)
{
	struct place place = *lease_place(lease, lease->head++);

	if (lease->attempted < lease->head)
		lease->attempted = lease->head;
	if (place.command == NULL) {
		counter_add(lease->lane->pipeline->late, 1);
		return;
	}
	place.command->lease = NULL;
	answer(lease, place.command, reply, lease->heard_ns - place.since_ns);
}

/*
 * A reply meets the oldest place, or one answer each of those that were
 * joined; an error is the answer to all of them.  NULL, or what is wrong.
 */
static const char *
match(struct redis_lease *lease, const struct redisReply *reply)
{
	if (lease_in_flight(lease) == 0)
		return "a reply to no command";

	const size_t n = lease_place(lease, lease->head)->n_joined;
	const bool each = n > 0 && reply->type != REDIS_REPLY_ERROR;

	if (each && (reply->type != REDIS_REPLY_ARRAY || reply->elements != n))
		return "not as many answers as requests";
	for (size_t i = 0; i < MAX(n, (size_t)1); i++)
		meet(lease, each ? reply->element[i] : reply);
	return NULL;
}

/* False: the lease is gone. */
static bool
take_replies(struct redis_lease *lease)
{
	redisReader *reader = lease->context->reader;

	for (;;) {
		void *reply = NULL;

		if (redisReaderGetReply(reader, &reply) != REDIS_OK) {
			lease_lose(lease, LEASE_PROTOCOL, reader->errstr);
			return false;
		}
		if (reply == NULL)
			return true;

		const char *fault = match(lease, reply);

		freeReplyObject(reply);
		if (fault != NULL) {
			lease_lose(lease, LEASE_PROTOCOL, fault);
			return false;
		}
	}
}

void
lease_read(struct redis_lease *lease)
{
	char *const buf = lease->lane->pipeline->inbuf;
	ssize_t n;

	for (;;) {
		n = recv(lease->fd, buf, LEASE_READ_SIZE, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			lease_lose(lease, LEASE_IO_ERROR,
				n == 0 ? "it closed the connection"
				       : strerrordesc_np(errno));
			return;
		}
		lease->heard_ns = clock_now_ns();
		if (redisReaderFeed(lease->context->reader, buf, (size_t)n) !=
			REDIS_OK) {
			lease_lose(lease, LEASE_PROTOCOL, "out of memory");
			return;
		}
		if (!take_replies(lease))
			return;
		if (n < LEASE_READ_SIZE)
			return;
	}
}
