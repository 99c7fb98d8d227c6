/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * Each loop has a listening socket of its own on the one port (SO_REUSEPORT:
 * the kernel spreads connections over them).  SO_REUSEPORT would also let a
 * second server start beside a running one and take half of its clients, so a
 * plain bind goes first and says who has the port.
 *
 * We accept, not libmicrohttpd: it takes ten a turn and counts its limit per
 * daemon; here max_connections holds for all loops together.  At the limit a
 * newcomer takes the place of the connection that has been without a complete
 * request for longest, so that ten thousand clients that never finish one keep
 * out neither probes nor customers.  Only while all are busy, or were within
 * the last second, do clients wait in the backlog, whose length bounds that
 * wait.
 *
 * Closing a listener resets the connections that the kernel has completed for
 * it.  So it first stops taking SYNs (a filter on the socket), then accepts
 * for QUIESCE_NS what is half open, and only then closes.
 */
#include "common/error.h"
#include "common/http_internal.h"
#include "common/log.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024
#define PAUSE_NS (20 * NS_PER_MS)
#define QUIESCE_NS (200 * NS_PER_MS)

/* ---- who has the port ---- */

/*
 * A row of /proc/net/tcp: "sl local:port remote:port st tx:rx tr:when retrnsmt
 * uid timeout inode ...".  The inode if it listens on `port`, else 0.
 */
static uint64_t
match_row(char *row, uint16_t port)
{
	enum { LOCAL = 1, STATE = 3, INODE = 9, N_FIELDS = 10 };
	static const char listening[] = "0A";
	char *fields[N_FIELDS];
	char *rest = NULL;

	for (size_t i = 0; i < N_FIELDS; i++) {
		fields[i] = strtok_r(i == 0 ? row : NULL, " \n", &rest);
		if (fields[i] == NULL)
			return 0;
	}
	const char *colon = strchr(fields[LOCAL], ':');
	if (colon == NULL || strtoul(colon + 1, NULL, 16) != port ||
		strcmp(fields[STATE], listening) != 0)
		return 0;
	return strtoull(fields[INODE], NULL, 10);
}

static uint64_t
find_listener(const char *table, uint16_t port)
{
	FILE *file = fopen(table, "re");
	char row[256];
	uint64_t inode = 0;

	if (file == NULL)
		return 0;
	while (inode == 0 && fgets(row, sizeof(row), file) != NULL)
		inode = match_row(row, port);
	(void)fclose(file);
	return inode;
}

/* glibc's readdir() is safe as long as nobody shares the stream. */
static struct dirent *
next_entry(DIR *dir)
{
	return readdir(dir); /* NOLINT(concurrency-mt-unsafe) */
}

/* Does the process have this socket open?  False when we may not look. */
static bool
process_has_socket(const char *pid, uint64_t inode)
{
	char path[sizeof("/proc//fd/") + NAME_MAX + NAME_MAX];
	char want[64];
	char link[64];
	bool found = false;

	(void)snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	(void)snprintf(want, sizeof(want), "socket:[%" PRIu64 "]", inode);
	DIR *dir = opendir(path);
	if (dir == NULL)
		return false;
	for (struct dirent *entry;
		!found && (entry = next_entry(dir)) != NULL;) {
		(void)snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid,
			entry->d_name);
		ssize_t n = readlink(path, link, sizeof(link) - 1);
		if (n < 0)
			continue;
		link[n] = '\0';
		found = strcmp(link, want) == 0;
	}
	closedir(dir);
	return found;
}

static void
describe_process(const char *pid, char *buf, size_t size)
{
	char path[sizeof("/proc//comm") + NAME_MAX];
	char comm[32] = "a process";

	(void)snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	FILE *file = fopen(path, "re");
	if (file != NULL) {
		if (fgets(comm, sizeof(comm), file) != NULL)
			comm[strcspn(comm, "\n")] = '\0';
		(void)fclose(file);
	}
	(void)snprintf(buf, size, "%s (pid %s)", comm, pid);
}

void
http_listen_owner(uint16_t port, char *buf, size_t size)
{
	uint64_t inode = find_listener("/proc/net/tcp", port);
	bool found = false;

	if (inode == 0)
		inode = find_listener("/proc/net/tcp6", port);
	(void)snprintf(buf, size, "another process");
	DIR *dir = inode == 0 ? NULL : opendir("/proc");
	if (dir == NULL)
		return;
	for (struct dirent *entry;
		!found && (entry = next_entry(dir)) != NULL;) {
		found = entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
			process_has_socket(entry->d_name, inode);
		if (found)
			describe_process(entry->d_name, buf, size);
	}
	closedir(dir);
}

/* ---- opening ---- */

static int
resolve(const struct http_config *config, struct addrinfo **ret,
	struct error *err)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
	};
	char port[8];

	(void)snprintf(port, sizeof(port), "%u", config->port);
	int rc = getaddrinfo(config->address, port, &hints, ret);
	if (rc != 0)
		return error_set(err, ERROR_SYSTEM, "address %s: %s",
			config->address, gai_strerror(rc));
	return 0;
}

/* A bound socket, or -1 and errno. */
static int
bind_socket(const struct addrinfo *address, bool share)
{
	int one = 1;
	int fd = socket(address->ai_family,
		SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (share)
		(void)setsockopt(
			fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (bind(fd, address->ai_addr, address->ai_addrlen) != 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static int
bind_error(const struct http_config *config, struct error *err)
{
	char owner[64];

	if (errno != EADDRINUSE)
		return error_set(err, ERROR_SYSTEM,
			"cannot listen on %s:%u: %s", config->address,
			config->port, strerrordesc_np(errno));
	http_listen_owner(config->port, owner, sizeof(owner));
	return error_set(err, ERROR_SYSTEM, "port %u is in use by %s",
		config->port, owner);
}

int
http_listen_probe(const struct http_config *config, struct error *err)
{
	struct addrinfo *address;
	int rc = resolve(config, &address, err);

	if (rc < 0)
		return rc;
	int fd = bind_socket(address, false);
	rc = fd < 0 ? bind_error(config, err) : 0;
	if (fd >= 0)
		close(fd);
	freeaddrinfo(address);
	return rc;
}

int
http_listen_open(
	const struct http_config *config, int *ret_fd, struct error *err)
{
	struct addrinfo *address;
	int rc = resolve(config, &address, err);

	if (rc < 0)
		return rc;
	int fd = bind_socket(address, true);
	freeaddrinfo(address);
	if (fd < 0)
		return bind_error(config, err);
	if (listen(fd, BACKLOG) != 0) {
		rc = bind_error(config, err);
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

/* ---- accepting ---- */

static void
pause_accepting(struct http_loop *loop)
{
	http_loop_unwatch(loop, loop->listen_fd);
	loop->accept_at_ns = loop->now_ns + PAUSE_NS;
}

/* False when there is nothing (more) to accept for now. */
static bool
accept_one(struct http_loop *loop)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	int fd = accept4(loop->listen_fd, (struct sockaddr *)&peer, &len,
		SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		/* Closes it when it fails. */
		(void)MHD_add_connection(
			loop->mhd, fd, (struct sockaddr *)&peer, len);
		return true;
	}
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
		errno == ENOMEM) {
		LOG_WARN("cannot accept a connection, pausing",
			LOG_STR("error", strerrordesc_np(errno)));
		pause_accepting(loop);
		return false;
	}
	return errno == ECONNABORTED || errno == EINTR;
}

static bool
has_room(const struct http_loop *loop)
{
	return atomic_load_explicit(
		       &loop->server->connections, memory_order_relaxed) <
	       loop->server->config.max_connections;
}

/* One newcomer, in the place of another if need be.  False: no more now. */
static bool
admit_one(struct http_loop *loop)
{
	struct http_conn *displaced = NULL;

	if (!has_room(loop)) {
		displaced = http_conn_longest_quiet(loop);
		if (displaced == NULL) {
			pause_accepting(loop);
			return false;
		}
	}
	if (!accept_one(loop))
		return false;
	if (displaced != NULL)
		http_conn_displace(displaced);
	return true;
}

static void
on_listen(void *arg, uint32_t events)
{
	struct http_loop *loop = arg;

	(void)events;
	for (int i = 0; i < HTTP_ACCEPTS_PER_TURN; i++)
		if (!admit_one(loop))
			return;
}

int
http_listen_start(struct http_loop *loop, struct error *err)
{
	return http_loop_watch(
		loop, loop->listen_fd, EPOLLIN, on_listen, loop, err);
}

/* ---- closing ---- */

static void
refuse_syn(int fd)
{
	static struct sock_filter drop_syn[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),    /* TCP flags */
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x02), /* SYN */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog program = {
		.len = ARRAY_SIZE(drop_syn),
		.filter = drop_syn,
	};

	/* Without it a few connections may be reset: no reason to stay. */
	(void)setsockopt(
		fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static int64_t
quiesce(struct http_loop *loop)
{
	if (loop->quiesced_at_ns == 0) {
		refuse_syn(loop->listen_fd);
		loop->quiesced_at_ns = loop->now_ns;
	}
	if (loop->now_ns < loop->quiesced_at_ns + QUIESCE_NS)
		return loop->quiesced_at_ns + QUIESCE_NS;
	while (accept_one(loop))
		continue;
	http_loop_unwatch(loop, loop->listen_fd);
	close(loop->listen_fd);
	loop->listen_fd = -1;
	atomic_fetch_sub(&loop->server->listening, 1);
	return INT64_MAX;
}

int64_t
http_listen_tick(struct http_loop *loop)
{
	struct error err;

	if (loop->listen_fd < 0)
		return INT64_MAX;
	if (atomic_load_explicit(
		    &loop->server->quiescing, memory_order_relaxed))
		return quiesce(loop);
	if (loop->accept_at_ns == 0)
		return INT64_MAX;
	if (loop->now_ns < loop->accept_at_ns)
		return loop->accept_at_ns;
	/* Again, whether or not there is room: some may be quiet by now. */
	if (http_listen_start(loop, &err) == 0) {
		loop->accept_at_ns = 0;
		return INT64_MAX;
	}
	loop->accept_at_ns = loop->now_ns + PAUSE_NS;
	return loop->accept_at_ns;
}
