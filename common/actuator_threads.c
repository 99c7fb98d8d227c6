/* SPDX-License-Identifier: MIT */
/*
 * actuator_threads - /actuator/threaddump: every thread of the process, what
 * it does, what it waits on, how much CPU it has used.
 *
 * From /proc/self/task, which never blocks.  A thread that ends meanwhile is
 * left out.
 *
 * What it waits on is in the arguments of its system call: a descriptor, whose
 * peer or name is shown; or a futex, which glibc waits on in one way for a
 * mutex (whose owner stands in it) and in another for a condition.
 */
#include "common/actuator_internal.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* What the kernel says of one thread. */
struct thread {
	int id;
	char name[32];
	char state; /* as ps shows it: R S D T Z */
	int priority;
	long long cpu_ticks; /* in user and system mode */
	char waits_in[32];   /* "futex"; "" while it runs */
	char waits_on[128];  /* "127.0.0.1:6379"; "" when it is not known */
	bool blocked;        /* by a mutex */
	int lock_owner;      /* of it; 0: not known */
	bool for_a_time;     /* a condition, or until it is over */
	long long waited, preempted;
};

/* A small file below /proc/self/task/ID; false when it is gone. */
static bool
read_file(int task_fd, int id, const char *name, char *buf, size_t size)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%d/%s", id, name);
	int fd = openat(task_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, buf, size - 1);
	(void)close(fd);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	return true;
}

/* The nth of numbers that one blank each divides; 0 where there is none. */
static long long
nth_number(const char *text, int n)
{
	for (; n > 0 && text != NULL; n--) {
		text = strchr(text, ' ');
		text = text != NULL ? text + 1 : NULL;
	}
	return text != NULL ? strtoll(text, NULL, 10) : 0;
}

/* proc(5): "1234 (http-0) S 1 ...": the name may hold anything. */
static bool
parse_stat(char *text, struct thread *thread)
{
	char *open = strchr(text, '(');
	char *close = strrchr(text, ')');

	if (open == NULL || close == NULL || close[1] != ' ')
		return false;
	*close = '\0';
	(void)snprintf(thread->name, sizeof(thread->name), "%s", open + 1);
	const char *rest = close + 2;
	thread->state = rest[0];
	thread->cpu_ticks = nth_number(rest, 11) + nth_number(rest, 12);
	thread->priority = (int)nth_number(rest, 15);
	return true;
}

/* ---- what it waits on ---- */

/* "socket:[1234]" says less than who is at its other end. */
static bool
name_peer(int fd, char *buf, size_t size)
{
	struct sockaddr_in peer = { 0 };
	socklen_t len = sizeof(peer);
	char address[INET_ADDRSTRLEN];

	if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0 ||
		peer.sin_family != AF_INET)
		return false;
	(void)inet_ntop(AF_INET, &peer.sin_addr, address, sizeof(address));
	(void)snprintf(buf, size, "%s:%u", address, ntohs(peer.sin_port));
	return true;
}

static void
wait_on_descriptor(struct thread *thread, const unsigned long args[])
{
	int fd = (int)args[0];
	char path[64];

	if (name_peer(fd, thread->waits_on, sizeof(thread->waits_on)))
		return;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t len =
		readlink(path, thread->waits_on, sizeof(thread->waits_on) - 1);
	thread->waits_on[MAX(len, 0)] = '\0';
}

/* The mutex may be gone by now: asked of the kernel, which just says so. */
static void
wait_on_futex(struct thread *thread, const unsigned long args[])
{
	pthread_mutex_t mutex;
	struct iovec to = { &mutex, sizeof(mutex) };
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): that is what it is */
	struct iovec from = { (void *)args[0], sizeof(mutex) };

	thread->blocked = ((int)args[1] & FUTEX_CMD_MASK) == FUTEX_WAIT;
	thread->for_a_time = args[3] != 0;
	(void)snprintf(thread->waits_on, sizeof(thread->waits_on), "%s %#lx",
		thread->blocked ? "mutex" : "condition", args[0]);
	if (thread->blocked && process_vm_readv(getpid(), &to, 1, &from, 1,
				       0) == (ssize_t)sizeof(mutex))
		thread->lock_owner = mutex.__data.__owner;
}

static void
wait_for_time(struct thread *thread, const unsigned long args[] UNUSED)
{
	thread->for_a_time = true;
}

static const struct {
	long number;
	const char *name;
	void (*explain)(struct thread *thread, const unsigned long args[]);
} calls[] = {
#define CALL(name, explain)                                                    \
	{                                                                      \
		SYS_##name, #name, explain                                     \
	}
	CALL(futex, wait_on_futex),
	CALL(epoll_wait, wait_on_descriptor),
	CALL(epoll_pwait, wait_on_descriptor),
	CALL(poll, NULL),
	CALL(ppoll, NULL),
	CALL(select, NULL),
	CALL(pselect6, NULL),
	CALL(read, wait_on_descriptor),
	CALL(write, wait_on_descriptor),
	CALL(recvfrom, wait_on_descriptor),
	CALL(recvmsg, wait_on_descriptor),
	CALL(sendto, wait_on_descriptor),
	CALL(sendmsg, wait_on_descriptor),
	CALL(connect, wait_on_descriptor),
	CALL(accept4, wait_on_descriptor),
	CALL(rt_sigtimedwait, NULL),
	CALL(nanosleep, wait_for_time),
	CALL(clock_nanosleep, wait_for_time),
	CALL(fsync, wait_on_descriptor),
	CALL(fdatasync, wait_on_descriptor),
	CALL(openat, NULL),
	CALL(exit, NULL),
#undef CALL
};

/* "202 0x7f... 0x80 ...": the call's number and arguments; "running": in
 * none. */
static void
parse_call(const char *text, struct thread *thread)
{
	unsigned long args[4];
	char *end;
	long number = strtol(text, &end, 10);

	if (end == text || number < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(args); i++)
		args[i] = strtoul(end, &end, 16);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		if (calls[i].number != number)
			continue;
		(void)snprintf(thread->waits_in, sizeof(thread->waits_in), "%s",
			calls[i].name);
		if (calls[i].explain != NULL)
			calls[i].explain(thread, args);
		return;
	}
	(void)snprintf(thread->waits_in, sizeof(thread->waits_in),
		"system call %ld", number);
}

/* The number behind "\nvoluntary_ctxt_switches:" and its like. */
static long long
status_number(const char *status, const char *key)
{
	const char *at = strstr(status, key);

	return at != NULL ? strtoll(at + strlen(key), NULL, 10) : 0;
}

static bool
read_thread(int task_fd, int id, struct thread *ret)
{
	char text[4096];

	*ret = (struct thread){ .id = id };
	if (!read_file(task_fd, id, "stat", text, sizeof(text)) ||
		!parse_stat(text, ret))
		return false;
	/* What is not permitted is left out. */
	if (read_file(task_fd, id, "syscall", text, sizeof(text)))
		parse_call(text, ret);
	if (!read_file(task_fd, id, "status", text, sizeof(text)))
		return true;
	ret->waited = status_number(text, "\nvoluntary_ctxt_switches:");
	ret->preempted = status_number(text, "\nnonvoluntary_ctxt_switches:");
	return true;
}

/* Java's word for it. */
static const char *
state_name(const struct thread *thread)
{
	switch (thread->state) {
	case 'R':
		return "RUNNABLE";
	case 'D':
		return "BLOCKED";
	case 'Z':
	case 'X':
		return "TERMINATED";
	default:
		break;
	}
	if (thread->blocked)
		return "BLOCKED";
	return thread->for_a_time ? "TIMED_WAITING" : "WAITING";
}

/* "" is null. */
static void
set_text(json_t *json, const char *key, const char *text)
{
	(void)json_object_set_new(
		json, key, text[0] != '\0' ? json_string(text) : json_null());
}

/*
 * Spring's members as far as there is something to say in them; no native
 * stack can be taken from outside a thread, so what it waits in stands there.
 */
static json_t *
thread_json(const struct thread *thread)
{
	const long long per_s = sysconf(_SC_CLK_TCK);
	json_t *json = json_pack(
		"{s:s, s:i, s:i, s:I, s:i, s:I, s:i, s:b, s:b, s:b, s:s, s:i, "
		"s:[], s:[], s:[]}",
		"threadName", thread->name, "threadId", thread->id,
		"blockedTime", -1, "blockedCount", (json_int_t)0, "waitedTime",
		-1, "waitedCount", (json_int_t)thread->waited, "lockOwnerId",
		thread->lock_owner != 0 ? thread->lock_owner : -1, "daemon", 0,
		"inNative", 1, "suspended",
		thread->state == 'T' || thread->state == 't', "threadState",
		state_name(thread), "priority", thread->priority, "stackTrace",
		"lockedMonitors", "lockedSynchronizers");

	set_text(json, "waitsIn", thread->waits_in);
	set_text(json, "waitsOn", thread->waits_on);
	(void)json_object_set_new(json, "cpuMs",
		json_integer((json_int_t)(thread->cpu_ticks * 1000 / per_s)));
	(void)json_object_set_new(json, "preemptedCount",
		json_integer((json_int_t)thread->preempted));
	return json;
}

void
actuator_get_threads(struct http_request *req)
{
	json_t *threads = json_array();
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *entry;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is our own */
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		struct thread thread;
		const int id = (int)strtol(entry->d_name, NULL, 10);

		if (id > 0 && read_thread(dirfd(dir), id, &thread))
			(void)json_array_append_new(
				threads, thread_json(&thread));
	}
	if (dir != NULL)
		(void)closedir(dir);
	actuator_reply(req, 200, json_pack("{s:o}", "threads", threads));
}
