/* SPDX-License-Identifier: MIT */
/*
 * metrics_prometheus - the scrape: Prometheus text 0.0.4 and OpenMetrics 1.0,
 * spelled as Micrometer spells them.
 */
#include "common/metrics.h"
#include "common/metrics_series.h"
#include "common/text.h"

#include <math.h>
#include <stdio_ext.h>

/* "-1.7976931348623157e+308.0" and the NUL */
#define NUMBER_SIZE 40

/* Samples of one family, under one Prometheus name. */
struct group {
	char name[PROMETHEUS_NAME_SIZE];
	const struct metric_family *family;
	const struct metrics_sample *samples;
	size_t count;
};

/* Thousands of lines a scrape: nothing here parses a format. */
static void
put(FILE *out, const char *text)
{
	(void)fputs_unlocked(text, out);
}

/* The shortest digits that read back as the same number, "49.0" as Java. */
static const char *
format_double(double value, char buf[NUMBER_SIZE])
{
	if (isnan(value))
		return "NaN";
	if (isinf(value))
		return value > 0 ? "+Inf" : "-Inf";
	if (fabs(value) < 1e15 && value == floor(value)) {
		memcpy(text_put_int(buf, (int64_t)value), ".0", sizeof(".0"));
		return buf;
	}
	for (int digits = 15; digits <= 17; digits++) {
		(void)snprintf(buf, NUMBER_SIZE, "%.*g", digits, value);
		if (strtod(buf, NULL) == value)
			break;
	}
	return buf;
}

/* Exact: 1500000000 is "1.5". */
static const char *
format_seconds(int64_t ns, char buf[NUMBER_SIZE])
{
	char *end = text_put_int(buf, ns / 1000000000);

	*end++ = '.';
	for (int64_t digit = 100000000; digit > 0; digit /= 10)
		*end++ = (char)('0' + ns / digit % 10);
	while (end[-1] == '0' && end[-2] != '.')
		end--;
	*end = '\0';
	return buf;
}

static const char *
format_count(uint64_t count, char buf[NUMBER_SIZE])
{
	*text_put_int(buf, (int64_t)count) = '\0';
	return buf;
}

/* ---- samples ---- */

/* name_suffix{labels} value */
static void
put_sample(FILE *out, const struct group *group, const char *suffix,
	const struct metrics_sample *sample, const char *value)
{
	const char *labels = sample->id->labels;

	put(out, group->name);
	put(out, suffix);
	if (labels[0] != '\0') {
		put(out, "{");
		put(out, labels);
		put(out, "}");
	}
	put(out, " ");
	put(out, value);
	put(out, "\n");
}

static void
put_bucket(FILE *out, const struct group *group,
	const struct metrics_sample *sample, const char *le, uint64_t count)
{
	const char *labels = sample->id->labels;
	char number[NUMBER_SIZE];

	put(out, group->name);
	put(out, "_bucket{");
	put(out, labels);
	put(out, labels[0] != '\0' ? ",le=\"" : "le=\"");
	put(out, le);
	put(out, "\"} ");
	put(out, format_count(count, number));
	put(out, "\n");
}

static void
put_timer(FILE *out, const struct group *group,
	const struct metrics_sample *sample)
{
	const struct timer_reading *timer = &sample->timer;
	char number[NUMBER_SIZE];
	uint64_t up_to_here = 0;

	for (size_t i = 0; group->family->histogram && i < TIMER_EDGES; i++) {
		up_to_here += timer->buckets[i];
		put_bucket(out, group, sample, timer_edges[i].le, up_to_here);
	}
	if (group->family->histogram)
		put_bucket(out, group, sample, "+Inf", timer->count);
	put_sample(out, group, "_count", sample,
		format_count(timer->count, number));
	put_sample(out, group, "_sum", sample,
		format_seconds(timer->sum_ns, number));
}

/* ---- families ---- */

static void
put_help(FILE *out, const struct group *group, const char *suffix,
	bool openmetrics)
{
	const char *text = group->family->description;

	(void)fprintf(out, "# HELP %s%s ", group->name, suffix);
	for (; text != NULL && *text != '\0'; text++) {
		bool special = *text == '\\' || *text == '\n' ||
			       (openmetrics && *text == '"');

		if (special)
			(void)fputc('\\', out);
		(void)fputc(*text == '\n' ? 'n' : *text, out);
	}
	(void)fputc('\n', out);
}

/*
 * HELP and TYPE, in the order of the format.  Text 0.0.4 names a counter with
 * its _total, OpenMetrics without.
 */
static void
put_head(FILE *out, const struct group *group, const char *type,
	bool openmetrics)
{
	bool total = group->family->kind == METRIC_COUNTER && !openmetrics;
	const char *suffix = total ? "_total" : "";

	if (!openmetrics)
		put_help(out, group, suffix, openmetrics);
	(void)fprintf(out, "# TYPE %s%s %s\n", group->name, suffix, type);
	if (openmetrics)
		put_help(out, group, suffix, openmetrics);
}

static void
put_numbers(FILE *out, const struct group *group, bool openmetrics)
{
	bool counter = group->family->kind == METRIC_COUNTER;
	char number[NUMBER_SIZE];

	put_head(out, group, counter ? "counter" : "gauge", openmetrics);
	for (size_t i = 0; i < group->count; i++)
		put_sample(out, group, counter ? "_total" : "",
			&group->samples[i],
			format_double(group->samples[i].value, number));
}

static void
put_timers(FILE *out, const struct group *group, bool openmetrics)
{
	put_head(out, group, group->family->histogram ? "histogram" : "summary",
		openmetrics);
	for (size_t i = 0; i < group->count; i++)
		put_timer(out, group, &group->samples[i]);
}

/* A family of its own, as a maximum that falls again is no part of either. */
static void
put_maxima(FILE *out, const struct group *group, bool openmetrics)
{
	char number[NUMBER_SIZE];

	put_head(out, group, "gauge", openmetrics);
	for (size_t i = 0; i < group->count; i++)
		put_sample(out, group, "", &group->samples[i],
			format_seconds(group->samples[i].timer.max_ns, number));
}

/* Is `name`, or `name` with _total, an item of the comma-separated list? */
static bool
is_included(const char *included, const char *name)
{
	size_t len = strlen(name);

	if (included == NULL)
		return true;
	for (const char *item = included; *item != '\0';) {
		size_t item_len = strcspn(item, ",");
		bool total =
			item_len == len + strlen("_total") &&
			strncmp(item + len, "_total", strlen("_total")) == 0;

		if ((item_len == len || total) && strncmp(item, name, len) == 0)
			return true;
		item += item_len;
		item += *item == ',';
	}
	return false;
}

static void
put_group(
	FILE *out, struct group *group, const char *included, bool openmetrics)
{
	bool timers = group->family->kind == METRIC_TIMER;

	metrics_prometheus_name(group->family, group->name);
	if (is_included(included, group->name)) {
		if (timers)
			put_timers(out, group, openmetrics);
		else
			put_numbers(out, group, openmetrics);
	}
	if (timers) {
		(void)strncat(group->name, "_max",
			sizeof(group->name) - strlen(group->name) - 1);
		if (is_included(included, group->name))
			put_maxima(out, group, openmetrics);
	}
}

char *
metrics_prometheus(struct metrics *metrics, bool openmetrics,
	const char *included, size_t *ret_len)
{
	struct metrics_sink snapshot;
	struct group group;
	char *text = NULL;

	if (metrics_snapshot(metrics, &snapshot) != 0)
		return NULL;
	FILE *out = open_memstream(&text, ret_len);
	if (out == NULL) {
		metrics_snapshot_free(&snapshot);
		return NULL;
	}
	(void)__fsetlocking(out, FSETLOCKING_BYCALLER); /* it is ours alone */
	for (size_t i = 0; i < snapshot.count; i += group.count) {
		group.samples = &snapshot.samples[i];
		group.family = group.samples->id->family;
		group.count = metrics_snapshot_group(&snapshot, i);
		put_group(out, &group, included, openmetrics);
	}
	if (openmetrics)
		(void)fputs("# EOF\n", out);
	metrics_snapshot_free(&snapshot);
	bool failed = ferror(out) != 0;
	if (fclose(out) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}
