/* SPDX-License-Identifier: MIT */
/*
 * event_errors - the errors of a pass over all events that are one event's
 * own: they are said in the end, and keep nobody from the events behind it.
 *
 * Plain memory; zero it before the pass.
 */
#ifndef API_EVENT_ERRORS_H
#define API_EVENT_ERRORS_H

#include "common/compiler.h"
#include "common/error.h"

#include <stdint.h>

struct event_errors {
	struct error first; /* kind ERROR_NONE: none yet */
};

/*
 * What came of one event, `rc` and `err`.  0: go on; an error of its own (its
 * keys are not what they should be) has been noted.  Else `rc`: the next event
 * would fare no better.
 */
int event_errors_note(struct event_errors *errors, int64_t coupon_id, int rc,
	const struct error *err) NODISCARD;

/* What came of the whole pass, which ended with `rc`: that, or the first of
 * those that were noted. */
int event_errors_end(const struct event_errors *errors, int rc,
	struct error *err) NODISCARD;

#endif
