/* SPDX-License-Identifier: MIT */
#include "consumer/guard.h"

#include "common/clock.h"
#include "common/lifecycle.h"
#include "common/log.h"

#include <poll.h>
#include <sys/eventfd.h>

static void *
run(void *arg)
{
	struct guard *guard = arg;
	struct pollfd fd = { .fd = guard->fd, .events = POLLIN };

	thread_set_name("stop-guard");
	if (poll(&fd, 1, clock_poll_timeout_ms(guard->deadline_ns)) != 0)
		return NULL;
	if (guard->status == EXIT_SUCCESS)
		LOG_WARN("stop hangs, ending the process",
			LOG_STR("in", guard->message));
	else
		LOG_ERROR("stop hangs, ending the process",
			LOG_STR("in", guard->message));
	log_stop();
	_exit(guard->status);
}

void
guard_start(struct guard *guard, int64_t deadline_ns, const char *message,
	int status)
{
	guard->deadline_ns = deadline_ns;
	guard->message = message;
	guard->status = status;
	guard->fd = eventfd(0, EFD_CLOEXEC);
	if (guard->fd < 0 ||
		pthread_create(&guard->thread, NULL, run, guard) != 0)
		abort(); /* unguarded, a hang would last for ever */
}

void
guard_end(struct guard *guard)
{
	(void)eventfd_write(guard->fd, 1);
	(void)pthread_join(guard->thread, NULL);
	(void)close(guard->fd);
}
