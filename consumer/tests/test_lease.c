/* SPDX-License-Identifier: MIT */
/* lease: waiting in the pool's queue with one inbox, again and again. */
#include "common/clock.h"
#include "common/compiler.h"
#include "common/error.h"
#include "common/pool.h"
#include "common/tests/unit.h"
#include "consumer/lease.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int resource; /* any address will do */

static int
open_fake(void *ctx UNUSED, int64_t deadline_ns UNUSED, void **ret,
	struct error *err UNUSED)
{
	*ret = &resource;
	return 0;
}

static void
close_fake(void *ctx UNUSED, void *conn UNUSED)
{
}

static int
check_fake(void *ctx UNUSED, void *conn UNUSED, int64_t deadline_ns UNUSED,
	struct error *err UNUSED)
{
	return 0;
}

static const struct pool_methods methods = {
	.open = open_fake,
	.close = close_fake,
	.check = check_fake,
};

struct fixture {
	struct pool *pool;
	struct pool_inbox *inbox;
	int cancel_fd;
};

static void
fixture_init(struct fixture *f)
{
	const struct pool_config config = {
		.name = "test",
		.max_active = 1,
		.max_idle = 1,
		.max_waiters = 10,
		.max_opening = 1,
		.max_wait_ns = 5 * NS_PER_S,
		.connect_timeout_ns = NS_PER_S,
		.validation_timeout_ns = NS_PER_S,
	};

	f->pool = pool_new(&config, &methods, f, NULL);
	f->inbox = pool_inbox_new();
	f->cancel_fd = eventfd(0, EFD_NONBLOCK);
	assert_true(f->cancel_fd >= 0);
}

static void
fixture_fini(struct fixture *f)
{
	pool_free(f->pool);
	pool_inbox_free(f->inbox);
	(void)close(f->cancel_fd);
}

static int
acquire(struct fixture *f, int timeout_ms, struct lease *ret, struct error *err)
{
	const struct lease_request request = {
		.pool = f->pool,
		.inbox = f->inbox,
		.deadline_ns = clock_now_ns() + timeout_ms * NS_PER_MS,
		.cancel_fd = f->cancel_fd,
	};

	return lease_acquire(&request, ret, err);
}

static void *
give_back_soon(void *arg)
{
	struct lease *lease = arg;

	(void)poll(NULL, 0, 10);
	pool_release(lease->pool, &lease->entry, POOL_REUSE);
	return NULL;
}

static void
one_inbox_serves_wait_after_wait(void **state UNUSED)
{
	struct fixture f;
	struct lease held, mine;
	struct error err;
	pthread_t other;

	fixture_init(&f);
	assert_int_equal(acquire(&f, 5000, &held, &err), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(
			pthread_create(&other, NULL, give_back_soon, &held), 0);
		assert_int_equal(acquire(&f, 5000, &mine, &err), 0);
		assert_int_equal(pthread_join(other, NULL), 0);
		held = mine;
	}
	pool_release(held.pool, &held.entry, POOL_REUSE);
	fixture_fini(&f);
}

static void
a_wait_ends_at_its_deadline_and_when_cancelled(void **state UNUSED)
{
	struct fixture f;
	struct lease held, mine;
	struct error err;

	fixture_init(&f);
	assert_int_equal(acquire(&f, 5000, &held, &err), 0);
	assert_int_equal(acquire(&f, 20, &mine, &err), -ERROR_EXHAUSTED);
	assert_int_equal(eventfd_write(f.cancel_fd, 1), 0);
	assert_int_equal(acquire(&f, 5000, &mine, &err), -ERROR_CANCELLED);
	pool_release(held.pool, &held.entry, POOL_REUSE);
	fixture_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_inbox_serves_wait_after_wait),
		cmocka_unit_test(
			a_wait_ends_at_its_deadline_and_when_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
