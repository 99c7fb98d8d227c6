/* SPDX-License-Identifier: MIT */
/*
 * openload - issue requests at a rate that the answers cannot slow down.
 *
 *	openload HOST PORT EVENT FIRST_USER USERS CONNECTIONS LOG <TIMES
 *
 * TIMES has a line for each request: when it is due, in seconds, ascending.
 * The users are FIRST_USER and the following ones, and after USERS of them the
 * first again.  CONNECTIONS are opened before the first request, more when all
 * of them wait for an answer.
 *
 * An open model: the times do not depend on the answers.  LOG gets
 * a line of CSV for each: when it was due, when it was sent (the difference is
 * this program's own delay), when it was answered and how.  Latency is to be
 * counted from the first of these.  Prints the CPU time used, the connections
 * opened, and the kinds of answers with the first body of each, as JSON.
 *
 * One thread; times are kept in memory and written when the run is over.
 */
#include "common/clock.h"
#include "common/must.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
	EVENTS = 256,
	REPLY_SIZE = 4096, /* header and body of one answer */
	CODE_SIZE = 32,
	MAX_ANSWERS = 32,
	MAX_REQUESTS = 4000000,
	MAX_CONNECTIONS = 8000, /* beyond, requests wait for one */
};

#define TIMEOUT_NS (15 * NS_PER_S)

/* What became of requests: a status and the code in its body. */
struct answer {
	int status; /* 0: none came, and code says why */
	char code[CODE_SIZE];
	uint64_t n;
	char *first; /* body */
};

struct record {
	int64_t due_ns, sent_ns, done_ns;
	const struct answer *answer;
};

struct conn {
	TAILQ_ENTRY(conn) link; /* in `idle`, or in `busy` by time sent */
	struct record *record;  /* NULL: idle */
	int fd;
	bool connected;
	size_t len;
	char reply[REPLY_SIZE];
};

TAILQ_HEAD(conns, conn);

static const char *host;
static struct addrinfo *server;
static int64_t event_id, first_user, n_users;
static int n_wanted; /* connections, opened before the first request */

static struct conns idle = TAILQ_HEAD_INITIALIZER(idle);
static struct conns busy = TAILQ_HEAD_INITIALIZER(busy);
static struct record *records;
static struct answer answers[MAX_ANSWERS];
static size_t n_records, n_due, n_answers;
static int64_t begin_ns;
static int epoll_fd, n_conns, peak_conns;

static _Noreturn void
die(const char *what)
{
	(void)fprintf(stderr, "openload: %s: %s\n", what, strerror(errno));
	_exit(EXIT_FAILURE);
}

/* ---- the plan ---- */

static void
read_plan(void)
{
	double due_s;

	records = must(calloc(MAX_REQUESTS, sizeof(*records)));
	while (n_records < MAX_REQUESTS && scanf("%lf", &due_s) == 1)
		records[n_records++].due_ns = (int64_t)(due_s * 1e9);
	if (n_records == 0 || !feof(stdin)) {
		errno = EINVAL;
		die("the times of the requests");
	}
}

/* ---- answers ---- */

static struct answer *
answer_of(int status, const char *code)
{
	for (size_t i = 0; i < n_answers; i++)
		if (answers[i].status == status &&
			strcmp(answers[i].code, code) == 0)
			return &answers[i];
	if (n_answers == MAX_ANSWERS) {
		errno = ENOSPC;
		die("more kinds of answers than expected");
	}
	answers[n_answers].status = status;
	(void)snprintf(answers[n_answers].code, CODE_SIZE, "%s", code);
	return &answers[n_answers++];
}

/* `body` may be NULL: there was none. */
static void
finish(struct conn *conn, int status, const char *code, const char *body)
{
	struct answer *answer = answer_of(status, code);

	answer->n++;
	if (answer->first == NULL && body != NULL)
		answer->first = must(strdup(body));
	conn->record->done_ns = clock_now_ns();
	conn->record->answer = answer;
	conn->record = NULL;
	TAILQ_REMOVE(&busy, conn, link);
	TAILQ_INSERT_TAIL(&idle, conn, link);
}

static void
drop(struct conn *conn, const char *why)
{
	if (conn->record != NULL)
		finish(conn, 0, why, NULL);
	TAILQ_REMOVE(&idle, conn, link);
	(void)close(conn->fd);
	n_conns--;
	free(conn);
}

/* The value of "code" in a problem, "" without. */
static void
find_code(const char *body, char code[CODE_SIZE])
{
	const char *at = strstr(body, "\"code\":\"");

	code[0] = '\0';
	if (at != NULL)
		(void)sscanf(at + 8, "%31[A-Z_]", code);
}

/* Whether one whole answer is there; its body then ends in a NUL. */
static bool
is_complete(struct conn *conn, char **ret_body)
{
	conn->reply[conn->len] = '\0';
	char *end = strstr(conn->reply, "\r\n\r\n");
	char *length = strcasestr(conn->reply, "\r\ncontent-length:");

	if (end == NULL || length == NULL || length > end)
		return false;
	*ret_body = end + 4;
	return strtoul(length + 17, NULL, 10) <=
	       conn->len - (size_t)(*ret_body - conn->reply);
}

static void
on_readable(struct conn *conn)
{
	ssize_t n = recv(conn->fd, conn->reply + conn->len,
		REPLY_SIZE - 1 - conn->len, 0);
	char code[CODE_SIZE], *body;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || conn->record == NULL) {
		drop(conn, n < 0 ? "RESET" : n == 0 ? "CLOSED" : "TOO_LONG");
		return;
	}
	conn->len += (size_t)n;
	if (!is_complete(conn, &body))
		return;
	int status = (int)strtol(conn->reply + strlen("HTTP/1.1 "), NULL, 10);
	bool closes =
		strcasestr(conn->reply, "\r\nconnection: close\r\n") != NULL;
	find_code(body, code);
	finish(conn, status, code, body);
	if (closes)
		drop(conn, "");
}

/* ---- requests ---- */

static void
send_request(struct conn *conn)
{
	char body[64], request[256];
	int64_t user = first_user + (int64_t)(conn->record - records) % n_users;

	int length = snprintf(body, sizeof(body),
		"{\"couponId\":%" PRId64 ",\"userId\":%" PRId64 "}", event_id,
		user);
	int n = snprintf(request, sizeof(request),
		"POST /api/user-coupons/issue-async HTTP/1.1\r\nHost: %s\r\n"
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
		"%s",
		host, length, body);
	if (send(conn->fd, request, (size_t)n, MSG_NOSIGNAL) != n)
		drop(conn, "SEND");
}

static void
on_connected(struct conn *conn)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = conn };
	socklen_t len = sizeof(int);
	int failed = 0;

	(void)getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &failed, &len);
	if (failed) {
		drop(conn, "CONNECT");
		return;
	}
	conn->connected = true;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, conn->fd, &event) < 0)
		die("epoll");
	if (conn->record != NULL)
		send_request(conn);
}

/* A connection that is being opened, idle. */
static struct conn *
open_conn(void)
{
	struct conn *conn = must(calloc(1, sizeof(*conn)));
	struct epoll_event event = { .events = EPOLLOUT, .data.ptr = conn };
	int one = 1;

	conn->fd = socket(server->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (conn->fd < 0)
		die("socket");
	(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(conn->fd, server->ai_addr, server->ai_addrlen) < 0 &&
		errno != EINPROGRESS)
		die("connect");
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) < 0)
		die("epoll");
	TAILQ_INSERT_TAIL(&idle, conn, link);
	if (++n_conns > peak_conns)
		peak_conns = n_conns;
	return conn;
}

/* NULL: as many as allowed are busy. */
static struct conn *
free_conn(void)
{
	struct conn *conn = TAILQ_FIRST(&idle);

	if (conn == NULL && n_conns < MAX_CONNECTIONS)
		conn = open_conn();
	return conn;
}

static void
send_due(int64_t now_ns)
{
	struct conn *conn;

	while (n_due < n_records && records[n_due].due_ns <= now_ns &&
		(conn = free_conn()) != NULL) {
		conn->record = &records[n_due++];
		conn->record->sent_ns = clock_now_ns();
		conn->len = 0;
		TAILQ_REMOVE(&idle, conn, link);
		TAILQ_INSERT_TAIL(&busy, conn, link);
		if (conn->connected)
			send_request(conn);
	}
}

static void
drop_late(int64_t now_ns)
{
	struct conn *conn;

	while ((conn = TAILQ_FIRST(&busy)) != NULL &&
		conn->record->sent_ns + TIMEOUT_NS <= now_ns)
		drop(conn, "TIMEOUT");
}

/* Until the next request can be sent, or the oldest one is late. */
static struct timespec
patience(int64_t now_ns)
{
	const struct conn *oldest = TAILQ_FIRST(&busy);
	bool can_send = !TAILQ_EMPTY(&idle) || n_conns < MAX_CONNECTIONS;
	int64_t until_ns = now_ns + NS_PER_S;

	if (oldest != NULL)
		until_ns = oldest->record->sent_ns + TIMEOUT_NS;
	if (can_send && n_due < n_records && records[n_due].due_ns < until_ns)
		until_ns = records[n_due].due_ns;
	int64_t ns = until_ns > now_ns ? until_ns - now_ns : 0;
	return (struct timespec){ ns / NS_PER_S, ns % NS_PER_S };
}

static void
turn(void)
{
	struct epoll_event events[EVENTS];
	const struct timespec wait = patience(clock_now_ns());
	int n = epoll_pwait2(epoll_fd, events, EVENTS, &wait, NULL);

	for (int i = 0; i < n; i++) {
		struct conn *conn = events[i].data.ptr;

		if (conn->connected)
			on_readable(conn);
		else
			on_connected(conn);
	}
}

static bool
all_connected(void)
{
	const struct conn *conn;

	TAILQ_FOREACH(conn, &idle, link)
	if (!conn->connected)
		return false;
	return true;
}

static void
run(void)
{
	for (int i = 0; i < n_wanted; i++)
		(void)open_conn();
	while (!all_connected())
		turn();
	if (n_conns < n_wanted)
		die("connect");
	begin_ns = clock_now_ns();
	for (size_t i = 0; i < n_records; i++)
		records[i].due_ns += begin_ns;
	while (n_due < n_records || !TAILQ_EMPTY(&busy)) {
		send_due(clock_now_ns());
		turn();
		drop_late(clock_now_ns());
	}
}

/* ---- the report ---- */

static double
cpu_s(void)
{
	struct rusage use;

	(void)getrusage(RUSAGE_SELF, &use);
	return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

/* `cpu_s`: used by the run alone; `begin_unix_ms`: the log's 0. */
static void
print_report(double used_cpu_s)
{
	int64_t age_ms = (clock_now_ns() - begin_ns) / NS_PER_MS;
	json_t *list = json_array();

	for (size_t i = 0; i < n_answers; i++)
		json_array_append_new(list,
			json_pack("{s:i,s:s,s:I,s:s?}", "status",
				answers[i].status, "code", answers[i].code,
				"count", (json_int_t)answers[i].n, "first",
				answers[i].first));
	json_t *report = json_pack("{s:f,s:i,s:I,s:o}", "cpu_s", used_cpu_s,
		"connections", peak_conns, "begin_unix_ms",
		(json_int_t)(clock_wall_ms() - age_ms), "answers", list);
	(void)json_dumpf(report, stdout, JSON_REAL_PRECISION(6));
	(void)putchar('\n');
	json_decref(report);
}

static double
since_begin_s(int64_t ns)
{
	return (double)(ns - begin_ns) / 1e9;
}

static void
write_log(FILE *file)
{
	(void)fprintf(file, "due_s,sent_s,done_s,status,code\n");
	for (size_t i = 0; i < n_records; i++)
		(void)fprintf(file, "%.6f,%.6f,%.6f,%d,%s\n",
			since_begin_s(records[i].due_ns),
			since_begin_s(records[i].sent_ns),
			since_begin_s(records[i].done_ns),
			records[i].answer->status, records[i].answer->code);
	if (fclose(file) != 0)
		die("the log");
}

/* ---- what is asked ---- */

static _Noreturn void
usage(void)
{
	(void)fprintf(stderr,
		"usage: openload HOST PORT EVENT FIRST_USER USERS CONNECTIONS"
		" LOG <TIMES\n");
	_exit(2);
}

static int64_t
positive(const char *text)
{
	char *end;
	int64_t n = strtoll(text, &end, 10);

	if (n < 1 || *end != '\0')
		usage();
	return n;
}

static FILE *
parse_arguments(char **argv)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };

	host = argv[1];
	int failed = getaddrinfo(host, argv[2], &hints, &server);
	if (failed) {
		(void)fprintf(stderr, "openload: %s: %s\n", host,
			gai_strerror(failed));
		_exit(EXIT_FAILURE);
	}
	event_id = positive(argv[3]);
	first_user = positive(argv[4]);
	n_users = positive(argv[5]);
	n_wanted = (int)positive(argv[6]);
	FILE *log = fopen(argv[7], "w");
	if (log == NULL)
		die(argv[7]);
	return log;
}

static void
use_all_descriptors(void)
{
	struct rlimit limit;

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

int
main(int argc, char **argv)
{
	if (argc != 8)
		usage();
	FILE *log = parse_arguments(argv);
	use_all_descriptors();
	read_plan();
	epoll_fd = epoll_create1(0);
	double cpu_before_s = cpu_s();
	run();
	double used_cpu_s = cpu_s() - cpu_before_s;
	write_log(log);
	print_report(used_cpu_s);
	return EXIT_SUCCESS;
}
