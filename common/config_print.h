/* SPDX-License-Identifier: MIT */
/*
 * config_print - the option table as --help and as docs/configuration.md.
 *
 * Internal to config.c.  Stateless; any thread.
 */
#ifndef COMMON_CONFIG_PRINT_H
#define COMMON_CONFIG_PRINT_H

#include "common/config.h"

void config_print_help(FILE *out, enum daemon_kind kind);
void config_print_version(FILE *out, enum daemon_kind kind);

#endif
