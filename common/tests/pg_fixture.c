/* SPDX-License-Identifier: MIT */
#include "common/tests/pg_fixture.h"

#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/metrics.h"
#include "common/pg.h"
#include "common/tests/unit.h"

#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define START_LIMIT (60 * NS_PER_S)

static struct {
	pid_t pid; /* 0: none of ours */
	char dir[64];
	char server[256]; /* URI without database; "" when there is none */
	char uri[300];
	int databases;
} fixture;

static pid_t
run(const char *const *argv)
{
	const pid_t pid = fork();

	if (pid == 0) {
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	return pid;
}

static bool
answers(void)
{
	char uri[300];

	(void)snprintf(uri, sizeof(uri), "%s dbname=postgres", fixture.server);
	return PQping(uri) == PQPING_OK;
}

static int
wait_until_ready(void)
{
	const int64_t limit = clock_now_ns() + START_LIMIT;
	int status;

	while (!answers()) {
		if (waitpid(fixture.pid, &status, WNOHANG) == fixture.pid) {
			fixture.pid = 0;
			fixture.server[0] = '\0';
			if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
				return 0; /* not installed: skip */
			print_error("pg_cluster failed, see %s/data/log\n",
				fixture.dir);
			return -1;
		}
		if (clock_now_ns() > limit) {
			print_error("PostgreSQL does not start\n");
			return -1;
		}
		(void)poll(NULL, 0, 20);
	}
	return 0;
}

int
pg_fixture_start(void **state)
{
	const char *given = getenv("COUPON_TEST_PG");
	char name[32];

	(void)state;
	if (given != NULL && *given != '\0') {
		(void)snprintf(
			fixture.server, sizeof(fixture.server), "%s", given);
		return answers() ? 0 : -1;
	}
	(void)mkdir("build", 0777);
	(void)snprintf(fixture.dir, sizeof(fixture.dir), "build/pg-XXXXXX");
	if (mkdtemp(fixture.dir) == NULL)
		return -1;
	(void)snprintf(name, sizeof(name), "coupon-test-%d", (int)getpid());
	(void)snprintf(fixture.server, sizeof(fixture.server),
		"host=@%s user=postgres", name);
	fixture.pid = run((const char *const[]){
		"common/tests/pg_cluster", fixture.dir, name, NULL });
	return fixture.pid > 0 ? wait_until_ready() : -1;
}

int
pg_fixture_stop(void **state)
{
	(void)state;
	if (fixture.pid > 0) {
		(void)kill(fixture.pid, SIGQUIT);
		(void)waitpid(fixture.pid, NULL, 0);
	}
	if (fixture.dir[0] != '\0') {
		const pid_t rm = run((const char *const[]){
			"rm", "-rf", fixture.dir, NULL });

		(void)waitpid(rm, NULL, 0);
	}
	memset(&fixture, 0, sizeof(fixture));
	return 0;
}

bool
pg_fixture_is_there(void)
{
	return fixture.server[0] != '\0';
}

void
pg_fixture_need(void)
{
	if (pg_fixture_is_there())
		return;
	print_message("no PostgreSQL server to test with\n");
	skip();
}

const char *
pg_fixture_new_database(void)
{
	char sql[64], name[32];
	char uri[300];

	(void)snprintf(name, sizeof(name), "test_%d_%d", (int)getpid(),
		++fixture.databases);
	(void)snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
	(void)snprintf(uri, sizeof(uri), "%s dbname=postgres", fixture.server);
	PGconn *conn = PQconnectdb(uri);
	PGresult *result = PQexec(conn, sql);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(conn));
	PQclear(result);
	PQfinish(conn);
	(void)snprintf(fixture.uri, sizeof(fixture.uri), "%s dbname=%s",
		fixture.server, name);
	return fixture.uri;
}

void
pg_fixture_settings(struct settings *settings, const char *uri)
{
	*settings = (struct settings){
		.datasource_url = uri,
		.datasource_replica_url = "",
		.datasource_password = "",
		.datasource_maximum_pool_size = 3,
		.datasource_minimum_idle = 0,
		.datasource_connection_timeout_ns = 2 * NS_PER_S,
		.datasource_validation_timeout_ns = 5 * NS_PER_S,
	};
}

void
pg_fixture_pools_open(struct pg_fixture_pools *pools)
{
	struct settings settings;
	struct error err = { 0 };

	pg_fixture_settings(&settings, pg_fixture_new_database());
	pools->metrics = metrics_new();
	if (pg_pools_new(&settings, "test", pools->metrics, &pools->pools,
		    &err) != 0)
		fail_msg("%s", err.msg);
}

void
pg_fixture_pools_close(struct pg_fixture_pools *pools)
{
	pg_pools_free(pools->pools);
	metrics_free(pools->metrics);
}
