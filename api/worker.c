/* SPDX-License-Identifier: MIT */
#include "api/worker.h"

#include "common/clock.h"
#include "common/lifecycle.h"
#include "common/metrics.h"
#include "common/sync.h"

#include <assert.h>

static const struct metric_family queued_family METRIC_FAMILY = {
	.name = "worker.queued",
	.kind = METRIC_GAUGE,
	.base_unit = "tasks",
	.description = "Jobs that wait for a worker thread.",
};
static const struct metric_family active_family METRIC_FAMILY = {
	.name = "worker.active",
	.kind = METRIC_GAUGE,
	.base_unit = "tasks",
	.description = "Jobs that a worker thread runs.",
};
static const struct metric_family rejected_family METRIC_FAMILY = {
	.name = "worker.rejected",
	.kind = METRIC_COUNTER,
	.base_unit = "tasks",
	.description = "Jobs refused because the queue was full.",
};

struct worker {
	size_t queue_size; /* immutable after worker_new() */
	unsigned n_threads;
	pthread_t *threads;
	struct metrics *metrics;
	struct counter *rejected;
	struct mutex lock;
	struct cond changed; /* with lock: a job was queued, or stopping */
	struct locked {      /* only through locked() */
		struct worker_job *head;  /* next to run */
		struct worker_job **tail; /* where the next one goes */
		size_t n_queued;
		size_t n_active;
		bool stopping;
	} locked_;
};

static struct locked *locked(struct worker *worker) REQUIRES(worker->lock);

static struct locked *
locked(struct worker *worker)
{
	return &worker->locked_;
}

static void
deliver(struct http_post *post)
{
	struct worker_job *job = container_of(post, struct worker_job, post);

	job->done(job);
}

static void
finish(struct worker_job *job)
{
	job->post.fn = deliver;
	http_loop_post(job->loop, &job->post);
}

static void
run(struct worker_job *job)
{
	if (clock_now_ns() >= job->deadline_ns) {
		job->rc = error_set(&job->err, ERROR_TIMEOUT,
			"the deadline passed before a worker was free");
		return;
	}
	job->started = true;
	job->rc = job->run(job, &job->err);
}

static struct worker_job *
dequeue(struct locked *l)
{
	struct worker_job *job = l->head;

	l->head = job->next;
	if (l->head == NULL)
		l->tail = &l->head;
	l->n_queued--;
	l->n_active++;
	return job;
}

/* The next job, or NULL when the worker stops. */
static struct worker_job *
next_job(struct worker *worker)
{
	mutex_lock(&worker->lock);
	struct locked *l = locked(worker);
	while (l->head == NULL && !l->stopping)
		cond_wait(&worker->changed, &worker->lock);
	struct worker_job *job = l->stopping ? NULL : dequeue(l);
	mutex_unlock(&worker->lock);
	return job;
}

static void
job_ended(struct worker *worker)
{
	mutex_lock(&worker->lock);
	locked(worker)->n_active--;
	mutex_unlock(&worker->lock);
}

static void *
worker_thread(void *arg)
{
	struct worker *worker = arg;
	struct worker_job *job;

	thread_set_name("worker");
	while ((job = next_job(worker)) != NULL) {
		run(job);
		job_ended(worker);
		finish(job);
	}
	return NULL;
}

static void
collect(void *arg, struct metrics_sink *sink)
{
	struct worker *worker = arg;

	mutex_lock(&worker->lock);
	size_t queued = locked(worker)->n_queued;
	size_t active = locked(worker)->n_active;
	mutex_unlock(&worker->lock);
	metrics_emit(sink, &queued_family, METRIC_NO_TAGS, (double)queued);
	metrics_emit(sink, &active_family, METRIC_NO_TAGS, (double)active);
}

struct worker *
worker_new(unsigned threads, size_t queue_size, struct metrics *metrics)
{
	struct worker *worker = calloc(1, sizeof(*worker));

	assert(threads > 0 && queue_size > 0);
	sync_must(worker == NULL);
	worker->queue_size = queue_size;
	worker->n_threads = threads;
	worker->metrics = metrics;
	worker->rejected =
		metrics_counter(metrics, &rejected_family, METRIC_NO_TAGS);
	mutex_init(&worker->lock);
	cond_init(&worker->changed);
	worker->locked_.tail = &worker->locked_.head;
	worker->threads = calloc(threads, sizeof(*worker->threads));
	sync_must(worker->threads == NULL);
	for (unsigned i = 0; i < threads; i++)
		sync_must(pthread_create(
			&worker->threads[i], NULL, worker_thread, worker));
	metrics_collector(metrics, collect, worker);
	return worker;
}

static bool
enqueue(struct worker *worker, struct worker_job *job, bool *ret_stopping)
{
	mutex_lock(&worker->lock);
	struct locked *l = locked(worker);
	*ret_stopping = l->stopping;
	bool fits = !l->stopping && l->n_queued < worker->queue_size;
	if (fits) {
		job->next = NULL;
		*l->tail = job;
		l->tail = &job->next;
		l->n_queued++;
		cond_signal(&worker->changed);
	}
	mutex_unlock(&worker->lock);
	return fits;
}

int
worker_submit(struct worker *worker, struct worker_job *job, struct error *err)
{
	bool stopping;

	assert(job->loop != NULL && job->run != NULL && job->done != NULL);
	job->started = false;
	if (enqueue(worker, job, &stopping))
		return 0;
	if (stopping)
		return error_set(err, ERROR_CLOSED, "worker: shutting down");
	counter_add(worker->rejected, 1);
	return error_set(err, ERROR_BUSY, "worker: %zu jobs wait already",
		worker->queue_size);
}

void
worker_stop(struct worker *worker)
{
	mutex_lock(&worker->lock);
	struct locked *l = locked(worker);
	struct worker_job *job = l->head;
	l->head = NULL;
	l->n_queued = 0;
	l->stopping = true;
	cond_broadcast(&worker->changed);
	mutex_unlock(&worker->lock);

	for (struct worker_job *next; job != NULL; job = next) {
		next = job->next; /* the job is gone once it was posted */
		job->rc = error_set(
			&job->err, ERROR_CLOSED, "worker: shutting down");
		finish(job);
	}
	for (unsigned i = 0; i < worker->n_threads; i++)
		sync_must(pthread_join(worker->threads[i], NULL));
	worker->n_threads = 0;
}

void
worker_free(struct worker *worker)
{
	if (worker == NULL)
		return;
	assert(worker->n_threads == 0);
	metrics_collector_remove(worker->metrics, collect, worker);
	cond_fini(&worker->changed);
	mutex_fini(&worker->lock);
	free(worker->threads);
	free(worker);
}
