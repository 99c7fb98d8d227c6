/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * One epoll instance per thread holds libmicrohttpd's own epoll descriptor,
 * an eventfd for posts, the listener and whatever the user watches (Redis
 * connections).  One turn:
 *
 *   wait -> dispatch events -> overdue requests -> MHD_run -> user's turn
 *        -> MHD_run again, if the user's turn answered something
 *
 * so that replies found by a watch leave in the same turn, and the commands
 * of all requests read in a turn are written by one user's turn.
 *
 * MHD_run() is called with something to do only, because libmicrohttpd's
 * epoll loop blocks on exactly k*128 ready events unless its time-out is 0,
 * which MHD_run() alone guarantees (libmicrohttpd 0.9.75 to 1.0.10).
 *
 * Waiting requests.  A suspended connection costs four system calls per
 * request: out of the epoll set, a read that finds nothing, into the set
 * again, and the event for that.  So a request that is not answered at once
 * is first left as it is: libmicrohttpd then calls its handler again at every
 * run ("polled").  One that has cost as much that way as a suspension would
 * (HTTP_POLLS_MAX runs) is suspended: whatever Redis needs for its replies,
 * an fsync or a slow network, waiting never costs more than twice the cheaper
 * of the two.  While there are polled ones MHD_get_timeout() cannot tell
 * whether there is other work, so a run is never put off longer than
 * HTTP_POLL_NS.
 */
#include "common/error.h"
#include "common/http_request_internal.h"
#include "common/lifecycle.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_PER_TURN 128
#define STOP_GRACE_NS NS_PER_S /* to write the last replies */

/* ---- the turn ---- */

static void
on_mhd_ready(void *arg, uint32_t events)
{
	struct http_loop *loop = arg;

	(void)events;
	loop->mhd_ready = true;
}

/* Does libmicrohttpd have work that no descriptor announces? */
static bool
has_leftovers(struct http_loop *loop)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	/* While requests are polled it always says so. */
	return loop->n_polled == 0 &&
	       MHD_get_timeout(loop->mhd, &timeout_ms) == MHD_YES &&
	       timeout_ms == 0;
}

static void
run_mhd(struct http_loop *loop)
{
	loop->mhd_ready = false;
	loop->answered = false;
	loop->late = 0;
	MHD_run(loop->mhd);
	if (loop->late > 0) /* queued in that run, written by this */
		MHD_run(loop->mhd);
	if (loop->n_polled > 0 && loop->now_ns >= loop->poll_again_ns)
		loop->poll_again_ns = loop->now_ns + HTTP_POLL_NS;
}

static int64_t
earliest(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Everything that is due by the clock; returns when it must be next. */
static int64_t
tick(struct http_loop *loop)
{
	int64_t next = earliest(http_conn_tick(loop), http_listen_tick(loop));

	if (loop->server->config.next_deadline_ns != NULL)
		next = earliest(next,
			loop->server->config.next_deadline_ns(loop->user));
	const struct http_request *first = TAILQ_FIRST(&loop->timed);
	if (first != NULL)
		next = earliest(next, first->deadline_ns);
	if (loop->n_polled > 0)
		next = earliest(next, loop->poll_again_ns);
	return next;
}

static int
wait_ms(struct http_loop *loop)
{
	int64_t next = tick(loop);

	if (loop->answered || has_leftovers(loop))
		return 0;
	return next == INT64_MAX ? -1 : clock_poll_timeout_ms(next);
}

static void
wait_and_dispatch(struct http_loop *loop, int timeout_ms)
{
	struct epoll_event events[EVENTS_PER_TURN];

	atomic_store_explicit(&loop->busy_since_ns, 0, memory_order_relaxed);
	int n = epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN, timeout_ms);
	loop->now_ns = clock_now_ns();
	atomic_store_explicit(
		&loop->busy_since_ns, loop->now_ns, memory_order_relaxed);
	for (int i = 0; i < n; i++)
		http_loop_dispatch(loop, &events[i]);
}

static void
turn(struct http_loop *loop)
{
	wait_and_dispatch(loop, wait_ms(loop));
	http_request_tick(loop);
	if (loop->mhd_ready || loop->answered || has_leftovers(loop) ||
		(loop->n_polled > 0 && loop->now_ns >= loop->poll_again_ns))
		run_mhd(loop);
	if (loop->server->config.turn != NULL) {
		loop->now_ns = clock_now_ns();
		loop->server->config.turn(loop->user);
		if (loop->answered)
			run_mhd(loop);
	}
}

/* ---- life cycle ---- */

static void
start_user(struct http_loop *loop)
{
	struct http_server *server = loop->server;

	loop->now_ns = clock_now_ns();
	if (server->config.start_loop != NULL)
		loop->user =
			server->config.start_loop(server->config.app, loop);
	mutex_lock(&server->lock);
	server->n_started++;
	cond_signal(&server->started);
	mutex_unlock(&server->lock);
}

static bool
is_finished(const struct http_loop *loop)
{
	return atomic_load(&loop->in_flight) == 0 &&
	       TAILQ_EMPTY(&loop->quiet) && loop->n_lingering == 0;
}

/*
 * What was posted is run, the user answers what it holds and we what is left;
 * then the replies get out, also to requests that nobody had read yet.
 */
static void
finish(struct http_loop *loop)
{
	struct http_server *server = loop->server;
	int64_t deadline_ns = clock_now_ns() + STOP_GRACE_NS;

	http_loop_on_wake(loop, 0);
	/* Clients may send on until their last answer tells them to close. */
	loop->finishing = true;
	if (server->config.stop_loop != NULL)
		server->config.stop_loop(loop->user);
	http_request_fail_all(loop);
	do {
		http_conn_finish(loop);
		run_mhd(loop);
		wait_and_dispatch(loop, 1);
	} while (!is_finished(loop) && loop->now_ns < deadline_ns);
}

void *
http_loop_thread(void *arg)
{
	struct http_loop *loop = arg;

	thread_set_name("%s-%u", loop->server->config.thread_name, loop->index);
	start_user(loop);
	while (!atomic_load_explicit(
		&loop->server->stopping, memory_order_acquire))
		turn(loop);
	finish(loop);
	return NULL;
}

static struct MHD_Daemon *
start_mhd(struct http_loop *loop)
{
	/*
	 * MHD_ALLOW_SUSPEND_RESUME without the MHD_USE_ITC it carries: resumes
	 * come from this thread and MHD_run() follows, so the wake-up (a write
	 * and a read per resume) is for nobody.
	 */
	const unsigned flags =
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET |
		((unsigned)MHD_ALLOW_SUSPEND_RESUME & ~(unsigned)MHD_USE_ITC);

	/* Its own limit never bites: http_listen.c keeps max_connections for
	 * all loops together.  No time-outs of its own: http_conn.c. */
	return MHD_start_daemon(flags, 0, NULL, NULL, http_intake_access, loop,
		MHD_OPTION_NOTIFY_COMPLETED, http_intake_completed, loop,
		MHD_OPTION_NOTIFY_CONNECTION, http_conn_notify, loop,
		MHD_OPTION_CONNECTION_LIMIT,
		loop->server->config.max_connections + HTTP_ACCEPTS_PER_TURN,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_CONN_MEMORY,
		MHD_OPTION_UNESCAPE_CALLBACK, http_intake_unescape, NULL,
#if MHD_VERSION >= 0x00097701
		MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1,
#else /* 1 would only refuse what http_check.c does, in its own words */
		MHD_OPTION_STRICT_FOR_CLIENT, 0,
#endif
		MHD_OPTION_END);
}

static int
watch_own(struct http_loop *loop, struct error *err)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(loop->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	int rc = http_loop_watch(
		loop, info->epoll_fd, EPOLLIN, on_mhd_ready, loop, err);

	if (rc == 0)
		rc = http_loop_watch(loop, loop->wake_fd, EPOLLIN,
			http_loop_on_wake, loop, err);
	if (rc == 0)
		rc = http_listen_start(loop, err);
	return rc;
}

int
http_loop_init(struct http_loop *loop, struct http_server *server,
	unsigned index, struct error *err)
{
	loop->server = server;
	loop->index = index;
	loop->wake_fd = -1;
	loop->listen_fd = -1;
	http_conn_init(loop);
	http_request_init(loop);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd >= 0)
		loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop->wake_fd < 0)
		return error_set(err, ERROR_SYSTEM, "event loop: %s",
			strerrordesc_np(errno));
	loop->mhd = start_mhd(loop);
	if (loop->mhd == NULL)
		return error_set(
			err, ERROR_SYSTEM, "libmicrohttpd did not start");
	int rc = http_listen_open(&server->config, &loop->listen_fd, err);
	if (rc < 0)
		return rc;
	atomic_fetch_add(&server->listening, 1);
	return watch_own(loop, err);
}

static void
close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void
http_loop_fini(struct http_loop *loop)
{
	if (loop->mhd != NULL)
		MHD_stop_daemon(loop->mhd);
	http_conn_fini(loop);
	http_request_fini(loop);
	close_fd(loop->listen_fd);
	close_fd(loop->wake_fd);
	close_fd(loop->epoll_fd);
	free(loop->watches);
}

int64_t
http_loop_now_ns(const struct http_loop *loop)
{
	return loop->now_ns;
}

void *
http_loop_user(const struct http_loop *loop)
{
	return loop->user;
}
