/* SPDX-License-Identifier: MIT */
/*
 * console - the operator's page at /console, as it is embedded in the api.
 *
 * Static files out of memory and one small JSON of settings; everything the
 * page shows it asks /actuator for.  Files: api/console/.  Stateless once
 * console_init() has run.
 */
#ifndef API_CONSOLE_H
#define API_CONSOLE_H

#include "common/http.h"

#include <stddef.h>

struct settings;

extern const struct http_route console_routes[];
extern const size_t console_n_routes;

/* Before the servers start.  Warns of console.consumer-urls it cannot use. */
void console_init(const struct settings *settings);

#endif
