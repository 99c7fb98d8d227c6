/* SPDX-License-Identifier: MIT */
/*
 * coupon-verify - do Redis, Kafka and PostgreSQL agree on what was issued?
 *
 * Reads the daemons' configuration, compares one event or all, and prints
 * each violation by name with what to do about it.  Writes
 * nothing anywhere.  While the service runs, what is on its way is allowed
 * and a violation is reported when it is still there at a second look.
 */
#include "api/audit_events.h"
#include "api/audit_look.h"
#include "api/scripts.h"
#include "common/clock.h"
#include "common/compiler.h"
#include "common/config.h"
#include "common/error.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pg.h"
#include "common/redis.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <sodium.h>

#define LOOK_TIMEOUT_NS (120 * NS_PER_S)
#define PATIENCE_NS (10 * NS_PER_S)
#define POOL_DRAIN_NS (1 * NS_PER_S)

enum { SECOND_LOOK_S = 2, TRIES = 5 };
enum { EXIT_CLEAN = 0, EXIT_VIOLATIONS = 1, EXIT_NOT_CHECKED = 2 };

/* clang-format off */
static const char usage[] =
"coupon-verify --config FILE [--set KEY=VALUE]... [OPTION]...\n"
"  --event ID      this event only; all without\n"
"  --at-rest       nothing is on its way: all must add up exactly\n"
"  --whole-topic   also what was consumed long ago must have become final\n"
"  --repair        say what the reconciler would do (nothing is written)\n"
"  --json          one JSON object instead of text\n"
"Exit status: 0 clean, 1 violations, 2 could not be checked.\n";
/* clang-format on */

struct request {
	int64_t coupon_id; /* 0: all */
	bool at_rest, whole_topic, repair, json;
	/* The arguments that are the configuration's. */
	int argc;
	char **argv;
};

/* What the run has to say at its end. */
struct report {
	const struct request *req;
	json_t *events;
	size_t n_events;
	uint64_t n_violations;
};

/* ---- arguments ---- */

static int
parse_id(const char *text, int64_t *ret, struct error *err)
{
	char *end = NULL;

	errno = 0;
	if (text != NULL)
		*ret = strtoll(text, &end, 10);
	if (end == NULL || errno != 0 || *end != '\0' || *ret < 1)
		return error_set(err, ERROR_BAD_INPUT,
			"--event: expected the id of an event");
	return 0;
}

static bool *
find_flag(struct request *req, const char *arg)
{
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {
		{ "--at-rest", &req->at_rest },
		{ "--whole-topic", &req->whole_topic },
		{ "--repair", &req->repair },
		{ "--json", &req->json },
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (strcmp(arg, flags[i].name) == 0)
			return flags[i].flag;
	return NULL;
}

/* Take our own arguments out, wherever they stand. */
static int
parse(int argc, char **argv, struct request *req, struct error *err)
{
	req->argv[req->argc++] = argv[0];
	for (int i = 1; i < argc; i++) {
		bool *flag = find_flag(req, argv[i]);

		if (flag != NULL) {
			*flag = true;
		} else if (strcmp(argv[i], "--event") == 0) {
			const char *id = i + 1 < argc ? argv[++i] : NULL;
			int rc = parse_id(id, &req->coupon_id, err);

			if (rc != 0)
				return rc;
		} else {
			req->argv[req->argc++] = argv[i];
		}
	}
	return 0;
}

/* ---- output ---- */

static const char *
repair_text(enum audit_repair repair)
{
	static const char *const texts[] = {
		[AUDIT_BY_HAND] = "needs a person",
		[AUDIT_WAIT] = "ends by itself",
		[AUDIT_SEND] = "would be sent again",
		[AUDIT_REBUILD] = "would be ended by a rebuild",
	};

	return texts[repair];
}

static void
print_finding(const struct request *req, const struct audit_finding *finding)
{
	const struct audit_case_info *info = audit_case_info(finding->found);

	printf("  %s", audit_violation_name(info->violation));
	if (finding->user_id != 0)
		printf(" user %" PRId64, finding->user_id);
	if (finding->seq != 0)
		printf(" number %" PRId64, finding->seq);
	if (finding->request_id[0] != '\0')
		printf(" request %s", finding->request_id);
	printf("\n    is: %s\n    do: %s\n", info->what, info->todo);
	if (req->repair)
		printf("    repair: %s\n", repair_text(info->repair));
}

static uint64_t
count_violations(const struct audit_findings *findings)
{
	uint64_t count = 0;

	for (size_t i = 0; i < AUDIT_N_VIOLATIONS; i++)
		count += findings->counts[i];
	return count;
}

static void
print_event(const struct report *report, int64_t coupon_id,
	const struct audit_result *result)
{
	uint64_t n = count_violations(&result->findings);

	printf("event %" PRId64 ": total %" PRId64 ", issued %" PRId64
	       ", rejected %" PRId64 "; Redis: held %" PRId64
	       ", in the outbox %" PRId64 ", free %" PRId64 ", next %" PRId64
	       "; %s\n",
		coupon_id, result->total, result->rows, result->rejections,
		result->holders, result->pending, result->free_numbers,
		result->next, n == 0 ? "clean" : "VIOLATIONS");
	for (size_t i = 0; i < result->findings.n; i++)
		print_finding(report->req, &result->findings.items[i]);
	if (n > result->findings.n)
		printf("  ... and %" PRIu64 " more\n", n - result->findings.n);
}

static json_t *
finding_to_json(const struct request *req, const struct audit_finding *finding)
{
	const struct audit_case_info *info = audit_case_info(finding->found);
	json_t *json = json_pack("{s:s, s:s, s:s}", "violation",
		audit_violation_name(info->violation), "is", info->what, "do",
		info->todo);

	if (finding->user_id != 0)
		json_object_set_new(
			json, "userId", json_integer(finding->user_id));
	if (finding->seq != 0)
		json_object_set_new(json, "seq", json_integer(finding->seq));
	if (finding->request_id[0] != '\0')
		json_object_set_new(
			json, "requestId", json_string(finding->request_id));
	if (req->repair)
		json_object_set_new(
			json, "repair", json_string(repair_text(info->repair)));
	return json;
}

static void
add_event(struct report *report, int64_t coupon_id,
	const struct audit_result *result)
{
	json_t *counts = json_object(), *findings = json_array();

	for (size_t i = 0; i < AUDIT_N_VIOLATIONS; i++)
		if (result->findings.counts[i] > 0)
			json_object_set_new(counts,
				audit_violation_name((enum audit_violation)i),
				json_integer((
					json_int_t)result->findings.counts[i]));
	for (size_t i = 0; i < result->findings.n; i++)
		json_array_append_new(
			findings, finding_to_json(report->req,
					  &result->findings.items[i]));
	json_array_append_new(report->events,
		json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}",
			"id", coupon_id, "total", result->total, "issued",
			result->rows, "rejected", result->rejections, "held",
			result->holders, "pending", result->pending, "free",
			result->free_numbers, "next", result->next,
			"violations", counts, "findings", findings));
}

static void
report_event(
	struct report *report, int64_t coupon_id, struct audit_result *result)
{
	report->n_events++;
	report->n_violations += count_violations(&result->findings);
	audit_findings_sort(&result->findings);
	if (report->req->json)
		add_event(report, coupon_id, result);
	else
		print_event(report, coupon_id, result);
}

static void
report_end(const struct report *report)
{
	if (!report->req->json) {
		printf("%zu events, %" PRIu64 " violations\n", report->n_events,
			report->n_violations);
		return;
	}
	json_t *json = json_pack("{s:b, s:I, s:O}", "clean",
		report->n_violations == 0, "violations",
		(json_int_t)report->n_violations, "events", report->events);

	json_dumpf(json, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(json);
}

/* ---- looking ---- */

static void
wait_a_while(time_t seconds)
{
	const struct timespec pause = { .tv_sec = seconds };

	(void)nanosleep(&pause, NULL);
}

/* A look at an event that is not being rebuilt. */
static int
look_once(struct audit_look *look, int64_t coupon_id, struct audit_result *ret,
	struct error *err)
{
	for (int i = 0; i < TRIES; i++) {
		look->deadline_ns = clock_now_ns() + LOOK_TIMEOUT_NS;
		int rc = audit_look(look, coupon_id, ret, err);

		if (rc != 0 || ret->conclusive)
			return rc;
		audit_result_fini(ret);
		wait_a_while(1);
	}
	return error_set(err, ERROR_BUSY,
		"event %" PRId64 " is rebuilt again and again", coupon_id);
}

static int
look_at_event(struct audit_look *look, struct report *report, int64_t coupon_id,
	struct error *err)
{
	struct audit_result result = { 0 }, first = { 0 };
	int rc = look_once(look, coupon_id, &result, err);

	if (rc == 0 && !look->at_rest && result.findings.n > 0) {
		first = result;
		wait_a_while(SECOND_LOOK_S);
		rc = look_once(look, coupon_id, &result, err);
		if (rc == 0)
			audit_findings_intersect(
				&result.findings, &first.findings);
		audit_result_fini(&first);
	}
	if (rc != 0)
		return rc;
	report_event(report, coupon_id, &result);
	audit_result_fini(&result);
	return 0;
}

static int
look_at_all(struct audit_look *look, struct report *report, struct error *err)
{
	int64_t *ids;
	size_t n;

	look->deadline_ns = clock_now_ns() + LOOK_TIMEOUT_NS;
	int rc = audit_events(look, &ids, &n, err);

	if (rc != 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = look_at_event(look, report, ids[i], err);
	free(ids);
	return rc;
}

static int
verify(const struct settings *settings, struct report *report,
	struct error *err)
{
	struct metrics *metrics = metrics_new();
	struct audit_look look = {
		.settings = settings,
		.at_rest = report->req->at_rest,
		.whole_topic = report->req->whole_topic,
	};
	int rc =
		pg_pools_new(settings, "coupon-verify", metrics, &look.pg, err);

	if (rc == 0) {
		look.shards = redis_shards_new(
			settings, scripts, SCRIPTS_COUNT, metrics);
		rc = report->req->coupon_id != 0
			     ? look_at_event(&look, report,
				       report->req->coupon_id, err)
			     : look_at_all(&look, report, err);
		int64_t deadline_ns = clock_now_ns() + POOL_DRAIN_NS;

		if (redis_shards_drain(look.shards, deadline_ns))
			redis_shards_free(look.shards);
		if (pg_pools_drain(look.pg, deadline_ns))
			pg_pools_free(look.pg);
	}
	metrics_free(metrics);
	return rc;
}

/* Few connections, and more patience than a request may have: a busy machine
 * is no finding. */
static struct settings
modest(const struct settings *settings)
{
	struct settings ret = *settings;

	ret.redis_pool_min_idle = 0;
	ret.redis_pool_max_wait_ns = PATIENCE_NS;
	ret.datasource_connection_timeout_ns = PATIENCE_NS;
	ret.datasource_minimum_idle = 0;
	return ret;
}

static int
run(const struct request *req, struct error *err)
{
	struct report report = { .req = req };
	struct config_command command;
	int rc = config_load(DAEMON_API, req->argc, req->argv, &command, err);

	if (rc != 0)
		return rc;
	if (command.rest < req->argc) {
		rc = error_set(err, ERROR_BAD_INPUT, "unknown argument: %s",
			req->argv[command.rest]);
	} else if (command.action == CONFIG_RUN) {
		const struct settings settings =
			modest(config_settings(command.config));

		report.events = json_array();
		rc = verify(&settings, &report, err);
		if (rc == 0)
			report_end(&report);
		json_decref(report.events);
	}
	config_free(command.config);
	if (rc != 0)
		return rc;
	return report.n_violations == 0 ? EXIT_CLEAN : EXIT_VIOLATIONS;
}

static bool
wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0)
			return true;
	return false;
}

int
main(int argc, char **argv)
{
	struct request req = { 0 };
	struct error err;

	log_set_level(LOG_LEVEL_OFF);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sodium_init() < 0)
		return EXIT_NOT_CHECKED;
	if (wants_help(argc, argv)) {
		(void)fputs(usage, stdout);
		return EXIT_CLEAN;
	}
	req.argv = calloc((size_t)argc + 1, sizeof(*req.argv));
	if (req.argv == NULL)
		return EXIT_NOT_CHECKED;
	int rc = parse(argc, argv, &req, &err);

	if (rc == 0)
		rc = run(&req, &err);
	free(req.argv);
	if (rc >= 0)
		return rc;
	(void)fprintf(stderr, "coupon-verify: %s\n", err.msg);
	return EXIT_NOT_CHECKED;
}
