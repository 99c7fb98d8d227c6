/* SPDX-License-Identifier: MIT */
#include "common/tests/redis_server.h"

#include "common/clock.h"
#include "common/config.h"

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

/*
 * Free now.  Not of the range the kernel gives to clients (32768 and up): it
 * could go to one while the server restarts, even to the one that looks
 * whether the server is back, which then connects to itself.
 */
static int
free_port(void)
{
	enum { LOWEST = 20600, COUNT = 12000 };
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const int first = (int)(clock_now_ns() / 1000 % COUNT);

	for (int i = 0; i < COUNT; i++) {
		const int port = LOWEST + (first + i) % COUNT;
		const int fd = socket(AF_INET, SOCK_STREAM, 0);

		addr.sin_port = htons((uint16_t)port);

		int rc = bind(fd, (struct sockaddr *)&addr, sizeof(addr));

		close(fd);
		if (rc == 0)
			return port;
	}
	must(0, "no free port");
	return 0;
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
	const int64_t until_ns = clock_now_ns() + 20 * NS_PER_S;
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

void
redis_server_settings(const struct redis_server *server, struct settings *ret)
{
	*ret = (struct settings){
		.redis_host = "127.0.0.1",
		.redis_port = server->port,
		.redis_timeout_ns = 5 * NS_PER_S,
		.redis_pool_max_active = 1,
		.redis_pool_max_idle = 1,
		.redis_pool_max_wait_ns = 5 * NS_PER_S,
		.redis_pool_max_waiters = 10,
	};
}

long long
redis_server_ask(const struct redis_server *server, const char *command)
{
	redisContext *context = redisConnect("127.0.0.1", server->port);

	must(context != NULL && context->err == 0, "redis: connect");
	redisReply *reply = redisCommand(context, command);
	must(reply != NULL, command);
	if (reply->type == REDIS_REPLY_ERROR)
		fprintf(stderr, "%s: %s\n", command, reply->str);
	must(reply->type != REDIS_REPLY_ERROR, "redis");

	long long result = reply->type == REDIS_REPLY_ARRAY
				   ? (long long)reply->elements
				   : reply->integer;
	freeReplyObject(reply);
	redisFree(context);
	return result;
}
