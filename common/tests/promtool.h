/* SPDX-License-Identifier: MIT */
/*
 * promtool - Prometheus' own judgement of a scrape, where it is installed.
 */
#ifndef COMMON_TESTS_PROMTOOL_H
#define COMMON_TESTS_PROMTOOL_H

/* Fails the test when `promtool check metrics` complains; skips it without
 * promtool. */
void promtool_check(const char *text);

#endif
