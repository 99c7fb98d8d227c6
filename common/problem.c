/* SPDX-License-Identifier: MIT */
#include "common/problem.h"

#include "common/compiler.h"
#include "common/error.h"

#include <assert.h>
#include <ctype.h>
#include <pthread.h>
#include <stdbool.h>

#define TYPE_BASE "https://coupon.example/problems/"

static struct problem_info problems[] = {
#define PROBLEM(code, status, title, en, ko, advice)                           \
	[PROBLEM_##code] = { #code, status, NULL, title, en, ko, advice },
#include "common/problem.def"
#undef PROBLEM
};

static const struct {
	const char *name;
	const char *meaning;
	const char *advice;
} reasons[] = {
#define REASON(name, meaning, advice) { #name, meaning, advice },
#define PROBLEM(code, ...)
#include "common/problem.def"
#undef PROBLEM
#undef REASON
};

static char types[ARRAY_SIZE(problems)][64];

/* "SOLD_OUT" -> "https://coupon.example/problems/sold-out" */
static void
make_types(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(problems); i++) {
		(void)snprintf(types[i], sizeof(types[i]), TYPE_BASE "%s",
			problems[i].code);
		for (char *at = types[i] + strlen(TYPE_BASE); *at != '\0'; at++) {
			if (*at == '_')
				*at = '-';
			else
				*at = (char)(*at + ('a' - 'A'));
		}
		problems[i].type = types[i];
	}
}

const struct problem_info *
problem_info(enum problem problem)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	assert((size_t)problem < ARRAY_SIZE(problems));
	(void)pthread_once(&once, make_types);
	return &problems[problem];
}

/*
 * The weight in thousandths of one range's parameters, ";q=0.8" -> 800; what
 * is not understood counts as 1, like a missing one.
 */
static int
weight(const char *params, const char *end)
{
	const char *at = memchr(params, '=', (size_t)(end - params));
	int scale = 1000;
	int value = 0;

	if (at == NULL)
		return scale;
	for (at++; at < end && (isdigit((unsigned char)*at) || *at == '.');
		at++) {
		if (*at == '.')
			continue;
		value += (*at - '0') * scale;
		scale /= 10;
	}
	return value;
}

static bool
is_language(const char *tag, size_t len, const char *primary)
{
	return len >= 2 && strncasecmp(tag, primary, 2) == 0 &&
	       (len == 2 || tag[2] == '-');
}

/* RFC 9110 12.5.4 as far as two languages need it; English wins a tie only
 * when it comes first. */
enum problem_language
problem_language(const char *accept_language)
{
	enum problem_language best = PROBLEM_EN;
	int best_weight = 0;
	const char *at = accept_language;

	if (at == NULL)
		return PROBLEM_EN;
	while (*at != '\0') {
		at += strspn(at, " \t,");
		const char *end = at + strcspn(at, ",");
		size_t len = strcspn(at, " \t;,");
		int w = weight(at + len, end);
		bool ko = is_language(at, len, "ko");

		if (w > best_weight && (ko || is_language(at, len, "en"))) {
			best = ko ? PROBLEM_KO : PROBLEM_EN;
			best_weight = w;
		}
		at = end;
	}
	return best;
}

void
problem_print_markdown(FILE *out)
{
	(void)fprintf(out,
		"# Errors\n\n"
		"Generated from common/problem.def by `make docs`; do not "
		"edit.\n\n"
		"Every error is an `application/problem+json` document (RFC "
		"9457): `code` and `type`\nnever change, `detail` is in Korean "
		"or English by Accept-Language.\n\n"
		"| status | code | title | detail | 설명 | what to do |\n"
		"|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < ARRAY_SIZE(problems); i++) {
		const struct problem_info *p = problem_info((enum problem)i);

		(void)fprintf(out, "| %u | `%s` | %s | %s | %s | %s |\n",
			p->status, p->code, p->title, p->detail_en,
			p->detail_ko, p->advice);
	}
	(void)fprintf(out,
		"\n`type` is `" TYPE_BASE "` and the code in lower case with "
		"`-` for `_`.\n\n"
		"## Reasons of a 503\n\n"
		"A 503 also carries `outcome` (`REFUSED`: the request left no "
		"trace; `UNKNOWN`: ask the\nstatus, or retry with the same "
		"Idempotency-Key) and `reason`:\n\n"
		"| reason | meaning | what to do |\n|---|---|---|\n");
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		(void)fprintf(out, "| `%s` | %s | %s |\n", reasons[i].name,
			reasons[i].meaning, reasons[i].advice);
	(void)fprintf(out,
		"\n## Kinds of error in the log\n\n"
		"A log line about a failure names its kind in the field "
		"`reason`.\n\n"
		"| kind | meaning | may succeed when tried again |\n"
		"|---|---|---|\n");
#define X(kind, retry, text)                                                   \
	(void)fprintf(out, "| `%s` | %s | %s |\n", #kind, text,                \
		(retry) ? "yes" : "no");
	ERROR_KINDS(X)
#undef X
}
