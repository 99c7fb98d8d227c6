/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * A caller spells its line on its own stack, claims a slot of a bounded ring
 * (Dmitry Vyukov's queue: each slot's turn number says whether it is free or
 * filled, claiming is one compare-and-swap) and copies it in.  The writer
 * gathers whole lines into chunks of at most PIPE_BUF and writes a chunk only
 * when poll() says it will not block, so that lines of processes that share a
 * pipe do not mix and log_stop() can end the writer while the reader is stuck.
 * A full ring drops the line and counts it; the writer reports the count as
 * soon as lines go out again.
 *
 * The writer sleeps on an eventfd.  It raises `asleep`, looks at the ring
 * once more and reads; a caller publishes its line, then looks at `asleep`:
 * with both sequentially consistent, one of them sees the other.
 */
#include "common/log.h"

#include "common/clock.h"
#include "common/lifecycle.h"
#include "common/log_line.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#define RING_SIZE 1024 /* a power of two */
#define STOP_PATIENCE NS_PER_S

static_assert(LOG_LINE_MAX <= PIPE_BUF, "a line is written in one piece");

/*
 * turn == position: free for the caller that claims this position.
 * turn == position + 1: filled.  The writer frees it for the next lap.
 */
struct slot {
	_Atomic uint64_t turn;
	size_t len;
	char line[LOG_LINE_MAX];
};

static struct {
	struct slot ring[RING_SIZE];
	CACHE_ALIGNED _Atomic uint64_t head; /* next position to claim */
	CACHE_ALIGNED uint64_t tail;         /* the writer's */
	_Atomic uint64_t dropped;
	_Atomic int64_t stop_ns; /* when the writer gives up; 0: not stopping */
	pthread_t thread;
	_Atomic int level;
	enum log_format format;
	int wake_fd;
	_Atomic bool running;
	_Atomic bool asleep;
} logger = { .level = LOG_LEVEL_INFO, .wake_fd = -1 };

static const char *const level_names[] = { "off", "error", "warn", "info",
	"debug", "trace" };

/* ---- levels ---- */

bool
log_level_parse(const char *text, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (strcasecmp(text, level_names[i]) != 0)
			continue;
		*ret = (enum log_level)i;
		return true;
	}
	return false;
}

const char *
log_level_name(enum log_level level)
{
	assert((size_t)level < ARRAY_SIZE(level_names));
	return level_names[level];
}

void
log_set_level(enum log_level level)
{
	atomic_store_explicit(&logger.level, (int)level, memory_order_relaxed);
}

enum log_level
log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(
		&logger.level, memory_order_relaxed);
}

bool
log_is_enabled(enum log_level level)
{
	return level <= log_get_level();
}

uint64_t
log_dropped(void)
{
	return atomic_load(&logger.dropped);
}

/* ---- callers ---- */

static void
wake_writer(void)
{
	const uint64_t one = 1;
	ssize_t n = write(logger.wake_fd, &one, sizeof(one));

	(void)n; /* cannot fail: the counter is read long before it is full */
}

static bool
ring_put(const char *line, size_t len)
{
	uint64_t at = atomic_load_explicit(&logger.head, memory_order_relaxed);
	struct slot *slot;

	for (;;) {
		slot = &logger.ring[at % RING_SIZE];
		uint64_t turn =
			atomic_load_explicit(&slot->turn, memory_order_acquire);

		if (turn < at)
			return false; /* not read since the last lap: full */
		if (turn == at &&
			atomic_compare_exchange_weak(&logger.head, &at, at + 1))
			break;
		if (turn > at)
			at = atomic_load(&logger.head);
	}
	memcpy(slot->line, line, len);
	slot->len = len;
	atomic_store(&slot->turn, at + 1);
	return true;
}

static void
write_directly(const char *line, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, line, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		line += n;
		len -= (size_t)n;
	}
}

static size_t
format_line(char line[LOG_LINE_MAX], struct log_record record)
{
	char thread[16] = "";

	(void)pthread_getname_np(pthread_self(), thread, sizeof(thread));
	record.thread = thread;
	record.wall_ms = clock_wall_ms();
	return log_line_format(logger.format, &record, line);
}

void
log_write(struct log_site *site, enum log_level level, const char *message,
	const struct log_field *fields)
{
	struct log_record record = {
		.level = level, .message = message, .fields = fields
	};
	char line[LOG_LINE_MAX];

	if (site != NULL && level <= LOG_LEVEL_WARN &&
		!log_site_admit(site, clock_now_ns(), &record.suppressed))
		return;
	size_t len = format_line(line, record);

	if (!atomic_load_explicit(&logger.running, memory_order_acquire))
		write_directly(line, len);
	else if (!ring_put(line, len))
		atomic_fetch_add(&logger.dropped, 1);
	else if (atomic_load(&logger.asleep) &&
		 atomic_exchange(&logger.asleep, false))
		wake_writer();
}

/* ---- the writer ---- */

static bool
ring_has_line(void)
{
	return atomic_load(&logger.ring[logger.tail % RING_SIZE].turn) ==
	       logger.tail + 1;
}

/* Move whole lines into `chunk`, as many as are there and fit. */
static size_t
ring_take(char chunk[PIPE_BUF])
{
	size_t len = 0;

	while (ring_has_line()) {
		struct slot *slot = &logger.ring[logger.tail % RING_SIZE];

		if (len + slot->len > PIPE_BUF)
			break;
		memcpy(chunk + len, slot->line, slot->len);
		len += slot->len;
		atomic_store_explicit(&slot->turn, logger.tail + RING_SIZE,
			memory_order_release);
		logger.tail++;
	}
	return len;
}

/* False when the writer was told to stop and its patience has ended. */
static bool
wait_writable(void)
{
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = STDERR_FILENO, .events = POLLOUT },
			{ .fd = logger.wake_fd, .events = POLLIN },
		};
		int64_t stop_ns = atomic_load(&logger.stop_ns);
		int timeout =
			stop_ns == 0 ? -1 : clock_poll_timeout_ms(stop_ns);

		if (timeout == 0)
			return false;
		/* Once told to stop, the eventfd has nothing more to say. */
		int rc = poll(fds, stop_ns == 0 ? 2 : 1, timeout);

		if (rc > 0 && fds[0].revents != 0)
			return true;
		if (rc > 0) {
			eventfd_t ignored;

			(void)eventfd_read(logger.wake_fd, &ignored);
		}
	}
}

static bool
write_chunk(const char *chunk, size_t len)
{
	while (len > 0) {
		if (!wait_writable())
			return false;
		ssize_t n = write(STDERR_FILENO, chunk, len);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return true; /* nobody reads: this chunk is gone */
		chunk += n;
		len -= (size_t)n;
	}
	return true;
}

static bool
report_dropped(uint64_t *reported)
{
	uint64_t dropped = log_dropped();
	char line[LOG_LINE_MAX];

	if (dropped == *reported)
		return true;
	const struct log_field fields[] = {
		LOG_INT("dropped", dropped - *reported),
		{ 0 },
	};
	struct log_record record = { .level = LOG_LEVEL_WARN,
		.message = "log lines were dropped",
		.fields = fields };

	*reported = dropped;
	return write_chunk(line, format_line(line, record));
}

static void
sleep_until_woken(void)
{
	eventfd_t ignored;

	atomic_store(&logger.asleep, true);
	if (!ring_has_line() && atomic_load(&logger.stop_ns) == 0)
		(void)eventfd_read(logger.wake_fd, &ignored);
	atomic_store(&logger.asleep, false);
}

static void *
write_lines(void *arg UNUSED)
{
	uint64_t reported = log_dropped();
	char chunk[PIPE_BUF];
	bool going = true;

	thread_set_name("log");
	while (going) {
		size_t len = ring_take(chunk);

		if (len > 0)
			going = write_chunk(chunk, len) &&
				report_dropped(&reported);
		else if (atomic_load(&logger.stop_ns) != 0)
			break;
		else
			sleep_until_woken();
	}
	return NULL;
}

void
log_start(enum log_level level, enum log_format format)
{
	assert(!atomic_load(&logger.running));
	log_set_level(level);
	logger.format = format;
	atomic_store(&logger.stop_ns, 0);
	/* A fresh ring: positions and turns go on from where they were. */
	for (uint64_t i = 0; logger.head == 0 && i < RING_SIZE; i++)
		atomic_store(&logger.ring[i].turn, i);
	/* Kept for good: a late caller must not wake somebody else's file. */
	if (logger.wake_fd < 0)
		logger.wake_fd = eventfd(0, EFD_CLOEXEC);
	if (logger.wake_fd < 0)
		return;
	if (pthread_create(&logger.thread, NULL, write_lines, NULL) == 0)
		atomic_store(&logger.running, true);
}

void
log_stop(void)
{
	char chunk[PIPE_BUF];

	if (!atomic_exchange(&logger.running, false))
		return;
	atomic_store(&logger.stop_ns, clock_now_ns() + STOP_PATIENCE);
	wake_writer();
	(void)pthread_join(logger.thread, NULL);
	/* Lines left by a reader that was stuck: nobody will read them. */
	while (ring_take(chunk) > 0)
		;
}
