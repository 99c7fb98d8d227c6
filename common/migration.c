/* SPDX-License-Identifier: MIT */
#include "common/migration.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/pg.h"
#include "common/schema.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#define ATTEMPT_NS (30 * NS_PER_S)
#define RETRY_NS NS_PER_S
#define TRIED_AFTER_NS NS_PER_S

struct migration {
	struct pool *pool; /* borrowed */
	pthread_t thread;
	int stop_fd;
	int done_fd;
	int64_t started_ns;
	_Atomic bool tried;
};

static bool
stopped_within(const struct migration *migration, int64_t ns)
{
	struct pollfd fd = { .fd = migration->stop_fd, .events = POLLIN };

	return poll(&fd, 1, (int)(ns / NS_PER_MS)) > 0;
}

static int
attempt(const struct migration *migration, int *ret_applied, struct error *err)
{
	const struct pg_wait wait = { .deadline_ns =
					      clock_now_ns() + ATTEMPT_NS,
		.cancel_fd = migration->stop_fd };

	return schema_apply(migration->pool, &wait, ret_applied, err);
}

static void *
run(void *arg)
{
	struct migration *migration = arg;
	struct error err;
	bool complained = false;
	int applied = 0;

	thread_set_name("migration");
	while (attempt(migration, &applied, &err) != 0) {
		atomic_store(&migration->tried, true);
		if (!complained)
			LOG_WARN("schema not applied yet, trying again",
				LOG_ERR(&err));
		complained = true;
		if (stopped_within(migration, RETRY_NS))
			return NULL;
	}
	LOG_INFO("schema is up to date", LOG_INT("version", schema_version()),
		LOG_INT("applied", applied));
	atomic_store(&migration->tried, true);
	(void)eventfd_write(migration->done_fd, 1);
	return NULL;
}

struct migration *
migration_start(struct pool *pool)
{
	struct migration *migration = calloc(1, sizeof(*migration));

	if (migration == NULL)
		abort(); /* at start */
	migration->pool = pool;
	migration->started_ns = clock_now_ns();
	migration->stop_fd = eventfd(0, EFD_CLOEXEC);
	migration->done_fd = eventfd(0, EFD_CLOEXEC);
	if (migration->stop_fd < 0 || migration->done_fd < 0 ||
		pthread_create(&migration->thread, NULL, run, migration) != 0)
		abort(); /* at start */
	return migration;
}

bool
migration_await(const struct migration *migration, int64_t deadline_ns)
{
	struct pollfd fd = { .fd = migration->done_fd, .events = POLLIN };

	return poll(&fd, 1, clock_poll_timeout_ms(deadline_ns)) > 0;
}

bool
migration_was_tried(const struct migration *migration)
{
	return atomic_load(&migration->tried) ||
	       clock_now_ns() > migration->started_ns + TRIED_AFTER_NS;
}

void
migration_free(struct migration *migration)
{
	if (migration == NULL)
		return;
	(void)eventfd_write(migration->stop_fd, 1);
	(void)pthread_join(migration->thread, NULL);
	(void)close(migration->stop_fd);
	(void)close(migration->done_fd);
	free(migration);
}
