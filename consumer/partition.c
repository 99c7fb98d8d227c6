/* SPDX-License-Identifier: MIT */
/* A partition's thread: its life, its waiting, what others see of it. */
#include "common/clock.h"
#include "common/error.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/pool.h"
#include "consumer/partition_internal.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

/*
 * stop_fd wakes every wait of the thread.  cancel_fd breaks off a statement,
 * and is only used when a thread that was told to stop does not: PostgreSQL
 * hangs.  done_fd tells that the thread has ended.
 */
#define BACKOFF_MIN_NS (100 * NS_PER_MS)
#define BACKOFF_MAX_NS NS_PER_S
#define OWNER_WAIT_NS NS_PER_S
#define VERSION_WAIT_NS (5 * NS_PER_S)

static void
beat(struct partition *p)
{
	atomic_store(&p->beat_ns, clock_now_ns());
}

static enum partition_state
state_of(enum error_kind kind)
{
	switch ((int)kind) {
	case ERROR_KAFKA_ERROR:
		return PARTITION_KAFKA;
	case ERROR_BAD_INPUT:
		return PARTITION_VERSION;
	case ERROR_BUSY:
		return PARTITION_OWNER;
	default:
		return PARTITION_DATABASE;
	}
}

static int64_t
next_backoff(struct partition *p, enum partition_state state)
{
	if (state == PARTITION_OWNER)
		return OWNER_WAIT_NS;
	if (state == PARTITION_VERSION)
		return VERSION_WAIT_NS;
	p->backoff_ns = p->backoff_ns == 0 ? BACKOFF_MIN_NS : 2 * p->backoff_ns;
	if (p->backoff_ns > BACKOFF_MAX_NS)
		p->backoff_ns = BACKOFF_MAX_NS;
	/* Several partitions that lost the same server: 50-100 % of it. */
	return p->backoff_ns / 2 +
	       (p->backoff_ns / 2) * (clock_now_ns() % 97) / 97;
}

/* While nothing is fetched, nothing else keeps the lag true. */
static void
refresh_high(struct partition *p)
{
	struct error ignored;
	int64_t low;
	int64_t high;

	if (reader_watermarks(&p->reader, &low, &high, &ignored) == 0)
		atomic_store(&p->high, high);
}

static void
sleep_until_stop(struct partition *p, int64_t ns)
{
	struct pollfd fd = { .fd = p->stop_fd, .events = POLLIN };
	int64_t deadline_ns = clock_now_ns() + ns;

	while (poll(&fd, 1, clock_poll_timeout_ms(deadline_ns)) < 0)
		assert(errno == EINTR);
}

static void
pause_for(struct partition *p, const struct error *err)
{
	enum partition_state state = state_of(err->kind);

	if (err->kind == ERROR_CANCELLED)
		return;
	if (p->paused_ns == 0)
		p->paused_ns = clock_now_ns();
	p->paused_at = p->pos.next_offset;
	atomic_store(&p->state, state);
	if (state == PARTITION_VERSION)
		LOG_ERROR("partition paused", LOG_INT("partition", p->id),
			LOG_INT("offset", p->pos.next_offset),
			LOG_STR("state", partition_state_name(state)),
			LOG_ERR(err));
	else
		LOG_WARN("partition paused", LOG_INT("partition", p->id),
			LOG_INT("offset", p->pos.next_offset),
			LOG_STR("state", partition_state_name(state)),
			LOG_ERR(err));
	sleep_until_stop(p, next_backoff(p, state));
	if (state != PARTITION_KAFKA)
		refresh_high(p);
}

static void
running(struct partition *p)
{
	p->backoff_ns = 0;
	if (p->paused_ns == 0)
		return;
	/* Looking again at a newer message begins with finding nothing. */
	if (atomic_load(&p->state) == PARTITION_VERSION &&
		p->pos.next_offset == p->paused_at)
		return;
	LOG_INFO("partition goes on", LOG_INT("partition", p->id),
		LOG_INT("paused_ms",
			(clock_now_ns() - p->paused_ns) / NS_PER_MS));
	p->paused_ns = 0;
	atomic_store(&p->state, PARTITION_RUNNING);
}

static void *
run(void *arg)
{
	struct partition *p = arg;
	struct error err;

	thread_set_name("part-%d", (int)p->id);
	while (!atomic_load(&p->stop)) {
		beat(p);
		if (partition_turn(p, &err) == 0)
			running(p);
		else
			pause_for(p, &err);
	}
	(void)eventfd_write(p->done_fd, 1);
	return NULL;
}

/* ---- from the rebalance callback ---- */

static int
new_fd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		abort(); /* out of descriptors: RLIMIT_NOFILE was raised */
	return fd;
}

struct partition *
partition_new(struct partition_env *env, int32_t id)
{
	struct partition *p = calloc(1, sizeof(*p));

	if (p == NULL)
		abort();
	p->env = env;
	p->id = id;
	p->stop_fd = new_fd();
	p->cancel_fd = new_fd();
	p->done_fd = new_fd();
	atomic_store(&p->next_offset, -1);
	atomic_store(&p->high, -1);
	beat(p);
	p->pos = (struct position){
		.group = env->group, .topic = env->topic, .partition = id
	};
	p->writer = writer_new(&env->writer);
	p->inbox = pool_inbox_new();
	reader_init(&p->reader, env->rk, env->rkt, id);
	return p;
}

int32_t
partition_id(const struct partition *p)
{
	return p->id;
}

void
partition_start(struct partition *p)
{
	if (p->started)
		return;
	if (pthread_create(&p->thread, NULL, run, p) != 0)
		abort(); /* an assigned partition without a thread is stuck */
	p->started = true;
}

void
partition_stop(struct partition *p)
{
	atomic_store(&p->stop, true);
	(void)eventfd_write(p->stop_fd, 1);
	reader_wake(&p->reader);
}

void
partition_join(struct partition *p, int64_t deadline_ns)
{
	struct pollfd fd = { .fd = p->done_fd, .events = POLLIN };

	if (!p->started)
		return;
	if (poll(&fd, 1, clock_poll_timeout_ms(deadline_ns)) == 0)
		(void)eventfd_write(p->cancel_fd, 1);
	(void)pthread_join(p->thread, NULL);
	p->started = false;
}

void
partition_free(struct partition *p)
{
	if (p == NULL)
		return;
	assert(!p->started);
	reader_fini(&p->reader);
	batch_free(&p->batch);
	writer_free(p->writer);
	pool_inbox_free(p->inbox);
	(void)close(p->stop_fd);
	(void)close(p->cancel_fd);
	(void)close(p->done_fd);
	free(p);
}

void
partition_status(struct partition *p, struct partition_status *ret)
{
	int64_t high = reader_cached_high(&p->reader, p->env->topic);
	int64_t asked = atomic_load(&p->high);

	*ret = (struct partition_status){
		.id = p->id,
		.state = atomic_load(&p->state),
		.next_offset = atomic_load(&p->next_offset),
		.lag = -1,
		.silent_ns = clock_now_ns() - atomic_load(&p->beat_ns),
		.batch_size = atomic_load(&p->batch_size),
	};
	if (asked > high)
		high = asked;
	if (ret->next_offset >= 0 && high >= 0)
		ret->lag =
			high > ret->next_offset ? high - ret->next_offset : 0;
}
