/* SPDX-License-Identifier: MIT */
/*
 * constant - the baseline of the benchmark: libmicrohttpd that answers a
 * constant, with the thread model of our server and nothing else.
 *
 *	constant PORT THREADS
 *
 * N threads, one daemon each in external-epoll mode on a SO_REUSEPORT
 * listener.  It reads the request's body and answers 202 with as many bytes as
 * an accepted request has; one response object serves all.
 */
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* As the api has it: libmicrohttpd clears all of it at every request. */
#define CONN_MEMORY 6144

static char body[] =
	"{\"requestId\":\"01JD5Z8QK4W7Y3M2N6P9R1S0TA\",\"status\":\"PENDING\","
	"\"seq\":12345}";

static _Thread_local struct MHD_Response *response;

static void
die(const char *what)
{
	perror(what);
	_exit(1);
}

static enum MHD_Result
/* NOLINTNEXTLINE(readability-function-size): libmicrohttpd's signature */
answer(void *cls, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *data,
	size_t *data_len, void **ctx)
{
	static int seen;

	(void)cls;
	(void)url;
	(void)method;
	(void)version;
	(void)data;
	if (*ctx == NULL) {
		*ctx = &seen;
		return MHD_YES;
	}
	if (*data_len > 0) {
		*data_len = 0;
		return MHD_YES;
	}
	return MHD_queue_response(connection, MHD_HTTP_ACCEPTED, response);
}

static int
listen_on(int port)
{
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	const struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	if (fd < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) !=
			0 ||
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) !=
			0 ||
		bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 ||
		listen(fd, SOMAXCONN) != 0)
		die("listen");
	return fd;
}

static void *
serve(void *arg)
{
	const int *port = arg;
	struct MHD_Daemon *mhd = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL,
		answer, NULL, MHD_OPTION_LISTEN_SOCKET, listen_on(*port),
		MHD_OPTION_CONNECTION_LIMIT, 20000U,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONN_MEMORY,
		MHD_OPTION_END);
	struct epoll_event event = { .events = EPOLLIN };
	int epoll_fd = epoll_create1(0);

	response = MHD_create_response_from_buffer(
		sizeof(body) - 1, body, MHD_RESPMEM_PERSISTENT);
	if (mhd == NULL || response == NULL || epoll_fd < 0)
		die("libmicrohttpd");
	(void)MHD_add_response_header(
		response, "Content-Type", "application/json");
	(void)MHD_add_response_header(response, "Location",
		"/api/user-coupons/1/1000000000042?"
		"requestId=01JD5Z8QK4W7Y3M2N6P9R1S0TA");
	int mhd_fd =
		MHD_get_daemon_info(mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, mhd_fd, &event) != 0)
		die("epoll_ctl");
	for (;;) {
		MHD_UNSIGNED_LONG_LONG timeout_ms;
		int wait_ms = -1;

		if (MHD_get_timeout(mhd, &timeout_ms) == MHD_YES)
			wait_ms = (int)timeout_ms;
		(void)epoll_wait(epoll_fd, &event, 1, wait_ms);
		MHD_run(mhd);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	if (argc != 3) {
		(void)fprintf(stderr, "usage: constant PORT THREADS\n");
		return 2;
	}
	static int port;
	port = (int)strtol(argv[1], NULL, 10);
	for (long n = strtol(argv[2], NULL, 10); n > 1; n--) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, serve, &port) != 0)
			die("pthread_create");
	}
	serve(&port);
	return 0;
}
