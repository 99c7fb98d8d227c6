/* SPDX-License-Identifier: MIT */
/*
 * The answers of /actuator over HTTP: status, content type and JSON as a
 * Spring Boot application gives them.
 */
#include "common/actuator.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/sync.h"
#include "common/tests/promtool.h"
#include "common/tests/unit.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <sys/socket.h>

#define ACTUATOR_JSON "application/vnd.spring-boot.actuator.v3+json"
#define TOKEN "Authorization: Bearer secret\r\n"

static const struct metric_family calls METRIC_FAMILY = {
	.name = "test.calls",
	.kind = METRIC_TIMER,
	.description = "Calls.",
	.tags = "kind",
};

static struct app {
	struct actuator *actuator; /* first */
	struct metrics *metrics;
	struct http_server *server;
	uint16_t port;
	enum health redis;
	enum health readiness;
} app;

static enum health
redis_health(void *arg, json_t *details)
{
	(void)json_object_set_new(details, "version", json_string("7.0.15"));
	return *(enum health *)arg;
}

static enum health
plain_health(void *arg, json_t *details UNUSED)
{
	return arg == NULL ? HEALTH_UP : *(enum health *)arg;
}

static void
start_server(void)
{
	struct http_config config = {
		.address = "127.0.0.1",
		.threads = 1,
		.max_connections = 16,
		.idle_timeout_s = 5,
		.max_body_size = 4096,
		.request_timeout_ns = INT64_C(1000000000),
		.admin_token = "secret",
		.thread_name = "http",
		.routes = actuator_routes,
		.n_routes = actuator_n_routes,
		.metrics = app.metrics,
		.app = &app,
	};
	struct error err;
	int rc = -1;

	for (app.port = 20300; rc != 0 && app.port < 20399; app.port++) {
		config.port = app.port;
		rc = http_server_start(&config, &app.server, &err);
	}
	app.port--;
	assert_int_equal(rc, 0);
}

static int
setup(void **state UNUSED)
{
	app.metrics = metrics_new();
	app.actuator = actuator_new(app.metrics, "api", "always");
	app.redis = app.readiness = HEALTH_UP;
	actuator_health(app.actuator, "redis", redis_health, &app.redis);
	actuator_health(app.actuator, "db", plain_health, NULL);
	actuator_liveness(app.actuator, plain_health, NULL);
	actuator_readiness(app.actuator, plain_health, &app.readiness);
	timer_record(metrics_timer(app.metrics, &calls,
			     METRIC_TAGS({ "kind", "a:b c" })),
		INT64_C(1500000000));
	start_server();
	return 0;
}

static int
teardown(void **state UNUSED)
{
	http_server_stop(app.server);
	actuator_free(app.actuator);
	metrics_free(app.metrics);
	return 0;
}

/* ---- a client ---- */

struct answer {
	unsigned status;
	char type[128]; /* Content-Type, "" for none */
	char body[262144];
};
static struct answer answer;

static void
read_answer(int fd)
{
	static char buf[sizeof(answer.body) + 4096];
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, buf + len, sizeof(buf) - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	char *body = strstr(buf, "\r\n\r\n");
	assert_non_null(body);
	*body = '\0';
	(void)snprintf(answer.body, sizeof(answer.body), "%s", body + 4);
	answer.status = (unsigned)strtoul(buf + strlen("HTTP/1.1 "), NULL, 10);
	answer.type[0] = '\0';
	const char *type = strcasestr(buf, "\r\nContent-Type: ");
	if (type != NULL) {
		type += strlen("\r\nContent-Type: ");
		(void)snprintf(answer.type, sizeof(answer.type), "%.*s",
			(int)strcspn(type, "\r"), type);
	}
}

/* `headers` end with \r\n each. */
static void
call(const char *method, const char *path, const char *headers,
	const char *body)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(app.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	char request[2048];
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int len = snprintf(request, sizeof(request),
		"%s %s HTTP/1.1\r\nHost: localhost:8080\r\n"
		"Connection: close\r\n%sContent-Length: %zu\r\n\r\n%s",
		method, path, headers, strlen(body), body);

	assert_true(len > 0 && (size_t)len < sizeof(request));
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(write(fd, request, (size_t)len), len);
	read_answer(fd);
	(void)close(fd);
}

static void
assert_answer(unsigned status, const char *type, const char *json)
{
	json_t *got = json_loads(answer.body, 0, NULL);
	json_t *want = json_loads(json, 0, NULL);

	assert_int_equal(answer.status, status);
	assert_string_equal(answer.type, type);
	assert_non_null(want);
	if (!json_equal(got, want))
		assert_string_equal(answer.body, json);
	json_decref(got);
	json_decref(want);
}

static void
assert_empty(unsigned status)
{
	assert_int_equal(answer.status, status);
	assert_string_equal(answer.type, "");
	assert_string_equal(answer.body, "");
}

#define GET(path) call("GET", path, "", "")

/* ---- links ---- */

static void
root_links_to_every_endpoint(void **state UNUSED)
{
	GET("/actuator?x=y");
#define LINK(name, path, templated)                                            \
	"\"" name "\":{\"href\":\"http://localhost:8080/actuator" path         \
	"\",\"templated\":" templated "}"
	assert_answer(200, ACTUATOR_JSON,
		"{\"_links\":{" LINK("self", "", "false") "," LINK(
			"health", "/health", "false") "," LINK("health-path",
			"/health/{*path}", "true") "," LINK("info", "/info",
			"false") "," LINK("metrics", "/metrics",
			"false") "," LINK("metrics-requiredMetricName",
			"/metrics/{requiredMetricName}",
			"true") "," LINK("prometheus", "/prometheus",
			"false") "," LINK("loggers", "/loggers",
			"false") "," LINK("loggers-name", "/loggers/{name}",
			"true") "," LINK("configprops", "/configprops",
			"false") "," LINK("configprops-prefix",
			"/configprops/{prefix}", "true") "," LINK("refresh",
			"/refresh", "false") "," LINK("env", "/env",
			"false") "," LINK("threaddump",
			"/threaddump", "false") "," LINK("scheduledtasks",
			"/scheduledtasks", "false") "," LINK("pools", "/pools",
			"false") "," LINK("pools-name", "/pools/{name}",
			"true") "," LINK("pools-name-action",
			"/pools/{name}/{action}", "true") "}}");
#undef LINK
}

static void
plain_json_is_given_to_who_asks_for_it(void **state UNUSED)
{
	call("GET", "/actuator/health/liveness", "Accept: application/json\r\n",
		"");
	assert_answer(200, "application/json", "{\"status\":\"UP\"}");
	call("GET", "/actuator/health/liveness",
		"Accept: text/html,*/*;q=0.8\r\n", "");
	assert_answer(200, ACTUATOR_JSON, "{\"status\":\"UP\"}");
}

static void
head_has_no_body(void **state UNUSED)
{
	call("HEAD", "/actuator/health", "", "");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer.type, ACTUATOR_JSON);
	assert_string_equal(answer.body, "");
}

/* ---- health ---- */

#define REDIS_UP "{\"status\":\"UP\",\"details\":{\"version\":\"7.0.15\"}}"
#define ALL_UP                                                                 \
	"{\"status\":\"UP\",\"groups\":[\"liveness\",\"readiness\"],"          \
	"\"components\":{\"db\":{\"status\":\"UP\"},"                          \
	"\"livenessState\":{\"status\":\"UP\"},"                               \
	"\"readinessState\":{\"status\":\"UP\"},\"redis\":" REDIS_UP "}}"
#define SHORT_UP "{\"status\":\"UP\",\"groups\":[\"liveness\",\"readiness\"]}"

static void
details_are_shown_as_configured(void **state UNUSED)
{
	GET("/actuator/health");
	assert_answer(200, ACTUATOR_JSON, ALL_UP);

	actuator_configure(app.actuator, "never", "info");
	call("GET", "/actuator/health", TOKEN, "");
	assert_answer(200, ACTUATOR_JSON, SHORT_UP);

	actuator_configure(app.actuator, "when-authorized", "info");
	GET("/actuator/health");
	assert_answer(200, ACTUATOR_JSON, SHORT_UP);
	call("GET", "/actuator/health", "Authorization: Bearer wrong\r\n", "");
	assert_answer(200, ACTUATOR_JSON, SHORT_UP);
	call("GET", "/actuator/health", TOKEN, "");
	assert_answer(200, ACTUATOR_JSON, ALL_UP);
}

static void
components_are_hidden_where_details_are(void **state UNUSED)
{
	GET("/actuator/health/redis");
	assert_answer(200, ACTUATOR_JSON, REDIS_UP);
	GET("/actuator/health/db");
	assert_answer(200, ACTUATOR_JSON, "{\"status\":\"UP\"}");
	GET("/actuator/health/nosuch");
	assert_empty(404);
	GET("/actuator/health/redis/more");
	assert_empty(404);

	actuator_configure(app.actuator, "never", "info");
	GET("/actuator/health/redis");
	assert_empty(404);
}

/* The first member of the answer, not that of some component in it. */
static void
assert_overall(unsigned status, const char *name)
{
	char start[64];

	GET("/actuator/health");
	(void)snprintf(
		start, sizeof(start), "{\"status\":\"%s\",\"groups\"", name);
	assert_int_equal(answer.status, status);
	assert_ptr_equal(strstr(answer.body, start), answer.body);
}

static void
worst_component_decides_and_probes_do_not_see_it(void **state UNUSED)
{
	app.redis = HEALTH_UNKNOWN;
	assert_overall(200, "UP");
	app.redis = HEALTH_OUT_OF_SERVICE;
	assert_overall(503, "OUT_OF_SERVICE");
	app.redis = HEALTH_DOWN;
	app.readiness = HEALTH_OUT_OF_SERVICE;
	assert_overall(503, "DOWN");

	GET("/actuator/health/redis");
	assert_answer(503, ACTUATOR_JSON,
		"{\"status\":\"DOWN\",\"details\":{\"version\":\"7.0.15\"}}");
	GET("/actuator/health/liveness");
	assert_answer(200, ACTUATOR_JSON, "{\"status\":\"UP\"}");
}

static void
probes_answer_whatever_is_shown(void **state UNUSED)
{
	actuator_configure(app.actuator, "never", "info");
	GET("/actuator/health/liveness");
	assert_answer(200, ACTUATOR_JSON, "{\"status\":\"UP\"}");
	app.readiness = HEALTH_OUT_OF_SERVICE;
	GET("/actuator/health/readiness");
	assert_answer(503, ACTUATOR_JSON, "{\"status\":\"OUT_OF_SERVICE\"}");
}

/* ---- info ---- */

static void
info_names_build_libraries_and_process(void **state UNUSED)
{
	json_error_t error;

	GET("/actuator/info");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer.type, ACTUATOR_JSON);
	json_t *json = json_loads(answer.body, 0, NULL);
	const char *artifact, *name, *version, *kafka, *start, *os;
	int pid;
	int rc = json_unpack_ex(json, &error, 0,
		"{s:{s:s, s:s, s:s}, s:{s:s}, s:{s:i, s:s}, s:{s:s}}", "build",
		"artifact", &artifact, "name", &name, "version", &version,
		"libraries", "librdkafka", &kafka, "process", "pid", &pid,
		"startTime", &start, "os", "name", &os);
	if (rc != 0)
		fail_msg("%s: %s", error.text, answer.body);
	assert_string_equal(artifact, "coupon");
	assert_string_equal(name, "api");
	assert_int_equal(pid, getpid());
	assert_int_equal(strlen(start), strlen("2026-11-22T21:35:06.294Z"));
	json_decref(json);
}

/* ---- threads ---- */

static struct mutex held;

static void *
wait_for_mutex(void *arg UNUSED)
{
	thread_set_name("blocked");
	mutex_lock(&held);
	mutex_unlock(&held);
	return NULL;
}

static json_t *
find_thread(json_t *dump, const char *name)
{
	json_t *threads = json_object_get(dump, "threads");
	json_t *thread;
	size_t i;

	json_array_foreach(threads, i, thread)
	{
		if (strcmp(json_string_value(
				   json_object_get(thread, "threadName")),
			    name) == 0)
			return thread;
	}
	return NULL;
}

/* False while it is on its way there. */
static bool
is_blocked_by_me(void)
{
	GET("/actuator/threaddump");
	json_t *dump = json_loads(answer.body, 0, NULL);
	json_t *thread = find_thread(dump, "blocked");
	const char *state =
		json_string_value(json_object_get(thread, "threadState"));
	const char *on = json_string_value(json_object_get(thread, "waitsOn"));
	bool blocked =
		state != NULL && strcmp(state, "BLOCKED") == 0 && on != NULL &&
		strncmp(on, "mutex ", strlen("mutex ")) == 0 &&
		json_integer_value(json_object_get(thread, "lockOwnerId")) ==
			gettid();

	json_decref(dump);
	return blocked;
}

static void
threaddump_names_who_holds_the_mutex(void **state UNUSED)
{
	int64_t end_ns = clock_now_ns() + 20 * NS_PER_S;
	pthread_t thread;
	bool blocked = false;

	mutex_init(&held);
	mutex_lock(&held);
	assert_int_equal(
		pthread_create(&thread, NULL, wait_for_mutex, NULL), 0);
	while (!blocked && clock_now_ns() < end_ns)
		blocked = is_blocked_by_me();
	mutex_unlock(&held);
	assert_int_equal(pthread_join(thread, NULL), 0);
	mutex_fini(&held);
	assert_true(blocked);
}

/* ---- metrics ---- */

static void
metrics_are_listed_and_shown(void **state UNUSED)
{
	GET("/actuator/metrics");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer.type, ACTUATOR_JSON);
	assert_non_null(strstr(answer.body, "\"test.calls\""));

	GET("/actuator/metrics/test.calls");
	assert_answer(200, ACTUATOR_JSON,
		"{\"name\":\"test.calls\",\"description\":\"Calls.\","
		"\"baseUnit\":\"seconds\",\"measurements\":["
		"{\"statistic\":\"COUNT\",\"value\":1.0},"
		"{\"statistic\":\"TOTAL_TIME\",\"value\":1.5},"
		"{\"statistic\":\"MAX\",\"value\":1.5}],\"availableTags\":["
		"{\"tag\":\"kind\",\"values\":[\"a:b c\"]}]}");
	GET("/actuator/metrics/test.calls?tag=kind:a:b%20c&tag=kind:a:b+c");
	assert_int_equal(answer.status, 200);
	assert_non_null(strstr(answer.body, "\"availableTags\":[]"));
}

static void
unknown_metric_is_404_and_bad_tag_400(void **state UNUSED)
{
	GET("/actuator/metrics/no.such.metric");
	assert_empty(404);
	GET("/actuator/metrics/test.calls?tag=kind:other");
	assert_empty(404);
	GET("/actuator/metrics/test.calls?tag=nocolon");
	assert_answer(400, "application/problem+json",
		"{\"type\":\"about:blank\",\"title\":\"Bad Request\","
		"\"status\":400,\"detail\":\"Each tag parameter must be in the "
		"form 'key:value'\",\"instance\":"
		"\"/actuator/metrics/test.calls\"}");
}

static void
more_filters_than_fit_are_refused(void **state UNUSED)
{
	char path[512] = "/actuator/metrics/test.calls?tag=kind:a:b%20c";

	for (int i = 0; i < 16; i++)
		(void)strncat(path, "&tag=kind:a:b%20c", 20);
	GET(path);
	assert_int_equal(answer.status, 400);
}

static void
prometheus_answers_in_the_format_asked_for(void **state UNUSED)
{
	static const char text[] = "text/plain;version=0.0.4;charset=utf-8";

	GET("/actuator/prometheus");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer.type, text);
	assert_non_null(
		strstr(answer.body, "# TYPE test_calls_seconds summary\n"
				    "test_calls_seconds_count{"));
	assert_null(strstr(answer.body, "# EOF"));

	call("GET", "/actuator/prometheus", "Accept: */*\r\n", "");
	assert_string_equal(answer.type, text);

	/* what Prometheus 2.42 sends */
	call("GET", "/actuator/prometheus",
		"Accept: application/openmetrics-text;version=1.0.0,"
		"application/openmetrics-text;version=0.0.1;q=0.75,"
		"text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n",
		"");
	assert_string_equal(answer.type,
		"application/openmetrics-text;version=1.0.0;charset=utf-8");
	assert_non_null(strstr(answer.body, "\n# EOF\n"));
}

static void
prometheus_gives_the_included_names_only(void **state UNUSED)
{
	GET("/actuator/prometheus?includedNames=nothing,test_calls_seconds_max"
	    "&includedNames=nothing_else");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer.body,
		"# HELP test_calls_seconds_max Calls.\n"
		"# TYPE test_calls_seconds_max gauge\n"
		"test_calls_seconds_max{kind=\"a:b c\"} 1.5\n");
}

static void
promtool_has_nothing_to_complain_about(void **state UNUSED)
{
	GET("/actuator/prometheus");
	promtool_check(answer.body);
}

/* ---- loggers ---- */

#define AS_ADMIN TOKEN "Content-Type: application/json\r\n"

static void
loggers_are_listed(void **state UNUSED)
{
	log_set_level(LOG_LEVEL_INFO);
	GET("/actuator/loggers");
	assert_answer(200, ACTUATOR_JSON,
		"{\"levels\":[\"OFF\",\"ERROR\",\"WARN\",\"INFO\",\"DEBUG\","
		"\"TRACE\"],\"loggers\":{\"ROOT\":{\"configuredLevel\":"
		"\"INFO\",\"effectiveLevel\":\"INFO\"}},\"groups\":{}}");
	GET("/actuator/loggers/ROOT");
	assert_answer(200, ACTUATOR_JSON,
		"{\"configuredLevel\":\"INFO\",\"effectiveLevel\":\"INFO\"}");
	GET("/actuator/loggers/com.example");
	assert_empty(404);
}

static void
level_is_changed_and_cleared_by_the_admin_only(void **state UNUSED)
{
	enum log_level first = log_get_level();

	call("POST", "/actuator/loggers/ROOT",
		"Content-Type: application/json\r\n",
		"{\"configuredLevel\":\"OFF\"}");
	assert_int_equal(answer.status, 401);
	assert_int_equal(log_get_level(), first);

	call("POST", "/actuator/loggers/ROOT", AS_ADMIN,
		"{\"configuredLevel\":\"off\"}");
	assert_empty(204);
	assert_int_equal(log_get_level(), LOG_LEVEL_OFF);

	call("POST", "/actuator/loggers/ROOT", AS_ADMIN, "{}");
	assert_empty(204);
	assert_int_equal(log_get_level(), first);
}

static void
spring_boots_own_media_types_are_taken(void **state UNUSED)
{
	call("POST", "/actuator/loggers/ROOT",
		TOKEN "Content-Type: " ACTUATOR_JSON "\r\n", "{}");
	assert_empty(204);
	call("POST", "/actuator/loggers/ROOT",
		TOKEN
		"Content-Type: application/vnd.spring-boot.actuator.v2+json;"
		"charset=UTF-8\r\n",
		"{}");
	assert_empty(204);
	call("POST", "/actuator/loggers/ROOT",
		TOKEN "Content-Type: text/json\r\n", "{}");
	assert_int_equal(answer.status, 415);
}

static void
bad_levels_change_nothing(void **state UNUSED)
{
	static const char *const bodies[] = { "{\"configuredLevel\":\"NOPE\"}",
		"{\"configuredLevel\":3}", "[]", "{" };
	enum log_level before = log_get_level();

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		call("POST", "/actuator/loggers/ROOT", AS_ADMIN, bodies[i]);
		assert_answer(400, "application/problem+json",
			"{\"type\":\"about:blank\",\"title\":\"Bad Request\","
			"\"status\":400,\"detail\":"
			"\"Parameter mapping failure\",\"instance\":"
			"\"/actuator/loggers/ROOT\"}");
	}
	call("POST", "/actuator/loggers/other", AS_ADMIN, bodies[0]);
	assert_empty(404);
	assert_int_equal(log_get_level(), before);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(root_links_to_every_endpoint),
		test(plain_json_is_given_to_who_asks_for_it),
		test(head_has_no_body),
		test(details_are_shown_as_configured),
		test(components_are_hidden_where_details_are),
		test(worst_component_decides_and_probes_do_not_see_it),
		test(probes_answer_whatever_is_shown),
		test(info_names_build_libraries_and_process),
		test(threaddump_names_who_holds_the_mutex),
		test(metrics_are_listed_and_shown),
		test(unknown_metric_is_404_and_bad_tag_400),
		test(more_filters_than_fit_are_refused),
		test(prometheus_answers_in_the_format_asked_for),
		test(prometheus_gives_the_included_names_only),
		test(promtool_has_nothing_to_complain_about),
		test(loggers_are_listed),
		test(level_is_changed_and_cleared_by_the_admin_only),
		test(spring_boots_own_media_types_are_taken),
		test(bad_levels_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
