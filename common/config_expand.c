/* SPDX-License-Identifier: MIT */
/*
 * config_expand - `${NAME:default}` in a value of the file, as Spring fills
 * it: NAME from the environment, else the default, which may hold further
 * placeholders.  A variable's value is taken as it is.
 */
#include "common/config_snapshot.h"
#include "common/error.h"
#include "common/must.h"

#include <ctype.h>

#define DEPTH_MAX 8

struct expansion {
	struct snapshot *snapshot;
	struct error *err;
	FILE *out;
	unsigned depth;
};

/* getenv() without its licence to be unsafe: nobody calls setenv(). */
static const char *
variable(const char *name, size_t len)
{
	for (char **at = environ; at != NULL && *at != NULL; at++) {
		if (strncmp(*at, name, len) == 0 && (*at)[len] == '=')
			return *at + len + 1;
	}
	return NULL;
}

/* The '}' that closes the placeholder whose name begins at `at`. */
static const char *
closing_brace(const char *at, const char *end)
{
	int open = 1;

	for (; at < end; at++) {
		if (at[0] == '$' && at + 1 < end && at[1] == '{')
			open++;
		if (*at == '}' && --open == 0)
			return at;
	}
	return NULL;
}

static size_t
name_length(const char *at, const char *end)
{
	const char *from = at;

	while (at < end && (isalnum((unsigned char)*at) || *at == '_'))
		at++;
	return (size_t)(at - from);
}

static int expand(struct expansion *x, const char *text, const char *end);

/* What stands between the braces: NAME or NAME:default. */
static int
expand_one(struct expansion *x, const char *text, const char *end)
{
	size_t len = name_length(text, end);

	if (len == 0 || (text + len < end && text[len] != ':'))
		return error_set(x->err, ERROR_CONFIG_INVALID,
			"expected ${NAME} or ${NAME:default}, got ${%.*s}",
			(int)(end - text), text);
	const char *name = snapshot_placeholder(x->snapshot, text, len);
	const char *value = variable(text, len);

	if (value != NULL) {
		(void)fputs(value, x->out);
		return 0;
	}
	if (text + len == end)
		return error_set(x->err, ERROR_CONFIG_INVALID,
			"the environment variable %s is not set, and "
			"${%s} has no default",
			name, name);
	return expand(x, text + len + 1, end);
}

static int
expand(struct expansion *x, const char *text, const char *end)
{
	if (++x->depth > DEPTH_MAX)
		return error_set(x->err, ERROR_CONFIG_INVALID,
			"too many placeholders in each other");
	while (text < end) {
		const char *open = memmem(text, (size_t)(end - text), "${", 2);
		const char *upto = open != NULL ? open : end;

		(void)fwrite(text, 1, (size_t)(upto - text), x->out);
		if (open == NULL)
			break;
		const char *close = closing_brace(open + 2, end);

		if (close == NULL)
			return error_set(x->err, ERROR_CONFIG_INVALID,
				"a ${ without its }");
		int rc = expand_one(x, open + 2, close);

		if (rc != 0)
			return rc;
		text = close + 1;
	}
	x->depth--;
	return 0;
}

int
snapshot_expand(struct snapshot *snapshot, const char *text, const char **ret,
	struct error *err)
{
	struct expansion x = { .snapshot = snapshot, .err = err };
	char *filled = NULL;
	size_t len;

	x.out = must(open_memstream(&filled, &len));
	int rc = expand(&x, text, text + strlen(text));

	(void)fclose(x.out);
	must(filled);
	if (rc == 0)
		*ret = snapshot_keep(snapshot, filled, len);
	free(filled);
	return rc;
}
