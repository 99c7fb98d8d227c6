/* SPDX-License-Identifier: MIT */
/*
 * docs - write the documents that are made from tables in the code.
 *
 *	coupon-docs DIR
 *
 * `make docs` writes them to docs/, `make docs-check` to a directory of its
 * own and compares.
 */
#include "common/compiler.h"
#include "common/config.h"
#include "common/metrics.h"
#include "common/problem.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

static const struct document {
	const char *name;
	void (*print)(FILE *out);
} documents[] = {
	{ "configuration.md", config_print_markdown },
	{ "errors.md", problem_print_markdown },
	{ "metrics.md", metrics_print_markdown },
};

static int
fail(const char *path)
{
	(void)fprintf(stderr, "coupon-docs: %s: %m\n", path);
	return -1;
}

static int
write_document(const char *dir, const struct document *document)
{
	char path[PATH_MAX];
	FILE *out;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, document->name);
	out = fopen(path, "we");
	if (out == NULL)
		return fail(path);
	document->print(out);
	if (fclose(out) != 0)
		return fail(path);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc != 2) {
		(void)fprintf(stderr, "usage: coupon-docs DIR\n");
		return 2;
	}
	if (mkdir(argv[1], 0777) != 0 && errno != EEXIST)
		return fail(argv[1]) != 0;
	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		if (write_document(argv[1], &documents[i]) != 0)
			return 1;
	}
	return 0;
}
