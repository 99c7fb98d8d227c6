/* SPDX-License-Identifier: MIT */
#include "api/worker.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/sync.h"
#include "common/tests/unit.h"

#include <stdatomic.h>

/* A loop is where posts go: here a list that the test takes from. */
struct http_loop {
	struct mutex lock;
	struct cond posted; /* with lock: posts changed */
	struct http_post *posts;
};

void
http_loop_post(struct http_loop *loop, struct http_post *post)
{
	mutex_lock(&loop->lock);
	post->next = loop->posts;
	loop->posts = post;
	cond_signal(&loop->posted);
	mutex_unlock(&loop->lock);
}

/* Run the posts of `n` jobs. */
static void
loop_run(struct http_loop *loop, size_t n)
{
	while (n > 0) {
		mutex_lock(&loop->lock);
		while (loop->posts == NULL)
			cond_wait(&loop->posted, &loop->lock);
		struct http_post *post = loop->posts;
		loop->posts = post->next;
		mutex_unlock(&loop->lock);
		post->fn(post);
		n--;
	}
}

/* Jobs that wait at the gate until it is opened. */
struct gate {
	struct mutex lock;
	struct cond changed; /* with lock: open, entered */
	bool open;
	size_t entered;
};

static void
gate_pass(struct gate *gate)
{
	mutex_lock(&gate->lock);
	gate->entered++;
	cond_broadcast(&gate->changed);
	while (!gate->open)
		cond_wait(&gate->changed, &gate->lock);
	mutex_unlock(&gate->lock);
}

static void
gate_await(struct gate *gate, size_t entered)
{
	mutex_lock(&gate->lock);
	while (gate->entered < entered)
		cond_wait(&gate->changed, &gate->lock);
	mutex_unlock(&gate->lock);
}

static void
gate_open(struct gate *gate)
{
	mutex_lock(&gate->lock);
	gate->open = true;
	cond_broadcast(&gate->changed);
	mutex_unlock(&gate->lock);
}

struct task {
	struct worker_job job;
	struct gate *gate; /* may be NULL */
	_Atomic int ran;
	int done; /* the loop's thread */
};

struct fixture {
	struct metrics *metrics;
	struct http_loop loop;
	struct gate gate;
};

static int
task_run(struct worker_job *job, struct error *err)
{
	struct task *task = container_of(job, struct task, job);

	atomic_fetch_add(&task->ran, 1);
	if (task->gate != NULL)
		gate_pass(task->gate);
	return error_set(err, ERROR_NOT_FOUND, "as the test expects");
}

static void
task_done(struct worker_job *job)
{
	container_of(job, struct task, job)->done++;
}

static void
task_init(struct task *task, struct fixture *fixture, struct gate *gate)
{
	memset(task, 0, sizeof(*task));
	task->gate = gate;
	task->job.loop = &fixture->loop;
	task->job.deadline_ns = clock_now_ns() + 60 * NS_PER_S;
	task->job.run = task_run;
	task->job.done = task_done;
}

static int
set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	fixture->metrics = metrics_new();
	mutex_init(&fixture->loop.lock);
	cond_init(&fixture->loop.posted);
	mutex_init(&fixture->gate.lock);
	cond_init(&fixture->gate.changed);
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;

	cond_fini(&fixture->gate.changed);
	mutex_fini(&fixture->gate.lock);
	cond_fini(&fixture->loop.posted);
	mutex_fini(&fixture->loop.lock);
	metrics_free(fixture->metrics);
	free(fixture);
	return 0;
}

static void
a_job_runs_and_its_result_comes_back_to_the_loop(void **state)
{
	struct fixture *fixture = *state;
	struct worker *worker = worker_new(2, 4, fixture->metrics);
	struct task task;
	struct error err;

	task_init(&task, fixture, NULL);
	assert_int_equal(worker_submit(worker, &task.job, &err), 0);
	loop_run(&fixture->loop, 1);
	assert_int_equal(atomic_load(&task.ran), 1);
	assert_int_equal(task.done, 1);
	assert_int_equal(task.job.rc, -ERROR_NOT_FOUND);
	assert_string_equal(task.job.err.msg, "as the test expects");
	worker_stop(worker);
	worker_free(worker);
}

static void
a_full_queue_is_busy_and_nothing_is_called(void **state)
{
	struct fixture *fixture = *state;
	struct worker *worker = worker_new(1, 2, fixture->metrics);
	struct task tasks[4];
	struct error err;

	for (size_t i = 0; i < 4; i++)
		task_init(&tasks[i], fixture, &fixture->gate);
	assert_int_equal(worker_submit(worker, &tasks[0].job, &err), 0);
	gate_await(&fixture->gate, 1); /* it runs: the queue is empty */
	assert_int_equal(worker_submit(worker, &tasks[1].job, &err), 0);
	assert_int_equal(worker_submit(worker, &tasks[2].job, &err), 0);
	assert_int_equal(
		worker_submit(worker, &tasks[3].job, &err), -ERROR_BUSY);
	gate_open(&fixture->gate);
	loop_run(&fixture->loop, 3);
	worker_stop(worker);
	worker_free(worker);
	assert_int_equal(atomic_load(&tasks[3].ran), 0);
	assert_int_equal(tasks[3].done, 0);
}

static void
a_job_whose_deadline_has_passed_is_not_started(void **state)
{
	struct fixture *fixture = *state;
	struct worker *worker = worker_new(1, 2, fixture->metrics);
	struct task task;
	struct error err;

	task_init(&task, fixture, NULL);
	task.job.deadline_ns = clock_now_ns();
	assert_int_equal(worker_submit(worker, &task.job, &err), 0);
	loop_run(&fixture->loop, 1);
	assert_int_equal(task.job.rc, -ERROR_TIMEOUT);
	assert_false(task.job.started);
	assert_int_equal(atomic_load(&task.ran), 0);
	worker_stop(worker);
	worker_free(worker);
}

static void
stopping_fails_what_waits_and_lets_the_running_end(void **state)
{
	struct fixture *fixture = *state;
	struct worker *worker = worker_new(1, 2, fixture->metrics);
	struct task running, waiting, late;
	struct error err;

	task_init(&running, fixture, &fixture->gate);
	task_init(&waiting, fixture, NULL);
	task_init(&late, fixture, NULL);
	assert_int_equal(worker_submit(worker, &running.job, &err), 0);
	gate_await(&fixture->gate, 1);
	assert_int_equal(worker_submit(worker, &waiting.job, &err), 0);
	gate_open(&fixture->gate);
	worker_stop(worker);
	loop_run(&fixture->loop, 2);
	assert_int_equal(running.job.rc, -ERROR_NOT_FOUND);
	assert_int_equal(running.done + waiting.done, 2);
	assert_int_equal(worker_submit(worker, &late.job, &err), -ERROR_CLOSED);
	worker_free(worker);
}

static void
every_one_of_many_jobs_ends_once(void **state)
{
	enum { JOBS = 2000, QUEUE = 64 };
	struct fixture *fixture = *state;
	struct worker *worker = worker_new(4, QUEUE, fixture->metrics);
	struct task *tasks = calloc(JOBS, sizeof(*tasks));
	struct error err;

	assert_non_null(tasks);
	for (size_t i = 0; i < JOBS; i++) {
		task_init(&tasks[i], fixture, NULL);
		while (worker_submit(worker, &tasks[i].job, &err) != 0)
			sched_yield();
	}
	loop_run(&fixture->loop, JOBS);
	for (size_t i = 0; i < JOBS; i++) {
		assert_int_equal(atomic_load(&tasks[i].ran), 1);
		assert_int_equal(tasks[i].done, 1);
	}
	worker_stop(worker);
	worker_free(worker);
	free(tasks);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_job_runs_and_its_result_comes_back_to_the_loop,
			set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_full_queue_is_busy_and_nothing_is_called, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			a_job_whose_deadline_has_passed_is_not_started, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			stopping_fails_what_waits_and_lets_the_running_end,
			set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			every_one_of_many_jobs_ends_once, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
