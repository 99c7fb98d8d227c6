/* SPDX-License-Identifier: MIT */
/*
 * counted - what a counter says, as a scrape would show it.
 */
#ifndef COMMON_TESTS_COUNTED_H
#define COMMON_TESTS_COUNTED_H

#include "common/metrics.h"

#include <stdlib.h>
#include <string.h>

/* The sum of a counter over its tags; `name` is Prometheus's. */
static inline double
metrics_counted(struct metrics *metrics, const char *name)
{
	size_t len;
	char *text = metrics_prometheus(metrics, false, NULL, &len);
	double sum = 0;

	for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, strlen(name)) == 0 &&
			strchr(" {", line[strlen(name)]) != NULL)
			sum += strtod(line + strcspn(line, " "), NULL);
	}
	free(text);
	return sum;
}

#endif
