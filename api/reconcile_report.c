/* SPDX-License-Identifier: MIT */
#include "api/reconcile_report.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/metrics.h"

#include <stdio.h>

/* clang-format off */
static const struct metric_family runs_family METRIC_FAMILY = {
	.name = "coupon.reconcile",
	.kind = METRIC_TIMER,
	.description = "Passes of the comparison of Redis, Kafka and "
		       "PostgreSQL, by outcome.",
	.tags = "outcome",
};
static const struct metric_family age_family METRIC_FAMILY = {
	.name = "coupon.reconcile.age",
	.kind = METRIC_GAUGE,
	.base_unit = "seconds",
	.description = "Time since this process ended a pass, or found that "
		       "another api does them.",
};
static const struct metric_family violations_family METRIC_FAMILY = {
	.name = "coupon.reconcile.violations",
	.kind = METRIC_GAUGE,
	.description = "Violations that the events show, as last seen (of an "
		       "event above 250,000 users: in one slice of them).",
	.tags = "violation",
};
static const struct metric_family restored_family METRIC_FAMILY = {
	.name = "coupon.reconcile.restored",
	.kind = METRIC_COUNTER,
	.description = "Lost requests put back into the outbox.",
};
/* clang-format on */

static struct reconcile_report_locked *locked(struct reconcile_report *report)
	REQUIRES(report->lock);

static struct reconcile_report_locked *
locked(struct reconcile_report *report)
{
	return &report->locked_;
}

static void
collect(void *arg, struct metrics_sink *sink)
{
	struct reconcile_report *report = arg;
	int64_t age_ns = clock_now_ns() - atomic_load(&report->passed_at_ns);

	metrics_emit(sink, &age_family, METRIC_NO_TAGS,
		(double)age_ns / (double)NS_PER_S);
	for (size_t i = 0; i < AUDIT_N_VIOLATIONS; i++)
		metrics_emit(sink, &violations_family,
			METRIC_TAGS({ "violation",
				audit_violation_name(
					(enum audit_violation)i) }),
			(double)atomic_load(&report->violations[i]));
}

void
reconcile_report_init(struct reconcile_report *report, struct metrics *metrics)
{
	*report = (struct reconcile_report){ .metrics = metrics };
	atomic_init(&report->passed_at_ns, clock_now_ns());
	for (size_t done = 0; done < 2; done++)
		report->timers[done] = metrics_timer(metrics, &runs_family,
			METRIC_TAGS({ "outcome", done ? "done" : "failed" }));
	report->restored =
		metrics_counter(metrics, &restored_family, METRIC_NO_TAGS);
	mutex_init(&report->lock);
	metrics_collector(metrics, collect, report);
}

void
reconcile_report_fini(struct reconcile_report *report)
{
	metrics_collector_remove(report->metrics, collect, report);
	mutex_fini(&report->lock);
}

void
reconcile_report_restored(struct reconcile_report *report, uint64_t n)
{
	counter_add(report->restored, n);
}

void
reconcile_report_violations(struct reconcile_report *report,
	const uint64_t counts[AUDIT_N_VIOLATIONS])
{
	for (size_t i = 0; i < AUDIT_N_VIOLATIONS; i++)
		atomic_store(&report->violations[i], counts[i]);
}

void
reconcile_report_pass(struct reconcile_report *report, int64_t took_ns,
	bool mine, const struct error *err)
{
	const bool done = err == NULL;

	if (!done || mine)
		timer_record(report->timers[done], took_ns);
	if (done)
		atomic_store(&report->passed_at_ns, clock_now_ns());
	mutex_lock(&report->lock);
	struct reconcile_status *status = &locked(report)->status;
	locked(report)->ended_at_ns = clock_now_ns();
	status->last_pass_took_ns = took_ns;
	status->mine = mine;
	(void)snprintf(status->error, sizeof(status->error), "%s",
		done ? "" : err->msg);
	mutex_unlock(&report->lock);
}

void
reconcile_report_read(
	struct reconcile_report *report, struct reconcile_status *ret)
{
	mutex_lock(&report->lock);
	const int64_t ended_at_ns = locked(report)->ended_at_ns;

	*ret = locked(report)->status;
	mutex_unlock(&report->lock);
	ret->last_pass_age_ns =
		ended_at_ns == 0 ? -1 : clock_now_ns() - ended_at_ns;
	ret->restored = counter_value(report->restored);
	for (size_t i = 0; i < AUDIT_N_VIOLATIONS; i++)
		ret->violations += atomic_load(&report->violations[i]);
}
