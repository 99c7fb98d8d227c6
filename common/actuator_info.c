/* SPDX-License-Identifier: MIT */
/*
 * actuator_info - /actuator/info: what runs here, built of what, since when.
 */
#include "common/actuator_internal.h"
#include "common/clock.h"
#include "common/process.h"
#include "common/version.h"

#include <hiredis/hiredis.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>
#include <microhttpd.h>
#include <sodium.h>
#include <sys/utsname.h>
#include <yaml.h>

/* Linked into the daemons by the Makefile; tests do without. */
extern const char build_commit[] __attribute__((weak));
extern const char build_commit_time[] __attribute__((weak));
extern const char build_branch[] __attribute__((weak));

/* 150016 -> "15.16" */
static json_t *
libpq_version(void)
{
	int version = PQlibVersion();

	return json_sprintf("%d.%d", version / 10000, version % 10000);
}

/* hiredis cannot be asked at run time; its SONAME pins major and minor. */
static json_t *
libraries_json(void)
{
	return json_pack("{s:s, s:o, s:s, s:o, s:s, s:s, s:s}", "libmicrohttpd",
		MHD_get_version(), "hiredis",
		json_sprintf("%d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR,
			HIREDIS_PATCH),
		"librdkafka", rd_kafka_version_str(), "libpq", libpq_version(),
		"jansson", jansson_version_str(), "libyaml",
		yaml_get_version_string(), "libsodium",
		sodium_version_string());
}

static json_t *
os_json(void)
{
	struct utsname os;

	if (uname(&os) != 0)
		return json_object();
	return json_pack("{s:s, s:s, s:s}", "name", os.sysname, "version",
		os.release, "arch", os.machine);
}

static json_t *
process_json(void)
{
	int64_t start_ms = process_start_ms();
	int64_t now_ms = clock_wall_ms();
	char start[CLOCK_RFC3339_SIZE];
	char now[CLOCK_RFC3339_SIZE];
	char uptime[32];

	clock_format_rfc3339(start_ms, start);
	clock_format_rfc3339(now_ms, now);
	clock_format_duration(
		(now_ms - start_ms) / 1000 * NS_PER_S, uptime, sizeof(uptime));
	return json_pack("{s:i, s:i, s:s, s:s, s:s, s:i}", "pid", (int)getpid(),
		"parentPid", (int)getppid(), "startTime", start, "currentTime",
		now, "uptime", uptime, "cpus",
		(int)sysconf(_SC_NPROCESSORS_ONLN));
}

void
actuator_get_info(struct http_request *req)
{
	json_t *json = json_pack("{s:{s:s, s:s, s:s}}", "build", "artifact",
		"coupon", "name", actuator_of(req)->daemon, "version",
		COUPON_VERSION);

	if (build_commit != NULL && build_commit[0] != '\0')
		(void)json_object_set_new(json, "git",
			json_pack("{s:s, s:{s:s, s:s}}", "branch", build_branch,
				"commit", "id", build_commit, "time",
				build_commit_time));
	(void)json_object_set_new(json, "libraries", libraries_json());
	(void)json_object_set_new(json, "os", os_json());
	(void)json_object_set_new(json, "process", process_json());
	actuator_reply(req, 200, json);
}
