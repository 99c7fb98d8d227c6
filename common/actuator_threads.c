/* SPDX-License-Identifier: MIT */
/*
 * actuator_threads - /actuator/threaddump: every thread of the process, what
 * it does, in which system call it waits, how much CPU it has used.
 *
 * From /proc/self/task, which never blocks.  A thread that ends meanwhile is
 * left out.
 */
#include "common/actuator_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/syscall.h>

/* What the kernel says of one thread. */
struct thread {
	int id;
	char name[32];
	char state; /* as ps shows it: R S D T Z */
	int priority;
	long long cpu_ticks; /* in user and system mode */
	char waits_in[32];   /* "futex"; "" while it runs */
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

static const struct {
	long number;
	const char *name;
} calls[] = {
#define CALL(name)                                                             \
	{                                                                      \
		SYS_##name, #name                                              \
	}
	CALL(futex),
	CALL(epoll_wait),
	CALL(epoll_pwait),
	CALL(poll),
	CALL(ppoll),
	CALL(select),
	CALL(pselect6),
	CALL(read),
	CALL(write),
	CALL(recvfrom),
	CALL(recvmsg),
	CALL(sendto),
	CALL(sendmsg),
	CALL(connect),
	CALL(accept4),
	CALL(rt_sigtimedwait),
	CALL(nanosleep),
	CALL(clock_nanosleep),
	CALL(fsync),
	CALL(fdatasync),
	CALL(openat),
	CALL(exit),
#undef CALL
};

/* "202 0x7f...": the call's number; "running": in none. */
static void
parse_call(const char *text, struct thread *thread)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (end == text || number < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		if (calls[i].number == number) {
			(void)snprintf(thread->waits_in,
				sizeof(thread->waits_in), "%s", calls[i].name);
			return;
		}
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
		return "WAITING";
	}
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
		-1, "daemon", 0, "inNative", 1, "suspended",
		thread->state == 'T' || thread->state == 't', "threadState",
		state_name(thread), "priority", thread->priority, "stackTrace",
		"lockedMonitors", "lockedSynchronizers");

	(void)json_object_set_new(json, "waitsIn",
		thread->waits_in[0] != '\0' ? json_string(thread->waits_in)
					    : json_null());
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
