/* SPDX-License-Identifier: MIT */
#include "common/clock.h"
#include "common/config.h"
#include "common/config_option.h"
#include "common/error.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MAX_ARGS 8

/* ---- a file, an environment and arguments for one test ---- */

static char path[64];

static void
write_file(const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
}

static int
set_up(void **state UNUSED)
{
	(void)snprintf(
		path, sizeof(path), "build/test_config.%d.yaml", (int)getpid());
	return 0;
}

static int
tear_down(void **state UNUSED)
{
	(void)unlink(path);
	return 0;
}

/* `args` are separated by NUL and end with an empty one. */
static int
load_as(enum daemon_kind kind, const char *args, struct config **ret,
	struct error *err)
{
	struct config_command command;
	char *argv[MAX_ARGS] = { (char[]){ "daemon" } };
	int argc = 1;

	for (; *args != '\0'; args += strlen(args) + 1) {
		assert_true(argc < MAX_ARGS - 1);
		argv[argc++] = (char *)(uintptr_t)args;
	}
	int rc = config_load(kind, argc, argv, &command, err);

	if (rc != 0)
		return rc;
	assert_int_equal(command.rest, argc);
	assert_int_equal(command.action, CONFIG_RUN);
	*ret = command.config;
	return 0;
}

static int
load(const char *text, struct config **ret, struct error *err)
{
	static char args[128]; /* read again by a reload */
	int len = snprintf(args, sizeof(args), "--config=%s", path);

	args[len + 1] = '\0';
	write_file(text);
	return load_as(DAEMON_API, args, ret, err);
}

static struct config *
load_good(const char *text)
{
	struct config *config = NULL;
	struct error err;

	if (load(text, &config, &err) != 0)
		fail_msg("%s", err.msg);
	return config;
}

/* ---- sources ---- */

static void
defaults_are_those_of_the_daemon(void **state UNUSED)
{
	struct config *config = NULL;
	struct error err;

	assert_int_equal(load_as(DAEMON_API, "", &config, &err), 0);
	const struct settings *s = config_settings(config);

	assert_int_equal(s->server_port, 8080);
	assert_int_equal(s->redis_pool_max_active, 50);
	assert_int_equal(s->redis_pool_max_wait_ns, 500 * NS_PER_MS);
	assert_int_equal(s->server_max_body_size, 4096);
	assert_true(s->circuitbreaker_enabled);
	assert_string_equal(s->admin_token, "");
	assert_string_equal(s->logging_level, "info");
	assert_int_equal(s->kafka_properties.count, 0);
	assert_null(s->kafka_properties.items[0].name);
	config_free(config);

	assert_int_equal(load_as(DAEMON_CONSUMER, "", &config, &err), 0);
	assert_int_equal(config_settings(config)->server_port, 8081);
	assert_int_equal(
		config_settings(config)->datasource_maximum_pool_size, 30);
	config_free(config);
}

static void
only_the_api_needs_three_connections(void **state UNUSED)
{
	static const char two[] =
		"--set\0datasource.hikari.maximum-pool-size=2\0";
	struct config *config = NULL;
	struct error err = { 0 };

	assert_int_equal(load_as(DAEMON_CONSUMER, two, &config, &err), 0);
	config_free(config);
	assert_int_equal(
		load_as(DAEMON_API, two, &config, &err), -ERROR_CONFIG_INVALID);
	assert_string_equal(err.msg,
		"--set: datasource.hikari.maximum-pool-size: expected at "
		"least 3 for the api, whose rebuild and whose comparison hold "
		"one each while they ask for another, got 2");
}

static void
later_sources_win(void **state UNUSED)
{
	struct config *config;
	struct error err;

	(void)setenv("COUPON_REDIS_PORT", "2", 1);
	(void)setenv("COUPON_REDIS_TIMEOUT", "2s", 1);
	write_file("redis:\n  port: 1\n  timeout: 1s\n  host: file\n");
	char args[256];
	int len = snprintf(args, sizeof(args),
		"--config%c%s%c--set%credis.port=3", 0, path, 0, 0);

	args[len + 1] = '\0';
	assert_int_equal(load_as(DAEMON_API, args, &config, &err), 0);
	assert_int_equal(config_settings(config)->redis_port, 3);
	assert_int_equal(
		config_settings(config)->redis_timeout_ns, 2 * NS_PER_S);
	assert_string_equal(config_settings(config)->redis_host, "file");
	config_free(config);
	(void)unsetenv("COUPON_REDIS_PORT");
	(void)unsetenv("COUPON_REDIS_TIMEOUT");
}

static void
placeholders_are_filled_from_the_environment(void **state UNUSED)
{
	(void)setenv("HOST", "h", 1);
	(void)setenv("EMPTY", "", 1);
	struct config *config =
		load_good("redis:\n"
			  "  host: ${HOST}-${HOST:x}-${NONE:d}${EMPTY:x}\n"
			  "  port: ${PORT_OF_REDIS:6380}\n"
			  "datasource:\n"
			  "  url: ${PG:postgresql://${PGH:db}:5432/x}\n"
			  "  replica-url: '${NONE:}'\n"
			  "kafka:\n"
			  "  topic: a$b{c}$\n");
	const struct settings *s = config_settings(config);

	assert_string_equal(s->redis_host, "h-h-d");
	assert_int_equal(s->redis_port, 6380);
	assert_string_equal(s->datasource_url, "postgresql://db:5432/x");
	assert_string_equal(s->datasource_replica_url, "");
	assert_string_equal(s->kafka_topic, "a$b{c}$");
	config_free(config);
	(void)unsetenv("HOST");
	(void)unsetenv("EMPTY");
}

static void
properties_are_taken_nested_dotted_and_from_the_environment(void **state UNUSED)
{
	(void)setenv("COUPON_KAFKA_PROPERTIES_LINGER_MS", "5", 1);
	(void)setenv("COUPON_RATELIMITER_COUPON_ISSUE_EVENTS_7", "70", 1);
	struct config *config = load_good("kafka.properties.retries: 9\n"
					  "kafka:\n"
					  "  properties:\n"
					  "    linger.ms: 1\n"
					  "    socket:\n"
					  "      keepalive.enable: true\n");
	const struct settings_properties *p =
		&config_settings(config)->kafka_properties;

	assert_int_equal(p->count, 3);
	assert_string_equal(p->items[0].name, "retries");
	assert_string_equal(p->items[1].name, "linger.ms");
	assert_string_equal(p->items[1].value, "5");
	assert_string_equal(p->items[2].name, "socket.keepalive.enable");
	assert_string_equal(p->items[2].value, "true");
	assert_null(p->items[3].name);
	p = &config_settings(config)->ratelimiter_events;
	assert_int_equal(p->count, 1);
	assert_string_equal(p->items[0].name, "7");
	assert_string_equal(p->items[0].value, "70");
	config_free(config);
	(void)unsetenv("COUPON_KAFKA_PROPERTIES_LINGER_MS");
	(void)unsetenv("COUPON_RATELIMITER_COUPON_ISSUE_EVENTS_7");
}

/* ---- errors ---- */

/* clang-format off */
static const struct {
	const char *text;
	const char *msg; /* after "FILE:" */
} wrong_files[] = {
	{ "redis:\n  port: 99999\n",
		"2: redis.port: expected a number from 1 to 65535, got "
		"\"99999\"" },
	{ "redis:\n  port: 1.5\n", "2: redis.port: expected a number" },
	{ "redis:\n  port: 0x10\n", "2: redis.port: expected a number" },
	{ "redis:\n  port: ' 1'\n", "2: redis.port: expected a number" },
	{ "redis:\n  port: 99999999999999999999\n", "expected a number" },
	{ "redis:\n  port:\n",
		"redis.port: expected a number from 1 to 65535, got nothing" },
	{ "redis:\n  timeout: 500\n",
		"2: redis.timeout: expected a duration such as 500ms or "
		"10s, from 1ms to 1m, got \"500\"" },
	{ "redis.timeout: 2m\n", "from 1ms to 1m, got \"2m\"" },
	{ "server.max-body-size: 4096\n", "expected a size such as 4KB" },
	{ "server.max-body-size: 2MB\n", "from 1B to 1MB, got \"2MB\"" },
	{ "circuitbreaker.coupon-issue.enabled: yes\n",
		"expected true or false, got \"yes\"" },
	{ "logging:\n\n  level: loud\n",
		"3: logging.level: expected one of "
		"off|error|warn|info|debug|trace, got \"loud\"" },
	{ "redis:\n  pool:\n    max-actve: 1\n",
		"3: redis.pool.max-actve: expected a known key; did you "
		"mean redis.pool.max-active?" },
	{ "redis:\n  max-active: 1\n",
		"redis.max-active: expected a known key; did you mean "
		"redis.pool.max-active?" },
	{ "spring: 1\n", "1: spring: expected a known key" },
	{ "redis: 1\n", "1: redis: expected keys below it, got a value" },
	{ "redis.host: ${NOT_SET_ANYWHERE}\n",
		"1: redis.host: the environment variable NOT_SET_ANYWHERE "
		"is not set" },
	{ "redis.host: ${}\n", "expected ${NAME} or ${NAME:default}" },
	{ "redis.host: ${A B}\n", "expected ${NAME} or ${NAME:default}" },
	{ "redis.host: ${A:b\n", "a ${ without its }" },
	{ "redis.pool:\n  min-idle: 9\n  max-active: 8\n",
		"2: redis.pool.min-idle: expected at most "
		"redis.pool.max-active (8, " },
	{ "datasource.hikari.minimum-idle: 6\n",
		"expected at most datasource.hikari.maximum-pool-size (5, "
		"default), got 6" },
	{ "datasource:\n  hikari:\n    maximum-pool-size: 2\n",
		"3: datasource.hikari.maximum-pool-size: expected at least 3 "
		"for the api" },
	{ "datasource.url: db:5432\n", "expected a URI such as" },
	{ "redis.cluster.nodes: a:1\n", "not supported in this version" },
	{ "kafka.topic: coupon-issue-requests.dlq\n",
		"1: kafka.topic: expected another topic than "
		"kafka.dead-letter-topic" },
	{ "ratelimiter.coupon-issue.events:\n  0: 5\n",
		"2: ratelimiter.coupon-issue.events.0: expected a couponId" },
	{ "ratelimiter.coupon-issue.events:\n  1: many\n",
		"expected a number from 1" },
	{ "kafka:\n  properties:\n    no.such.thing: 1\n",
		"3: kafka.properties.no.such.thing: " },
	{ "admin.token: a\nadmin.token-file: b\n",
		"2: admin.token-file: expected nothing, as admin.token is "
		"set" },
	{ "admin.token-file: /nonexistent\n", "No such file" },
	{ "redis.host: \"a\\nb\"\n", "without control characters" },
	{ "a: &x 1\n", "1: anchors are not supported" },
};
/* clang-format on */

static void
what_is_wrong_in_the_file_is_named_exactly(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(wrong_files); i++) {
		struct config *config = NULL;
		struct error err;

		if (load(wrong_files[i].text, &config, &err) == 0)
			fail_msg("accepted: %s", wrong_files[i].text);
		assert_int_equal(err.kind, ERROR_CONFIG_INVALID);
		assert_memory_equal(err.msg, path, strlen(path));
		if (strstr(err.msg, wrong_files[i].msg) == NULL)
			fail_msg(
				"%s: got \"%s\"", wrong_files[i].text, err.msg);
	}
}

static void
a_bad_variable_is_named(void **state UNUSED)
{
	static const struct {
		const char *name;
		const char *value;
		const char *msg;
	} rows[] = {
		{ "COUPON_REDIS_PORT", "x",
			"COUPON_REDIS_PORT: redis.port: expected a number from "
			"1 "
			"to 65535, got \"x\"" },
		{ "COUPON_REDIS_PROT", "1",
			"COUPON_REDIS_PROT: expected the name of a known key; "
			"did you mean COUPON_REDIS_PORT?" },
		{ "COUPON_WHATEVER_ELSE_THIS_IS", "1",
			"COUPON_WHATEVER_ELSE_THIS_IS: expected the name of a "
			"known key" },
		{ "COUPON_KAFKA_PROPERTIES_NO_SUCH", "1",
			"COUPON_KAFKA_PROPERTIES_NO_SUCH: "
			"kafka.properties.no.such: " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config *config = NULL;
		struct error err;

		(void)setenv(rows[i].name, rows[i].value, 1);
		assert_int_equal(load_as(DAEMON_API, "", &config, &err),
			-ERROR_CONFIG_INVALID);
		assert_memory_equal(err.msg, rows[i].msg, strlen(rows[i].msg));
		(void)unsetenv(rows[i].name);
	}
}

static void
variables_of_others_are_left_alone(void **state UNUSED)
{
	static const char *const names[] = { "COUPON_API_SERVICE_HOST",
		"COUPON_API_SERVICE_PORT", "COUPON_API_SERVICE_PORT_HTTP",
		"COUPON_API_PORT", "COUPON_API_PORT_8080_TCP",
		"COUPON_API_PORT_8080_TCP_ADDR", "COUPON_TEST_DIR",
		"COUPON_DB_HOST" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)setenv(names[i], "tcp://10.0.0.1:8080", 1);
	config_free(load_good("redis.host: ${COUPON_DB_HOST}\n"));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)unsetenv(names[i]);
}

static void
a_default_gives_way_to_a_choice(void **state UNUSED)
{
	struct config *config = load_good("redis.pool.max-active: 4\n"
					  "circuitbreaker.coupon-issue:\n"
					  "  sliding-window-size: 5\n");

	assert_int_equal(config_settings(config)->redis_pool_min_idle, 4);
	assert_int_equal(
		config_settings(config)->circuitbreaker_minimum_number_of_calls,
		5);
	config_free(config);
}

/* ---- secrets ---- */

static void
find_secret(void *arg, const char *key, const char *value, const char *origin)
{
	bool *found = arg;

	(void)origin;
	*found = *found || strstr(value, "s3cret") != NULL;
	if (strcmp(key, "admin.token") == 0)
		assert_string_equal(value, "******");
}

static void
secrets_are_shown_to_nobody(void **state UNUSED)
{
	bool found = false;
	struct config *config = load_good(
		"admin.token: s3cret\n"
		"redis.password: s3cret\n"
		"datasource.url: postgresql://u:s3cret@h/db\n"
		"datasource.replica-url: postgresql://h/db?password=s3cret\n"
		"kafka.properties.sasl.password: s3cret\n"
		"kafka.properties.ssl.key.password: s3cret\n");
	struct error err;

	config_each(config, find_secret, &found);
	assert_false(found);
	config_free(config);

	assert_int_not_equal(
		load("admin.token: \"s3cret\\n\"\n", &config, &err), 0);
	assert_null(strstr(err.msg, "s3cret"));
}

static void
a_secret_on_the_command_line_is_refused(void **state UNUSED)
{
	static const char *const args[] = { "--set=admin.token=s3cret\0",
		"--set=redis.password=s3cret\0",
		"--set=datasource.url=postgresql://u:s3cret@h/db\0",
		"--set=kafka.properties.sasl.password=s3cret\0" };

	for (size_t i = 0; i < ARRAY_SIZE(args); i++) {
		struct config *config = NULL;
		struct error err;

		assert_int_not_equal(
			load_as(DAEMON_API, args[i], &config, &err), 0);
		assert_null(strstr(err.msg, "s3cret"));
		assert_non_null(strstr(err.msg, "process list"));
	}
}

static void
the_admin_token_may_come_from_a_file(void **state UNUSED)
{
	struct config *config = NULL;
	struct error err;
	char args[128];
	int len =
		snprintf(args, sizeof(args), "--set=admin.token-file=%s", path);

	args[len + 1] = '\0';
	write_file("s3cret\nmore\n");
	assert_int_equal(load_as(DAEMON_API, args, &config, &err), 0);
	assert_string_equal(config_settings(config)->admin_token, "s3cret");
	config_free(config);
	write_file("\n");
	assert_int_not_equal(load_as(DAEMON_API, args, &config, &err), 0);
	assert_non_null(strstr(err.msg, "expected a token"));
}

/* ---- command line ---- */

static void
what_is_unknown_on_the_command_line_is_left(void **state UNUSED)
{
	char *argv[] = { (char[]){ "daemon" }, (char[]){ "--check" },
		(char[]){ "--set" }, (char[]){ "redis.port=7" },
		(char[]){ "create" }, (char[]){ "--set" }, NULL };
	struct config_command command;
	struct error err;

	assert_int_equal(config_load(DAEMON_API, 6, argv, &command, &err), 0);
	assert_int_equal(command.action, CONFIG_CHECK);
	assert_int_equal(command.rest, 4);
	assert_int_equal(config_settings(command.config)->redis_port, 7);
	config_free(command.config);
	assert_int_not_equal(
		config_load(DAEMON_API, 3, argv, &command, &err), 0);
	assert_string_equal(err.msg, "--set: expected a value after it");
	argv[3] = (char[]){ "redis.port" };
	assert_int_not_equal(
		config_load(DAEMON_API, 4, argv, &command, &err), 0);
	assert_string_equal(err.msg, "--set: expected key=value");
}

/* ---- reload ---- */

static void
a_reload_tells_live_from_restart(void **state UNUSED)
{
	struct config *config = load_good("redis.pool.max-active: 10\n"
					  "redis.timeout: 60s\n"
					  "server.threads: 2\n"
					  "kafka.properties.linger.ms: 1\n"
					  "kafka.properties.retries: 1\n");
	const struct settings *before = config_settings(config);
	const struct settings *after;
	struct config_changes changes;
	struct error err;

	for (int round = 0; round < 2; round++) {
		static const struct config_change want[] = {
			{ "server.threads", "2", "4", false },
			{ "kafka.properties.linger.ms", "1", "2", false },
			{ "kafka.properties.acks", "", "1", false },
			{ "kafka.properties.retries", "1", "", false },
		};

		write_file("redis.pool.max-active: 50\n"
			   "redis.timeout: 1m\n"
			   "server.threads: 4\n"
			   "kafka.properties.linger.ms: 2\n"
			   "kafka.properties.acks: 1\n");
		assert_int_equal(
			config_reload(config, &after, &changes, &err), 0);
		assert_int_equal(after->redis_pool_max_active, 50);
		assert_int_equal(after->server_threads, 2);
		assert_int_equal(after->kafka_properties.count, 2);
		assert_string_equal(
			after->kafka_properties.items[0].value, "1");
		assert_ptr_equal(after, config_settings(config));
		/* The live one differs the first time only. */
		size_t live = round == 0 ? 1 : 0;

		assert_int_equal(changes.count, ARRAY_SIZE(want) + live);
		for (size_t i = 0, j = 0; i < changes.count; i++) {
			const struct config_change *c = &changes.items[i];

			if (c->live) {
				assert_string_equal(
					c->key, "redis.pool.max-active");
				assert_string_equal(c->from, "10");
				assert_string_equal(c->to, "50");
				continue;
			}
			assert_string_equal(c->key, want[j].key);
			assert_string_equal(c->from, want[j].from);
			assert_string_equal(c->to, want[j].to);
			j++;
		}
	}
	assert_int_equal(before->redis_pool_max_active, 10);
	config_free(config);
}

static void
a_bad_reload_changes_nothing(void **state UNUSED)
{
	struct config *config = load_good("redis.pool.max-active: 10\n");
	const struct settings *before = config_settings(config);
	const struct settings *after = NULL;
	struct config_changes changes;
	struct error err;

	write_file("redis.pool.max-active: 50\nredis.port: none\n");
	assert_int_equal(config_reload(config, &after, &changes, &err),
		-ERROR_CONFIG_INVALID);
	assert_null(after);
	assert_ptr_equal(config_settings(config), before);
	assert_int_equal(before->redis_pool_max_active, 10);

	write_file("redis.pool.max-active: 10\n");
	assert_int_equal(config_reload(config, &after, &changes, &err), 0);
	assert_int_equal(changes.count, 0);
	assert_ptr_equal(after, before);
	config_free(config);
}

static int
put_over(struct config *config, const char *key, const char *value,
	struct config_changes *changes)
{
	const struct config_assignment assignment = { key, value };
	const struct settings *settings;
	struct error err;

	return config_override(config, &assignment, &settings, changes, &err);
}

static int64_t
max_active(const struct config *config)
{
	return config_settings(config)->redis_pool_max_active;
}

static int64_t
max_active_reloaded(struct config *config)
{
	const struct settings *settings;
	struct config_changes changes;
	struct error err;

	assert_int_equal(config_reload(config, &settings, &changes, &err), 0);
	return settings->redis_pool_max_active;
}

static void
an_override_stays_until_the_file_says_another(void **state UNUSED)
{
	static const char key[] = "redis.pool.max-active";
	struct config *config = load_good("redis.pool.max-active: 10\n");
	struct config_changes changes;

	assert_int_equal(put_over(config, key, "20", &changes), 0);
	assert_int_equal(changes.count, 1);
	assert_string_equal(changes.items[0].from, "10");
	assert_string_equal(changes.items[0].to, "20");
	assert_int_equal(max_active_reloaded(config), 20);
	assert_int_equal(put_over(config, key, "30", &changes), 0);
	assert_int_equal(max_active(config), 30);
	write_file("redis.pool.max-active: 15\n");
	assert_int_equal(max_active_reloaded(config), 15);
	/* Over is over, also when the file goes back. */
	write_file("redis.pool.max-active: 10\n");
	assert_int_equal(max_active_reloaded(config), 10);
	assert_int_equal(put_over(config, key, "40", &changes), 0);
	assert_int_equal(put_over(config, NULL, NULL, &changes), 0);
	assert_int_equal(changes.count, 1);
	assert_int_equal(max_active(config), 10);
	config_free(config);
}

static void
a_bad_override_changes_nothing(void **state UNUSED)
{
	static const struct config_assignment bad[] = {
		{ "redis.pool.max-active", "0" },
		{ "redis.pool.max-active", "many" },
		{ "redis.pool.max-activ", "20" },
		{ "redis.pool", "20" },
		{ "server.threads", "2" }, /* needs a restart */
		{ "admin.token", "x" },
		{ "kafka.properties.acks", "1" },
		{ "ratelimiter.coupon-issue.events.1", "1" },
	};
	struct config *config = load_good("redis.pool.max-active: 10\n");
	struct config_changes changes;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(
			put_over(config, bad[i].key, bad[i].value, &changes),
			-ERROR_CONFIG_INVALID);
	assert_int_equal(max_active_reloaded(config), 10);
	/* Nor does it take away the one before it. */
	assert_int_equal(put_over(config, bad[0].key, "20", &changes), 0);
	assert_int_not_equal(put_over(config, bad[0].key, "0", &changes), 0);
	assert_int_equal(max_active_reloaded(config), 20);
	/* A file that is refused leaves it too. */
	write_file("redis.pool.max-active: 15\nredis.port: none\n");
	assert_int_not_equal(put_over(config, NULL, NULL, &changes), 0);
	write_file("redis.pool.max-active: 10\n");
	assert_int_equal(max_active_reloaded(config), 20);
	config_free(config);
}

/* ---- the table ---- */

static void
every_row_is_sound(void **state UNUSED)
{
	for (size_t i = 0; i < config_n_options; i++) {
		const struct option *option = &config_options[i];
		static struct settings settings;
		const char *name;
		char env[OPTION_NAME_MAX];

		assert_ptr_equal(option_find(option->key, &name),
			option->type == OPTION_PROPERTIES ? NULL : option);
		option_env_name(option->key, env);
		assert_ptr_equal(option_find_env(env, &name),
			option->type == OPTION_PROPERTIES ? NULL : option);
		assert_true(strlen(option->help) > 10);
		assert_null(strchr(option->help, '|'));
		assert_int_equal(option->help[strlen(option->help) - 1], '.');
		if (option->type == OPTION_PROPERTIES)
			continue;
		for (int kind = 0; kind < 2; kind++)
			assert_true(option_read(
				option, option->defaults[kind], &settings));
	}
}

static void
the_shipped_files_serve_both_daemons(void **state UNUSED)
{
	static const char *const files[] = { "--config=api/api.yaml\0",
		"--config=consumer/consumer.yaml\0" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		for (int kind = 0; kind < 2; kind++) {
			struct config *config = NULL;
			struct error err;

			if (load_as((enum daemon_kind)kind, files[i], &config,
				    &err) != 0)
				fail_msg("%s", err.msg);
			config_free(config);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_daemon),
		cmocka_unit_test(only_the_api_needs_three_connections),
		cmocka_unit_test(later_sources_win),
		cmocka_unit_test(placeholders_are_filled_from_the_environment),
		cmocka_unit_test(
			properties_are_taken_nested_dotted_and_from_the_environment),
		cmocka_unit_test(what_is_wrong_in_the_file_is_named_exactly),
		cmocka_unit_test(a_bad_variable_is_named),
		cmocka_unit_test(variables_of_others_are_left_alone),
		cmocka_unit_test(a_default_gives_way_to_a_choice),
		cmocka_unit_test(secrets_are_shown_to_nobody),
		cmocka_unit_test(a_secret_on_the_command_line_is_refused),
		cmocka_unit_test(the_admin_token_may_come_from_a_file),
		cmocka_unit_test(what_is_unknown_on_the_command_line_is_left),
		cmocka_unit_test(a_reload_tells_live_from_restart),
		cmocka_unit_test(a_bad_reload_changes_nothing),
		cmocka_unit_test(an_override_stays_until_the_file_says_another),
		cmocka_unit_test(a_bad_override_changes_nothing),
		cmocka_unit_test(every_row_is_sound),
		cmocka_unit_test(the_shipped_files_serve_both_daemons),
	};

	return cmocka_run_group_tests_name("config", tests, set_up, tear_down);
}
