/* SPDX-License-Identifier: MIT */
/*
 * metrics_actuator - /actuator/metrics and /actuator/metrics/{name} as JSON.
 */
#include "common/error.h"
#include "common/metrics.h"
#include "common/metrics_series.h"

#include <jansson.h>
#include <math.h>

/* 15 digits: 4592.963440633, not 4592.9634406330002. */
#define JSON_STYLE (JSON_COMPACT | JSON_REAL_PRECISION(15))

/* The sum of the series that match, MAX excepted. */
struct total {
	double value;
	uint64_t count;
	int64_t sum_ns;
	int64_t max_ns;
};

static char *
dump(json_t *json)
{
	char *text = json_dumps(json, JSON_STYLE);

	json_decref(json);
	return text;
}

char *
metrics_names_json(struct metrics *metrics)
{
	struct metrics_sink snapshot;
	json_t *names = json_array();

	if (metrics_snapshot(metrics, &snapshot) != 0) {
		json_decref(names);
		return NULL;
	}
	for (size_t i = 0; i < snapshot.count;
		i += metrics_snapshot_group(&snapshot, i))
		(void)json_array_append_new(names,
			json_string(snapshot.samples[i].id->family->name));
	metrics_snapshot_free(&snapshot);
	return dump(json_pack("{s:o}", "names", names));
}

/* ---- one metric ---- */

static bool
matches(const struct series_id *id, const char *const *tags)
{
	for (size_t i = 0; tags[i] != NULL; i++) {
		const char *colon = strchr(tags[i], ':');
		size_t key_len = (size_t)(colon - tags[i]);
		bool found = false;

		for (size_t t = 0; t < id->n_tags && !found; t++)
			found = strncmp(id->tags[t].key, tags[i], key_len) ==
					0 &&
				id->tags[t].key[key_len] == '\0' &&
				strcmp(id->tags[t].value, colon + 1) == 0;
		if (!found)
			return false;
	}
	return true;
}

static bool
is_asked_for(const char *key, const char *const *tags)
{
	size_t len = strlen(key);

	for (size_t i = 0; tags[i] != NULL; i++) {
		if (strncmp(tags[i], key, len) == 0 && tags[i][len] == ':')
			return true;
	}
	return false;
}

static void
add(struct total *total, const struct metrics_sample *sample)
{
	total->value += sample->value;
	total->count += sample->timer.count;
	total->sum_ns += sample->timer.sum_ns;
	if (sample->timer.max_ns > total->max_ns)
		total->max_ns = sample->timer.max_ns;
}

/* Jackson's spelling of what JSON numbers cannot be. */
static json_t *
number(double value)
{
	if (isnan(value))
		return json_string("NaN");
	if (isinf(value))
		return json_string(value > 0 ? "Infinity" : "-Infinity");
	return json_real(value);
}

static void
add_measurement(json_t *measurements, const char *statistic, double value)
{
	(void)json_array_append_new(
		measurements, json_pack("{s:s, s:o}", "statistic", statistic,
				      "value", number(value)));
}

static json_t *
measurements_json(const struct metric_family *family, const struct total *total)
{
	json_t *measurements = json_array();

	switch (family->kind) {
	case METRIC_COUNTER:
		add_measurement(measurements, "COUNT", total->value);
		break;
	case METRIC_GAUGE:
		add_measurement(measurements, "VALUE", total->value);
		break;
	case METRIC_TIMER:
		add_measurement(measurements, "COUNT", (double)total->count);
		add_measurement(measurements, "TOTAL_TIME",
			(double)total->sum_ns / 1e9);
		add_measurement(
			measurements, "MAX", (double)total->max_ns / 1e9);
		break;
	}
	return measurements;
}

/* `values`: {"uri": {"/a": null, "/b": null}}, objects serving as sets. */
static void
note_tags(json_t *values, const struct series_id *id, const char *const *tags)
{
	for (size_t i = 0; i < id->n_tags; i++) {
		const char *key = id->tags[i].key;
		json_t *set = json_object_get(values, key);

		if (is_asked_for(key, tags))
			continue;
		if (set == NULL) {
			set = json_object();
			(void)json_object_set_new(values, key, set);
		}
		(void)json_object_set_new(set, id->tags[i].value, json_null());
	}
}

/* [{"tag": "uri", "values": ["/a", "/b"]}] */
static json_t *
available_tags_json(json_t *values)
{
	json_t *available = json_array();
	const char *key, *value;
	json_t *set, *ignored;

	json_object_foreach(values, key, set)
	{
		json_t *list = json_array();

		json_object_foreach(set, value, ignored)(void)
			json_array_append_new(list, json_string(value));
		(void)json_array_append_new(available,
			json_pack("{s:s, s:o}", "tag", key, "values", list));
	}
	json_decref(values);
	return available;
}

static json_t *
describe(const struct metric_family *family)
{
	const char *unit =
		family->kind == METRIC_TIMER ? "seconds" : family->base_unit;
	json_t *json = json_object();

	(void)json_object_set_new(json, "name", json_string(family->name));
	(void)json_object_set_new(
		json, "description", json_string(family->description));
	if (unit != NULL && unit[0] != '\0')
		(void)json_object_set_new(json, "baseUnit", json_string(unit));
	return json;
}

/* NULL when no series matches. */
static json_t *
one_json(const struct metrics_sink *snapshot, const char *name,
	const char *const *tags)
{
	const struct metric_family *family = NULL;
	struct total total = { 0 };
	json_t *values = json_object();

	for (size_t i = 0; i < snapshot->count; i++) {
		const struct metrics_sample *sample = &snapshot->samples[i];

		if (strcmp(sample->id->family->name, name) != 0 ||
			!matches(sample->id, tags))
			continue;
		family = sample->id->family;
		add(&total, sample);
		note_tags(values, sample->id, tags);
	}
	if (family == NULL) {
		json_decref(values);
		return NULL;
	}
	json_t *json = describe(family);
	(void)json_object_set_new(
		json, "measurements", measurements_json(family, &total));
	(void)json_object_set_new(
		json, "availableTags", available_tags_json(values));
	return json;
}

int
metrics_one_json(struct metrics *metrics, const char *name,
	const char *const *tags, char **ret, struct error *err)
{
	static const char *const no_tags[] = { NULL };
	struct metrics_sink snapshot;

	if (tags == NULL)
		tags = no_tags;
	for (size_t i = 0; tags[i] != NULL; i++) {
		if (strchr(tags[i], ':') == NULL)
			return error_set(err, ERROR_BAD_INPUT,
				"Each tag parameter must be in the form "
				"'key:value'");
	}
	if (metrics_snapshot(metrics, &snapshot) != 0)
		return error_set(err, ERROR_NO_MEMORY, "no memory to scrape");
	json_t *json = one_json(&snapshot, name, tags);
	metrics_snapshot_free(&snapshot);
	if (json == NULL)
		return error_set(err, ERROR_NOT_FOUND,
			"no series of \"%s\" matches", name);
	char *text = dump(json);
	if (text == NULL)
		return error_set(err, ERROR_NO_MEMORY, "no memory for JSON");
	*ret = text;
	return 0;
}
