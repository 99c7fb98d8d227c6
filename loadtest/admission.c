/* SPDX-License-Identifier: MIT */
/*
 * admission - what the limiter and the breaker cost a request, with one
 * thread and with two.  Prints nanoseconds per call.
 */
#include "api/breaker.h"
#include "api/limiter.h"
#include "common/clock.h"
#include "common/compiler.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum { CALLS = 5000000 };

static struct limiter *limiter;
static struct breaker *breaker;

static void *
ask_limiter(void *arg)
{
	(void)arg;
	for (int i = 0; i < CALLS; i++)
		(void)limiter_acquire(limiter, i, 0);
	return NULL;
}

static void *
ask_breaker(void *arg)
{
	struct breaker_permit permit;

	(void)arg;
	for (int i = 0; i < CALLS; i++)
		if (breaker_acquire(breaker, i, INT64_MAX, &permit))
			breaker_record(breaker, &permit, i, BREAKER_SUCCESS);
	return NULL;
}

/* CPU time: other processes must not count. */
static double
cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void
measure(const char *what, void *(*run)(void *), int n_threads)
{
	pthread_t threads[2];
	double start = cpu_ns();

	for (int i = 0; i < n_threads; i++)
		if (pthread_create(&threads[i], NULL, run, NULL) != 0)
			exit(EXIT_FAILURE);
	for (int i = 0; i < n_threads; i++)
		pthread_join(threads[i], NULL);
	(void)printf("%-22s %d thread%s %6.1f ns\n", what, n_threads,
		n_threads > 1 ? "s" : " ",
		(cpu_ns() - start) / CALLS / n_threads);
}

int
main(void)
{
	const struct limiter_config unlimited = {
		.limit = 100000000,
		.period_ns = NS_PER_S,
	};
	const struct breaker_config config = {
		.enabled = true,
		.window_size = 10,
		.minimum_calls = 10,
		.half_open_calls = 3,
		.failure_rate = 50,
		.slow_rate = 100,
		.slow_call_ns = NS_PER_S,
		.open_ns = NS_PER_S,
		.first_open_ns = NS_PER_S,
	};

	limiter = limiter_new(&unlimited, 0);
	breaker = breaker_new(&config, 0);
	if (limiter == NULL || breaker == NULL)
		return EXIT_FAILURE;
	for (int n_threads = 1; n_threads <= 2; n_threads++) {
		measure("limiter, a permit", ask_limiter, n_threads);
		measure("breaker, a call", ask_breaker, n_threads);
	}
	breaker_free(breaker);
	limiter_free(limiter);
	return EXIT_SUCCESS;
}
