/* SPDX-License-Identifier: MIT */
/*
 * yaml - the part of YAML a configuration needs: nested mappings of scalars,
 * flattened to dotted keys.
 *
 *	redis:            ->  redis.host = 127.0.0.1  (line 2)
 *	  host: 127.0.0.1
 *
 * Anything that would make a reader guess is an error with file and line:
 * anchors, aliases, tags, lists, duplicate keys, a second document.
 * Stateless; any thread.  Out of memory ends the process.  (Not yaml_free()
 * and the like: libyaml exports such names.)
 */
#ifndef COMMON_YAML_H
#define COMMON_YAML_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>

struct error;

struct yaml_entry {
	char *key;    /* "redis.host" */
	char *value;  /* as written, without quotes */
	size_t line;  /* 1, 2, ... of the value */
	bool is_null; /* nothing, or ~: also what an empty section is */
};

struct yaml_map {
	struct yaml_entry *entries;
	size_t count;
};

/* `name` is what errors call the text: "NAME:LINE: what is wrong". */
int yaml_map_parse(const char *name, const char *text, size_t len,
	struct yaml_map *ret, struct error *err) NODISCARD;

/* The same for a file of at most 1 MB. */
int yaml_map_load(
	const char *path, struct yaml_map *ret, struct error *err) NODISCARD;

void yaml_map_free(struct yaml_map *yaml);

#endif
