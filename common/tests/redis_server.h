/* SPDX-License-Identifier: MIT */
/*
 * redis_server - a real redis-server of a test's own, on a free port.
 */
#ifndef COMMON_TESTS_REDIS_SERVER_H
#define COMMON_TESTS_REDIS_SERVER_H

#include <sys/types.h>

struct settings;

struct redis_server {
	pid_t pid;
	int port;
	char dir[64]; /* its data, below /tmp; removed by redis_server_stop() */
};

/* AOF, noeviction, no password; returns when it answers. */
void redis_server_start(struct redis_server *server);
void redis_server_stop(struct redis_server *server);
/* SIGKILL, and again on the same port with the same data. */
void redis_server_crash_and_restart(struct redis_server *server);

/* A pool of one connection to it, and nothing else. */
void redis_server_settings(
	const struct redis_server *server, struct settings *ret);
/* Its answer's integer, or the number of its elements; aborts on an error. */
long long redis_server_ask(
	const struct redis_server *server, const char *command);

#endif
