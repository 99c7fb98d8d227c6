/* SPDX-License-Identifier: MIT */
#include "common/process.h"

#include "common/clock.h"
#include "common/metrics.h"
#include "common/sync.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum {
	CPU_USAGE,
	CPU_TIME,
	CPU_SECONDS,
	UPTIME,
	START_TIME,
	FILES_OPEN,
	FILES_MAX,
	OPEN_FDS,
	MAX_FDS,
	VIRTUAL_MEMORY,
	VIRTUAL_MEMORY_MAX,
	RESIDENT_MEMORY,
	THREADS,
	SYSTEM_CPU_COUNT,
	SYSTEM_CPU_USAGE,
	SYSTEM_LOAD,
	N_FAMILIES,
};

/* clang-format off */
static const struct metric_family families[N_FAMILIES] METRIC_FAMILY = {
	[CPU_USAGE] = { "process.cpu.usage", METRIC_GAUGE, NULL,
		"Recent CPU usage of this process, 0 to 1 of all processors.",
		false, NULL },
	[CPU_TIME] = { "process.cpu.time", METRIC_COUNTER, "seconds",
		"CPU time this process has used.", false, NULL },
	[CPU_SECONDS] = { "process.cpu", METRIC_COUNTER, "seconds",
		"CPU time this process has used, as Prometheus calls it.",
		false, NULL },
	[UPTIME] = { "process.uptime", METRIC_GAUGE, "seconds",
		"Time since the process was started.", false, NULL },
	[START_TIME] = { "process.start.time", METRIC_GAUGE, "seconds",
		"Start of the process since the unix epoch.", false, NULL },
	[FILES_OPEN] = { "process.files.open", METRIC_GAUGE, "files",
		"Open file descriptors.", false, NULL },
	[FILES_MAX] = { "process.files.max", METRIC_GAUGE, "files",
		"File descriptors that may be open.", false, NULL },
	[OPEN_FDS] = { "process.open.fds", METRIC_GAUGE, NULL,
		"Open file descriptors, as Prometheus calls them.",
		false, NULL },
	[MAX_FDS] = { "process.max.fds", METRIC_GAUGE, NULL,
		"File descriptors that may be open, as Prometheus calls them.",
		false, NULL },
	[VIRTUAL_MEMORY] = { "process.virtual.memory", METRIC_GAUGE, "bytes",
		"Size of the address space.", false, NULL },
	[VIRTUAL_MEMORY_MAX] = { "process.virtual.memory.max", METRIC_GAUGE,
		"bytes", "Limit of the address space; absent when unlimited.",
		false, NULL },
	[RESIDENT_MEMORY] = { "process.resident.memory", METRIC_GAUGE, "bytes",
		"Memory in RAM.", false, NULL },
	[THREADS] = { "process.threads", METRIC_GAUGE, NULL,
		"Threads of the process.", false, NULL },
	/* The unit is ours: promtool wants no name that ends in _count. */
	[SYSTEM_CPU_COUNT] = { "system.cpu.count", METRIC_GAUGE,
		"processors", "Processors of the machine.", false, NULL },
	[SYSTEM_CPU_USAGE] = { "system.cpu.usage", METRIC_GAUGE, NULL,
		"Recent CPU usage of the machine, 0 to 1.", false, NULL },
	[SYSTEM_LOAD] = { "system.load.average.1m", METRIC_GAUGE, NULL,
		"Processes running or ready, averaged over a minute.",
		false, NULL },
};
/* clang-format on */

/* Since boot, in ticks of USER_HZ; of all processors together. */
struct machine_time {
	uint64_t total;
	uint64_t idle;
};

/* Usage is "recent": over at least a second, whoever scrapes how often. */
#define USAGE_WINDOW_NS NS_PER_S

static struct usage {
	struct mutex lock;
	struct locked { /* only through locked() */
		int64_t at_ns;
		int64_t process_ns;
		struct machine_time machine;
		double process_usage;
		double machine_usage;
	} locked_;
} usage = { .lock = { PTHREAD_MUTEX_INITIALIZER } };

static struct locked *locked(struct usage *u) REQUIRES(u->lock);

static struct locked *
locked(struct usage *u)
{
	return &u->locked_;
}

static void
put(struct metrics_sink *sink, int family, double value)
{
	metrics_emit(sink, &families[family], METRIC_NO_TAGS, value);
}

/* The first bytes of a /proc file; false when it cannot be read. */
static bool
read_start(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return false;
	len = read(fd, buf, size - 1);
	(void)close(fd);
	if (len < 0)
		return false;
	buf[len] = '\0';
	return true;
}

/* ---- /proc/self/stat ---- */

struct process_stat {
	uint64_t threads;
	uint64_t start_ticks; /* since boot */
	uint64_t virtual_bytes;
	uint64_t resident_pages;
};

/* Field 2, the name, may hold spaces and brackets; none follows it. */
static bool
read_process_stat(struct process_stat *ret)
{
	char buf[1024];
	uint64_t fields[25] = { 0 };
	char *at;

	if (!read_start("/proc/self/stat", buf, sizeof(buf)))
		return false;
	at = strrchr(buf, ')');
	for (size_t i = 3; i < ARRAY_SIZE(fields); i++) {
		at = at != NULL ? strchr(at + 1, ' ') : NULL;
		if (at == NULL)
			return false;
		fields[i] = strtoull(at + 1, NULL, 10);
	}
	*ret = (struct process_stat){
		.threads = fields[20],
		.start_ticks = fields[22],
		.virtual_bytes = fields[23],
		.resident_pages = fields[24],
	};
	return true;
}

static int64_t
clock_ns(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static int64_t
age_ns(const struct process_stat *stat)
{
	int64_t hz = sysconf(_SC_CLK_TCK);

	return clock_ns(CLOCK_BOOTTIME) -
	       (int64_t)stat->start_ticks * (NS_PER_S / hz);
}

/* Worked out once: a start time that moves looks like a restart. */
int64_t
process_start_ms(void)
{
	static _Atomic int64_t known;
	int64_t start_ms = atomic_load(&known);
	int64_t unknown = 0;
	struct process_stat stat;

	if (start_ms != 0 || !read_process_stat(&stat))
		return start_ms;
	start_ms = clock_wall_ms() - age_ns(&stat) / NS_PER_MS;
	return atomic_compare_exchange_strong(&known, &unknown, start_ms)
		       ? start_ms
		       : unknown;
}

static void
put_stat(struct metrics_sink *sink)
{
	struct process_stat stat;
	struct rlimit limit;

	if (read_process_stat(&stat)) {
		put(sink, UPTIME, (double)age_ns(&stat) / 1e9);
		put(sink, START_TIME, (double)process_start_ms() / 1e3);
		put(sink, THREADS, (double)stat.threads);
		put(sink, VIRTUAL_MEMORY, (double)stat.virtual_bytes);
		put(sink, RESIDENT_MEMORY,
			(double)stat.resident_pages *
				(double)sysconf(_SC_PAGESIZE));
	}
	if (getrlimit(RLIMIT_AS, &limit) == 0 &&
		limit.rlim_cur != RLIM_INFINITY)
		put(sink, VIRTUAL_MEMORY_MAX, (double)limit.rlim_cur);
}

/* ---- descriptors ---- */

/* Linux 6.2 and later say it as the directory's size; before, count. */
static double
count_open_files(void)
{
	struct stat st;
	DIR *dir;
	double n = 0;

	if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
		return (double)st.st_size;
	dir = opendir("/proc/self/fd");
	if (dir == NULL)
		return 0;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours */
	while (readdir(dir) != NULL)
		n++;
	(void)closedir(dir);
	return n - 3; /* ".", "..", and the directory itself */
}

static void
put_files(struct metrics_sink *sink)
{
	double open_files = count_open_files();
	struct rlimit limit;

	put(sink, FILES_OPEN, open_files);
	put(sink, OPEN_FDS, open_files);
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	put(sink, FILES_MAX, (double)limit.rlim_cur);
	put(sink, MAX_FDS, (double)limit.rlim_cur);
}

/* ---- CPU ---- */

/* "cpu  user nice system idle iowait irq softirq steal ..." */
static void
read_machine_time(struct machine_time *ret)
{
	char buf[256];
	char *at = buf + strlen("cpu ");

	*ret = (struct machine_time){ 0 };
	if (!read_start("/proc/stat", buf, sizeof(buf)))
		return;
	for (int field = 0; field < 8; field++) {
		uint64_t ticks = strtoull(at, &at, 10);

		ret->total += ticks;
		if (field == 3 || field == 4)
			ret->idle += ticks;
	}
}

static double
share(double part, double whole)
{
	double value = whole > 0 ? part / whole : 0;

	return value < 0 ? 0 : value > 1 ? 1 : value;
}

static void
put_cpu(struct metrics_sink *sink)
{
	double processors = (double)sysconf(_SC_NPROCESSORS_ONLN);
	int64_t process_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	struct machine_time machine;
	struct locked copy;

	read_machine_time(&machine);
	mutex_lock(&usage.lock);
	struct locked *last = locked(&usage);
	int64_t elapsed_ns = clock_now_ns() - last->at_ns;
	if (elapsed_ns >= USAGE_WINDOW_NS) {
		double busy = (double)(machine.total - last->machine.total) -
			      (double)(machine.idle - last->machine.idle);

		last->process_usage = share(
			(double)(process_ns - last->process_ns) / processors,
			(double)elapsed_ns);
		last->machine_usage = share(
			busy, (double)(machine.total - last->machine.total));
		last->machine = machine;
		last->process_ns = process_ns;
		last->at_ns += elapsed_ns;
	}
	copy = *last;
	mutex_unlock(&usage.lock);

	put(sink, CPU_USAGE, copy.process_usage);
	put(sink, SYSTEM_CPU_USAGE, copy.machine_usage);
	put(sink, SYSTEM_CPU_COUNT, processors);
	put(sink, CPU_TIME, (double)process_ns / 1e9);
	put(sink, CPU_SECONDS, (double)process_ns / 1e9);
}

static void
put_load(struct metrics_sink *sink)
{
	double load;

	if (getloadavg(&load, 1) == 1)
		put(sink, SYSTEM_LOAD, load);
}

static void
collect_process(void *arg UNUSED, struct metrics_sink *sink)
{
	put_cpu(sink);
	put_stat(sink);
	put_files(sink);
	put_load(sink);
}

/* The first usage is that since this call. */
void
process_metrics_register(struct metrics *metrics)
{
	struct machine_time machine;

	read_machine_time(&machine);
	mutex_lock(&usage.lock);
	*locked(&usage) = (struct locked){
		.at_ns = clock_now_ns(),
		.process_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID),
		.machine = machine,
	};
	mutex_unlock(&usage.lock);
	metrics_collector(metrics, collect_process, NULL);
}
