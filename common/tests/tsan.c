/* SPDX-License-Identifier: MIT */
/*
 * tsan - what ThreadSanitizer needs to know of librdkafka.
 *
 * Debian's librdkafka uses C11 threads, which ThreadSanitizer of gcc 12 does
 * not intercept: it crashes in the first thread that it has not seen start,
 * and would report races that a C11 mutex prevents.  These definitions come
 * before the C library's and go through the pthread functions it knows.
 */
#if defined(__SANITIZE_THREAD__)
#include "common/compiler.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t), "mtx_t holds one");
static_assert(sizeof(cnd_t) >= sizeof(pthread_cond_t), "cnd_t holds one");

const char *__tsan_default_suppressions(void);

/*
 * librdkafka 2.0.2 destroys a lock that its broker thread has just read, and
 * counts references with atomics that ThreadSanitizer does not see: the
 * buffer that a message was copied from, its broker thread frees.
 */
const char *
__tsan_default_suppressions(void)
{
	return "race:pthread_rwlock_destroy\n"
	       "race:rd_kafka_header_add\n"
	       "race:letter_init\n";
}

struct start {
	thrd_start_t fn;
	void *arg;
};

static int
result(int error)
{
	switch (error) {
	case 0:
		return thrd_success;
	case ETIMEDOUT:
		return thrd_timedout;
	case EBUSY:
		return thrd_busy;
	case ENOMEM:
		return thrd_nomem;
	default:
		return thrd_error;
	}
}

static void *
run(void *arg)
{
	struct start start = *(struct start *)arg;

	free(arg);
	return (void *)(intptr_t)start.fn(start.arg);
}

int
thrd_create(thrd_t *thread, thrd_start_t fn, void *arg)
{
	struct start *start = malloc(sizeof(*start));
	int error;

	if (start == NULL)
		return thrd_nomem;
	*start = (struct start){ fn, arg };
	error = pthread_create(thread, NULL, run, start);
	if (error != 0)
		free(start);
	return result(error);
}

int
thrd_join(thrd_t thread, int *ret)
{
	void *value = NULL;
	int error = pthread_join(thread, &value);

	if (ret != NULL)
		*ret = (int)(intptr_t)value;
	return result(error);
}

int
mtx_init(mtx_t *mutex, int type)
{
	pthread_mutexattr_t attr;
	int error;

	pthread_mutexattr_init(&attr);
	if ((type & mtx_recursive) != 0)
		pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	error = pthread_mutex_init((pthread_mutex_t *)mutex, &attr);
	pthread_mutexattr_destroy(&attr);
	return result(error);
}

void
mtx_destroy(mtx_t *mutex)
{
	pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int
mtx_lock(mtx_t *mutex)
{
	return result(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int
mtx_unlock(mtx_t *mutex)
{
	return result(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

int
cnd_init(cnd_t *cond)
{
	return result(pthread_cond_init((pthread_cond_t *)cond, NULL));
}

void
cnd_destroy(cnd_t *cond)
{
	pthread_cond_destroy((pthread_cond_t *)cond);
}

int
cnd_signal(cnd_t *cond)
{
	return result(pthread_cond_signal((pthread_cond_t *)cond));
}

int
cnd_broadcast(cnd_t *cond)
{
	return result(pthread_cond_broadcast((pthread_cond_t *)cond));
}

int
cnd_wait(cnd_t *cond, mtx_t *mutex)
{
	return result(pthread_cond_wait(
		(pthread_cond_t *)cond, (pthread_mutex_t *)mutex));
}

int
cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex,
	const struct timespec *restrict until)
{
	return result(pthread_cond_timedwait(
		(pthread_cond_t *)cond, (pthread_mutex_t *)mutex, until));
}
#else
typedef int not_tsan; /* an empty file is no C */
#endif
