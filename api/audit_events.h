/* SPDX-License-Identifier: MIT */
/*
 * audit_events - which events there are to compare.
 *
 * For threads that may block; each call stands alone.
 */
#ifndef API_AUDIT_EVENTS_H
#define API_AUDIT_EVENTS_H

#include "common/compiler.h"

#include <stddef.h>
#include <stdint.h>

struct audit_look;
struct error;

/* The ids that PostgreSQL or Redis's index has, ascending; free() *ret. */
int audit_events(const struct audit_look *look, int64_t **ret, size_t *ret_n,
	struct error *err) NODISCARD;

#endif
