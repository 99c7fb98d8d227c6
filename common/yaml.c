/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * libyaml's event interface, because its document interface has resolved
 * aliases and forgotten anchors by the time one sees a node.  The path of
 * open mappings is a stack of the lengths that `path` had when each began;
 * between a key and its value `path` ends with that key.  Keys seen are kept
 * as paths, those of sections included, so that a section written twice is a
 * duplicate like any other.
 */
#include "common/yaml.h"

#include "common/error.h"
#include "common/must.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <yaml.h>

#define TEXT_MAX 1048576
#define DEPTH_MAX 16
#define ENTRIES_MAX 2048
#define PATH_SIZE 256

struct parse {
	const char *name;
	struct error *err;
	struct yaml_map out;
	char *sections[ENTRIES_MAX];
	size_t n_sections;
	size_t lengths[DEPTH_MAX];
	size_t depth; /* open mappings */
	size_t documents;
	char path[PATH_SIZE];
	bool has_key; /* `path` ends with the key of the value to come */
};

static int PRINTF(3, 4)
	fail(struct parse *parse, size_t line, const char *fmt, ...)
{
	char what[PATH_SIZE + 128];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return error_set(parse->err, ERROR_CONFIG_INVALID, "%s:%zu: %s",
		parse->name, line, what);
}

static bool
is_taken(const struct parse *parse)
{
	for (size_t i = 0; i < parse->out.count; i++) {
		if (strcmp(parse->out.entries[i].key, parse->path) == 0)
			return true;
	}
	for (size_t i = 0; i < parse->n_sections; i++) {
		if (strcmp(parse->sections[i], parse->path) == 0)
			return true;
	}
	return false;
}

/* The length of the path without the key at its end. */
static size_t
section_length(const struct parse *parse)
{
	return parse->lengths[parse->depth - 1];
}

static int
take_key(struct parse *parse, const char *key, size_t len, size_t line)
{
	size_t at = section_length(parse);

	if (len == 0 || strlen(key) != len)
		return fail(parse, line, "expected a key, got an empty one");
	if (at + 1 + len >= sizeof(parse->path))
		return fail(parse, line, "the key is too long");
	if (at > 0)
		parse->path[at++] = '.';
	memcpy(parse->path + at, key, len + 1);
	parse->has_key = true;
	if (is_taken(parse))
		return fail(
			parse, line, "%s: the key appears twice", parse->path);
	return 0;
}

static void
end_value(struct parse *parse)
{
	parse->path[section_length(parse)] = '\0';
	parse->has_key = false;
}

static int
take_value(struct parse *parse, const yaml_event_t *event, size_t line)
{
	const char *value = (const char *)event->data.scalar.value;
	bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	struct yaml_map *out = &parse->out;

	if (strlen(value) != event->data.scalar.length)
		return fail(parse, line, "%s: a zero byte in the value",
			parse->path);
	if (out->count == ENTRIES_MAX)
		return fail(parse, line, "more than %d keys", ENTRIES_MAX);
	if (out->entries == NULL)
		out->entries =
			must(calloc(ENTRIES_MAX, sizeof(out->entries[0])));
	out->entries[out->count++] = (struct yaml_entry){
		.key = must(strdup(parse->path)),
		.value = must(strdup(value)),
		.line = line,
		.is_null =
			plain && (*value == '\0' || strcmp(value, "~") == 0 ||
					 strcmp(value, "null") == 0),
	};
	end_value(parse);
	return 0;
}

static int
on_scalar(struct parse *parse, const yaml_event_t *event, size_t line)
{
	if (event->data.scalar.anchor != NULL)
		return fail(parse, line, "anchors are not supported");
	if (event->data.scalar.tag != NULL)
		return fail(parse, line, "tags are not supported");
	if (parse->depth == 0) {
		if (event->data.scalar.length == 0)
			return 0; /* an empty document */
		return fail(parse, line, "expected `key: value` lines");
	}
	if (!parse->has_key)
		return take_key(parse, (const char *)event->data.scalar.value,
			event->data.scalar.length, line);
	return take_value(parse, event, line);
}

static int
on_mapping(struct parse *parse, const yaml_event_t *event, size_t line)
{
	if (event->data.mapping_start.anchor != NULL)
		return fail(parse, line, "anchors are not supported");
	if (event->data.mapping_start.tag != NULL)
		return fail(parse, line, "tags are not supported");
	if (parse->depth > 0 && !parse->has_key)
		return fail(parse, line, "expected a key, got a mapping");
	if (parse->depth == DEPTH_MAX || parse->n_sections == ENTRIES_MAX)
		return fail(parse, line, "too many nested sections");
	if (parse->depth > 0)
		parse->sections[parse->n_sections++] =
			must(strdup(parse->path));
	parse->lengths[parse->depth++] = strlen(parse->path);
	parse->has_key = false;
	return 0;
}

static int
on_event(struct parse *parse, const yaml_event_t *event)
{
	size_t line = event->start_mark.line + 1;

	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (parse->documents++ > 0)
			return fail(parse, line, "a second document");
		return 0;
	case YAML_ALIAS_EVENT:
		return fail(parse, line, "aliases are not supported");
	case YAML_SEQUENCE_START_EVENT:
		return fail(parse, line,
			"%s%sexpected one value, got a list; write a,b,c",
			parse->path, parse->has_key ? ": " : "");
	case YAML_MAPPING_START_EVENT:
		return on_mapping(parse, event, line);
	case YAML_MAPPING_END_EVENT:
		if (--parse->depth > 0)
			end_value(parse);
		return 0;
	case YAML_SCALAR_EVENT:
		return on_scalar(parse, event, line);
	default:
		return 0;
	}
}

static int
parse_events(struct parse *parse, yaml_parser_t *parser)
{
	for (bool done = false; !done;) {
		yaml_event_t event;

		if (yaml_parser_parse(parser, &event) == 0)
			return fail(parse, parser->problem_mark.line + 1,
				"not valid YAML: %s",
				parser->problem != NULL ? parser->problem
							: "out of memory");
		done = event.type == YAML_STREAM_END_EVENT;
		int rc = on_event(parse, &event);

		yaml_event_delete(&event);
		if (rc != 0)
			return rc;
	}
	return 0;
}

int
yaml_map_parse(const char *name, const char *text, size_t len,
	struct yaml_map *ret, struct error *err)
{
	struct parse *parse = must(calloc(1, sizeof(*parse)));
	yaml_parser_t parser;

	parse->name = name;
	parse->err = err;
	if (yaml_parser_initialize(&parser) == 0)
		abort();
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	int rc = parse_events(parse, &parser);

	yaml_parser_delete(&parser);
	for (size_t i = 0; i < parse->n_sections; i++)
		free(parse->sections[i]);
	if (rc == 0)
		*ret = parse->out;
	else
		yaml_map_free(&parse->out);
	free(parse);
	return rc;
}

static ssize_t
read_all(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, text + len, size - len)) > 0)
		len += (size_t)n;
	return n < 0 ? -1 : (ssize_t)len;
}

int
yaml_map_load(const char *path, struct yaml_map *ret, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_set(err, ERROR_CONFIG_INVALID, "%s: %m", path);
	char *text = must(malloc(TEXT_MAX + 1));
	ssize_t len = read_all(fd, text, TEXT_MAX + 1);
	int rc;

	if (len < 0)
		rc = error_set(err, ERROR_CONFIG_INVALID, "%s: %m", path);
	else if (len > TEXT_MAX)
		rc = error_set(err, ERROR_CONFIG_INVALID,
			"%s: larger than 1 MB", path);
	else
		rc = yaml_map_parse(path, text, (size_t)len, ret, err);
	free(text);
	(void)close(fd);
	return rc;
}

void
yaml_map_free(struct yaml_map *yaml)
{
	for (size_t i = 0; i < yaml->count; i++) {
		free(yaml->entries[i].key);
		free(yaml->entries[i].value);
	}
	free(yaml->entries);
	*yaml = (struct yaml_map){ 0 };
}
