/* SPDX-License-Identifier: MIT */
/*
 * rebuild_run - one rebuild of one event, from the fence to its lifting.
 *
 * For the rebuild's thread (api/rebuild.c), which lends it the means to wait.
 */
#ifndef API_REBUILD_RUN_H
#define API_REBUILD_RUN_H

#include "api/rebuild.h"
#include "api/rebuild_store.h"
#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct rebuild_plan;

/* Fill the first part, zero the rest. */
struct rebuild_run {
	const struct rebuild_config *config; /* borrowed */
	int64_t deadline_ns;
	bool (*is_stopping)(void *arg);
	void (*pause)(void *arg, int64_t ns); /* shorter when stopping */
	void *arg;
	struct rebuild_event event; /* coupon_id; the run fills the rest */
	/* The run's. */
	struct rebuild_plan *plan; /* of a run that succeeded, to report */
	struct rebuild_offsets offsets;
	int64_t renew_at_ns;
};

/*
 * 0: the event is in force.  -ERROR_BUSY or -ERROR_CANCELLED: another api
 * rebuilds it.  -ERROR_NOT_FOUND: PostgreSQL has no such event.  Any other
 * error: it stays fenced and should be tried again.
 */
int rebuild_run(struct rebuild_run *run, struct error *err) NODISCARD;
void rebuild_run_fini(struct rebuild_run *run);

#endif
