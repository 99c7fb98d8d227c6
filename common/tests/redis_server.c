/* SPDX-License-Identifier: MIT */
#include "common/tests/redis_server.h"

#include "common/clock.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void
must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

/* Free now; somebody else could take it in between, which tests survive. */
static int
free_port(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	must(bind(fd, (struct sockaddr *)&addr, len) == 0, "bind");
	must(getsockname(fd, (struct sockaddr *)&addr, &len) == 0,
		"getsockname");
	close(fd);
	return ntohs(addr.sin_port);
}

static int
answers(int port)
{
	redisContext *context = redisConnect("127.0.0.1", port);
	redisReply *reply = NULL;
	int ok;

	if (context != NULL && context->err == 0)
		reply = redisCommand(context, "PING");
	ok = reply != NULL && reply->type == REDIS_REPLY_STATUS;
	if (reply != NULL)
		freeReplyObject(reply);
	if (context != NULL)
		redisFree(context);
	return ok;
}

static void
launch(struct redis_server *server)
{
	const int64_t until_ns = clock_now_ns() + 10 * NS_PER_S;
	char port[16];

	snprintf(port, sizeof(port), "%d", server->port);
	server->pid = fork();
	must(server->pid >= 0, "fork");
	if (server->pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("redis-server", "redis-server", "--port", port, "--bind",
			"127.0.0.1", "--dir", server->dir, "--save", "",
			"--appendonly", "yes", "--appendfsync", "always",
			"--maxmemory-policy", "noeviction", (char *)NULL);
		_exit(127);
	}
	while (!answers(server->port)) {
		must(clock_now_ns() < until_ns, "redis-server did not start");
		(void)poll(NULL, 0, 5);
	}
}

void
redis_server_start(struct redis_server *server)
{
	snprintf(server->dir, sizeof(server->dir), "/tmp/coupon-redis-XXXXXX");
	must(mkdtemp(server->dir) != NULL, "mkdtemp");
	server->port = free_port();
	launch(server);
}

static void
end(struct redis_server *server, int sig)
{
	kill(server->pid, sig);
	waitpid(server->pid, NULL, 0);
}

void
redis_server_crash_and_restart(struct redis_server *server)
{
	end(server, SIGKILL);
	launch(server);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void
redis_server_stop(struct redis_server *server)
{
	end(server, SIGTERM);
	nftw(server->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
