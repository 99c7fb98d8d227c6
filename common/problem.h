/* SPDX-License-Identifier: MIT */
/*
 * problem - the errors our HTTP clients see, as one table (problem.def).
 * Stateless; any thread.
 */
#ifndef COMMON_PROBLEM_H
#define COMMON_PROBLEM_H

#include <stdio.h>

enum problem {
#define PROBLEM(code, ...) PROBLEM_##code,
#include "common/problem.def"
#undef PROBLEM
};

struct problem_info {
	const char *code;   /* "SOLD_OUT" */
	unsigned status;
	const char *type;   /* URI */
	const char *title;
	const char *detail_en;
	const char *detail_ko;
	const char *advice;
};

const struct problem_info *problem_info(enum problem problem);

/* Which language of Accept-Language to answer in; NULL is English. */
enum problem_language { PROBLEM_EN, PROBLEM_KO };
enum problem_language problem_language(const char *accept_language);

/* docs/errors.md, as committed. */
void problem_print_markdown(FILE *out);

#endif
