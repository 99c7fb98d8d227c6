/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * A lease is a connection that is lent to us, the bytes still to be written
 * to it, and a ring of places, one per command on it, in the order of the
 * bytes.  Replies meet the places in pipeline_reply.c.
 *
 * Commands of one turn that can be joined leave as one call of their script,
 * whose reply is an array: Redis reads the event and the clock once and writes
 * each key once, a fifth of the work when sixteen ride together.  A command
 * joins at its end, so the order of places is the order of answers.
 *
 * `attempted` divides the commands whose bytes write() may have taken from
 * those it has not seen.  When the connection dies, the latter have certainly
 * not been executed: they are placed anew as if nothing had happened, and
 * only the former spend their one retry.
 */
#include "api/pipeline_internal.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/http.h"
#include "common/metrics.h"
#include "common/redis.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static void on_ready(void *arg, uint32_t events);

size_t
lease_in_flight(const struct redis_lease *lease)
{
	return lease->tail - lease->head;
}

bool
lease_has_room(const struct redis_lease *lease)
{
	const size_t n = lease_in_flight(lease);

	return !lease->draining && n < pipeline_limit() && n < lease->capacity;
}

static bool
grow_ring(struct redis_lease *lease, size_t wanted)
{
	size_t capacity = 1;

	if (lease->capacity >= wanted)
		return true;
	while (capacity < wanted)
		capacity *= 2;
	free(lease->ring);
	lease->ring = calloc(capacity, sizeof(*lease->ring));
	lease->capacity = lease->ring != NULL ? capacity : 0;
	return lease->ring != NULL;
}

static struct redis_lease *
lease_new(struct lane *lane)
{
	struct redis_lease *lease = TAILQ_FIRST(&lane->spare);

	if (lease != NULL)
		TAILQ_REMOVE(&lane->spare, lease, link);
	else
		lease = calloc(1, sizeof(*lease));
	if (lease == NULL || !grow_ring(lease, pipeline_limit())) {
		lease_free(lease);
		return NULL;
	}
	lease->lane = lane;
	return lease;
}

void
lease_free(struct redis_lease *lease)
{
	if (lease == NULL)
		return;
	assert(lease->entry == NULL);
	resp_call_fini(&lease->call);
	resp_buffer_fini(&lease->out);
	free(lease->ring);
	free(lease);
}

/*
 * An idle connection has nothing to say: if it can be read, Redis closed it.
 * Found here, nothing has been sent and no request is left in doubt.
 */
static bool
is_quiet(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       errno == EAGAIN;
}

static int
watch(struct redis_lease *lease, uint32_t events, struct error *err)
{
	return http_loop_watch(lease->lane->pipeline->loop, lease->fd, events,
		on_ready, lease, err);
}

/* May a command leave on it?  Else it goes back to the pool. */
static int
take_entry(struct lane *lane, struct pool_entry *entry, struct error *err)
{
	const struct pipeline *pipeline = lane->pipeline;

	if (redis_shard_is_in_doubt(pipeline->shards,
		    (size_t)(lane - pipeline->lanes), clock_now_ns())) {
		pool_release(lane->pool, &entry, POOL_REUSE);
		return error_set(err, ERROR_FENCED,
			"redis: it was restarted and is being checked");
	}
	if (is_quiet(redis_conn_fd(entry->resource)))
		return 0;
	counter_add(pipeline->losses[LEASE_STALE], 1);
	pool_release(lane->pool, &entry, POOL_DESTROY);
	return error_set(err, ERROR_CONNECTION_LOST,
		"redis: it closed an idle connection");
}

int
lease_open(struct lane *lane, struct pool_entry *entry,
	struct redis_lease **ret, struct error *err)
{
	struct redis_conn *conn = entry->resource;
	struct redis_lease *lease;
	int rc = take_entry(lane, entry, err);

	if (rc != 0)
		return rc;
	lease = lease_new(lane);
	if (lease == NULL) {
		pool_release(lane->pool, &entry, POOL_REUSE);
		return error_set(err, ERROR_NO_MEMORY, "redis: out of memory");
	}
	lease->context = redis_conn_context(conn);
	lease->fd = redis_conn_fd(conn);
	lease->head = lease->tail = lease->attempted = 0;
	lease->heard_ns = clock_now_ns();
	lease->fair_until_ns = lease->heard_ns + pipeline_max_wait_ns() / 4;
	lease->draining = lease->wants_write = false;

	rc = watch(lease, EPOLLIN, err);
	if (rc < 0) {
		TAILQ_INSERT_TAIL(&lane->spare, lease, link);
		pool_release(lane->pool, &entry, POOL_REUSE);
		return rc;
	}
	lease->entry = entry;
	TAILQ_INSERT_TAIL(&lane->leases, lease, link);
	*ret = lease;
	return 0;
}

static void
lease_close(struct redis_lease *lease, enum pool_return how)
{
	struct lane *lane = lease->lane;

	http_loop_unwatch(lane->pipeline->loop, lease->fd);
	TAILQ_REMOVE(&lane->leases, lease, link);
	resp_call_clear(&lease->call);
	resp_buffer_clear(&lease->out);
	lease->context = NULL;
	pool_release(lane->pool, &lease->entry, how);
}

void
lease_return(struct redis_lease *lease)
{
	const redisReader *reader = lease->context->reader;
	const bool clean = reader->pos == reader->len && reader->ridx <= 0;

	assert(lease_in_flight(lease) == 0);
	if (!clean)
		counter_add(lease->lane->pipeline->losses[LEASE_PROTOCOL], 1);
	lease_close(lease, clean ? POOL_REUSE : POOL_DESTROY);
	TAILQ_INSERT_TAIL(&lease->lane->spare, lease, link);
}

void
lease_destroy(struct redis_lease *lease, enum lease_loss loss,
	const struct error *err)
{
	struct pipeline *pipeline = lease->lane->pipeline;

	counter_add(pipeline->losses[loss], 1);
	lease_close(lease, POOL_DESTROY);
	for (; lease->head != lease->tail; lease->head++) {
		struct redis_command *command =
			lease_place(lease, lease->head)->command;

		if (command == NULL)
			continue;
		command->lease = NULL;
		if (lease->head >= lease->attempted) {
			command->copies--; /* not a byte of it was written */
			pipeline_place(pipeline, command);
		} else {
			pipeline_retry(pipeline, command, err);
		}
	}
	TAILQ_INSERT_TAIL(&lease->lane->spare, lease, link);
}

bool
lease_is_unwritten(const struct redis_lease *lease)
{
	return lease->call.n > 0 || lease->out.sent < lease->out.len;
}

/* Nothing joins it any more: its first place learns how many it answers. */
static void
end_call(struct redis_lease *lease)
{
	const size_t n = lease->call.n;

	if (n == 0)
		return;
	if (lease->call.may_grow)
		lease_place(lease, lease->tail - n)->n_joined = n;
	resp_call_end(&lease->call, &lease->out);
}

bool
lease_append(struct redis_lease *lease, struct redis_command *command,
	int64_t now_ns)
{
	assert(lease_in_flight(lease) < lease->capacity);
	if (!resp_call_takes(&lease->call, command))
		end_call(lease);
	if (!resp_call_add(&lease->call, command, &lease->out))
		return false;
	*lease_place(lease, lease->tail) = (struct place){ command, now_ns, 0 };
	command->lease = lease;
	command->place = lease->tail++;
	command->copies++;
	command->state = COMMAND_IN_FLIGHT;
	return true;
}

void
lease_abandon(struct redis_command *command)
{
	struct redis_lease *lease = command->lease;
	struct place *place = lease_place(lease, command->place);

	assert(place->command == command);
	place->command = NULL;
	command->lease = NULL;
	counter_add(lease->lane->pipeline->abandoned, 1);
}

int64_t
lease_silent_at_ns(const struct redis_lease *lease)
{
	if (lease_in_flight(lease) == 0)
		return INT64_MAX;

	const int64_t since_ns = lease_place(lease, lease->head)->since_ns;
	const int64_t quiet_ns =
		since_ns > lease->heard_ns ? since_ns : lease->heard_ns;

	return quiet_ns + pipeline_silence_ns();
}

void
lease_lose(struct redis_lease *lease, enum lease_loss loss, const char *why)
{
	struct error err;

	error_set(&err, ERROR_CONNECTION_LOST, "redis: %s", why);
	lease_destroy(lease, loss, &err);
}

/* To change a watch that exists takes no memory and cannot fail. */
static void
watch_writes(struct redis_lease *lease, bool wanted)
{
	struct error err;

	if (lease->wants_write == wanted)
		return;
	if (watch(lease, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, &err) == 0)
		lease->wants_write = wanted;
}

void
lease_flush(struct redis_lease *lease)
{
	struct resp_buffer *out = &lease->out;

	end_call(lease);
	while (out->sent < out->len) {
		lease->attempted = lease->tail;

		ssize_t n = send(lease->fd, out->data + out->sent,
			out->len - out->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0) {
			out->sent += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN) {
			lease_lose(
				lease, LEASE_IO_ERROR, strerrordesc_np(errno));
			return;
		}
		watch_writes(lease, true);
		return;
	}
	resp_buffer_clear(out);
	watch_writes(lease, false);
}

static void
on_ready(void *arg, uint32_t events)
{
	struct redis_lease *lease = arg;

	/* A close is read as well: the replies before it count. */
	if ((events & ~(uint32_t)EPOLLOUT) != 0)
		lease_read(lease);
	else
		lease_flush(lease);
}
