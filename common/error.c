/* SPDX-License-Identifier: MIT */
#include "common/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

static const struct {
	const char *name;
	const char *meaning;
	bool retry;
} kinds[] = {
	[ERROR_NONE] = { "NONE", "no error", false },
#define X(kind, retry, text) [ERROR_##kind] = { #kind, text, retry },
	ERROR_KINDS(X)
#undef X
};

static void fill(struct error *err, enum error_kind kind, const char *code,
	const char *fmt, va_list ap) PRINTF(4, 0);

static void
fill(struct error *err, enum error_kind kind, const char *code,
	const char *fmt, va_list ap)
{
	assert(kind != ERROR_NONE && (size_t)kind < ARRAY_SIZE(kinds));
	err->kind = kind;
	(void)snprintf(err->code, sizeof(err->code), "%s", code);
	(void)vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
}

int
error_set(struct error *err, enum error_kind kind, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(err, kind, "", fmt, ap);
	va_end(ap);
	return -(int)kind;
}

int
error_set_code(struct error *err, enum error_kind kind, const char *code,
	const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(err, kind, code, fmt, ap);
	va_end(ap);
	return -(int)kind;
}

bool
error_is_retryable(enum error_kind kind)
{
	return kinds[kind].retry;
}

const char *
error_name(enum error_kind kind)
{
	return kinds[kind].name;
}

const char *
error_meaning(enum error_kind kind)
{
	return kinds[kind].meaning;
}
