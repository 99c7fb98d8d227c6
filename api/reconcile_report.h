/* SPDX-License-Identifier: MIT */
/*
 * reconcile_report - what operators see of the reconciler: its metrics, and
 * its line of /actuator/scheduledtasks.
 *
 * The reconciler's thread writes; any thread reads.
 */
#ifndef API_RECONCILE_REPORT_H
#define API_RECONCILE_REPORT_H

#include "api/audit_findings.h"
#include "common/sync.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct counter;
struct error;
struct metrics;
struct timer;

/* What the last pass did. */
struct reconcile_status {
	int64_t interval_ns;      /* between two; the reconciler's */
	int64_t last_pass_age_ns; /* -1 before the first */
	int64_t last_pass_took_ns;
	bool mine;           /* false: another api does them */
	uint64_t violations; /* of all kinds, as last seen */
	uint64_t restored;   /* since the start */
	char error[360];     /* what the last pass failed at, or "" */
};

struct reconcile_report {
	struct metrics *metrics;
	struct timer *timers[2]; /* failed, done */
	struct counter *restored;
	_Atomic uint64_t violations[AUDIT_N_VIOLATIONS];
	_Atomic int64_t passed_at_ns; /* the last one that went well */
	struct mutex lock;
	struct reconcile_report_locked { /* only through its function */
		int64_t ended_at_ns;     /* 0: never */
		struct reconcile_status status;
	} locked_;
};

void reconcile_report_init(
	struct reconcile_report *report, struct metrics *metrics);
void reconcile_report_fini(struct reconcile_report *report);

void reconcile_report_restored(struct reconcile_report *report, uint64_t n);

void reconcile_report_violations(struct reconcile_report *report,
	const uint64_t counts[AUDIT_N_VIOLATIONS]);

/* A pass ended; `err` NULL: well.  `mine` false: another api does them. */
void reconcile_report_pass(struct reconcile_report *report, int64_t took_ns,
	bool mine, const struct error *err);

void reconcile_report_read(
	struct reconcile_report *report, struct reconcile_status *ret);

#endif
