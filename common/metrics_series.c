/* SPDX-License-Identifier: MIT */
#include "common/metrics_series.h"

#include <assert.h>
#include <ctype.h>

/* clang-format off */
const struct timer_edge timer_edges[TIMER_EDGES] = {
	{    1000000, "0.001" },
	{    2500000, "0.0025" },
	{    5000000, "0.005" },
	{   10000000, "0.01" },
	{   25000000, "0.025" },
	{   50000000, "0.05" },
	{  100000000, "0.1" },
	{  250000000, "0.25" },
	{  300000000, "0.3" },
	{  500000000, "0.5" },
	{ 1000000000, "1.0" },
	{ 2500000000, "2.5" },
	{ 5000000000, "5.0" },
	{10000000000, "10.0" },
};
/* clang-format on */

/* Tags in the order of their keys: {a, b} and {b, a} are one series. */
static void
sort_tags(struct metric_tag *tags, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct metric_tag tag = tags[i];
		size_t j = i;

		for (; j > 0 && strcmp(tags[j - 1].key, tag.key) > 0; j--)
			tags[j] = tags[j - 1];
		tags[j] = tag;
	}
}

/* Copy `text` with its NUL to *end and move *end behind it. */
static const char *
append(char **end, const char *text)
{
	char *start = *end;
	size_t size = strlen(text) + 1;

	memcpy(start, text, size);
	*end = start + size;
	return start;
}

static void
append_escaped(char **end, const char *text)
{
	for (; *text != '\0'; text++) {
		bool special = *text == '\n' || *text == '"' || *text == '\\';

		if (special)
			*(*end)++ = '\\';
		*(*end)++ = (char)(*text == '\n' ? 'n' : *text);
	}
}

/* [a-zA-Z0-9_], and no digit first. */
static void
append_label_key(char **end, const char *key)
{
	if (isdigit((unsigned char)*key))
		*(*end)++ = '_';
	for (; *key != '\0'; key++)
		*(*end)++ = isalnum((unsigned char)*key) ? *key : '_';
}

static void
append_labels(char **end, const struct series_id *id)
{
	for (size_t i = 0; i < id->n_tags; i++) {
		if (i > 0)
			*(*end)++ = ',';
		append_label_key(end, id->tags[i].key);
		*(*end)++ = '=';
		*(*end)++ = '"';
		append_escaped(end, id->tags[i].value);
		*(*end)++ = '"';
	}
	*(*end)++ = '\0';
}

struct series_id *
series_id_new(const struct metric_family *family, const struct metric_tag *tags)
{
	struct metric_tag sorted[METRIC_TAGS_MAX];
	size_t n = 0;
	size_t size = strlen(family->name) + 2;

	for (; tags != NULL && tags[n].key != NULL; n++) {
		assert(n < METRIC_TAGS_MAX);
		sorted[n] = tags[n];
		if (sorted[n].value == NULL)
			sorted[n].value = "";
		/* Once in the key, once in the labels: there '_' may precede
		 * the tag's key, and '\' each character of its value. */
		size += 2 * strlen(sorted[n].key) +
			3 * strlen(sorted[n].value) + sizeof("\0\0_=\"\",");
	}
	sort_tags(sorted, n);

	struct series_id *id = malloc(sizeof(*id) + size);
	if (id == NULL)
		return NULL;
	char *end = id->text;
	*id = (struct series_id){ .family = family, .n_tags = n };
	append(&end, family->name);
	for (size_t i = 0; i < n; i++) {
		id->tags[i].key = append(&end, sorted[i].key);
		id->tags[i].value = append(&end, sorted[i].value);
	}
	id->key_len = (size_t)(end - id->text);
	id->labels = end;
	append_labels(&end, id);
	assert((size_t)(end - id->text) <= size);
	return id;
}

int
series_id_compare(const struct series_id *a, const struct series_id *b)
{
	bool shorter = a->key_len < b->key_len;
	int order = memcmp(a->text, b->text, shorter ? a->key_len : b->key_len);

	if (order != 0)
		return order;
	return shorter ? -1 : a->key_len > b->key_len;
}

static bool
ends_with(const char *text, const char *suffix)
{
	size_t len = strlen(text);
	size_t suffix_len = strlen(suffix);

	return len >= suffix_len &&
	       strcmp(text + len - suffix_len, suffix) == 0;
}

/*
 * Micrometer's PrometheusNamingConvention: the unit behind the name unless it
 * is there, and no _total of our own: it is reserved for counters' samples,
 * so the gauge redis.connection.total is called redis_connection.
 */
void
metrics_prometheus_name(
	const struct metric_family *family, char buf[PROMETHEUS_NAME_SIZE])
{
	char unit[32] = "";
	int len;

	if (family->kind == METRIC_TIMER)
		(void)snprintf(unit, sizeof(unit), "_seconds");
	else if (family->base_unit != NULL && family->base_unit[0] != '\0')
		(void)snprintf(unit, sizeof(unit), "_%s", family->base_unit);
	len = snprintf(buf, PROMETHEUS_NAME_SIZE, "%s", family->name);
	assert(len > 0 && (size_t)len + sizeof(unit) < PROMETHEUS_NAME_SIZE);
	for (char *c = buf; *c != '\0'; c++) {
		if (!isalnum((unsigned char)*c))
			*c = '_';
	}
	if (!ends_with(buf, unit))
		(void)snprintf(buf + len, PROMETHEUS_NAME_SIZE - (size_t)len,
			"%s", unit);
	if (ends_with(buf, "_total"))
		buf[strlen(buf) - strlen("_total")] = '\0';
}
