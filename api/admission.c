/* SPDX-License-Identifier: MIT */
#include "api/admission.h"

#include "api/event_limits.h"
#include "api/latch.h"
#include "api/limiter.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/jitter.h"
#include "common/metrics.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#define NAME_TAG                                                               \
	{                                                                      \
		"name", "coupon-issue"                                         \
	}

/* clang-format off */
static const struct metric_family verdict_family METRIC_FAMILY = {
	.name = "coupon.admission",
	.kind = METRIC_COUNTER,
	.description = "Issue requests by what admission decided.",
	.tags = "verdict",
};
static const struct metric_family breaker_calls_family METRIC_FAMILY = {
	.name = "resilience4j.circuitbreaker.calls",
	.kind = METRIC_TIMER,
	.description = "Calls to Redis that the circuit breaker permitted.",
	.tags = "name kind",
};
static const struct metric_family breaker_refused_family METRIC_FAMILY = {
	.name = "resilience4j.circuitbreaker.not.permitted.calls",
	.kind = METRIC_COUNTER,
	.description = "Calls that the circuit breaker refused.",
	.tags = "name kind",
};
static const struct metric_family breaker_state_family METRIC_FAMILY = {
	.name = "resilience4j.circuitbreaker.state",
	.kind = METRIC_GAUGE,
	.description = "1 for the state the circuit breaker is in.",
	.tags = "name state",
};
static const struct metric_family breaker_buffered_family METRIC_FAMILY = {
	.name = "resilience4j.circuitbreaker.buffered.calls",
	.kind = METRIC_GAUGE,
	.description = "Calls in the circuit breaker's window.",
	.tags = "name kind",
};
static const struct metric_family breaker_slow_family METRIC_FAMILY = {
	.name = "resilience4j.circuitbreaker.slow.calls",
	.kind = METRIC_GAUGE,
	.description = "Slow calls in the circuit breaker's window.",
	.tags = "name kind",
};
static const struct metric_family breaker_failure_rate_family METRIC_FAMILY = {
	.name = "resilience4j.circuitbreaker.failure.rate",
	.kind = METRIC_GAUGE,
	.description = "Failed calls in percent; -1 below the minimum.",
	.tags = "name",
};
static const struct metric_family breaker_slow_rate_family METRIC_FAMILY = {
	.name = "resilience4j.circuitbreaker.slow.call.rate",
	.kind = METRIC_GAUGE,
	.description = "Slow calls in percent; -1 below the minimum.",
	.tags = "name",
};
static const struct metric_family limiter_available_family METRIC_FAMILY = {
	.name = "resilience4j.ratelimiter.available.permissions",
	.kind = METRIC_GAUGE,
	.description = "Permits left in the rate limiter's period.",
	.tags = "name",
};
static const struct metric_family limiter_waiting_family METRIC_FAMILY = {
	.name = "resilience4j.ratelimiter.waiting_threads",
	.kind = METRIC_GAUGE,
	.description = "Requests that wait for a permit (no thread does).",
	.tags = "name",
};
/* clang-format on */

/* As far as a crowd is spread: longer, and it would believe in no return. */
#define RETRY_SPREAD_NS (30 * NS_PER_S)

static const char *const verdict_names[] = {
	[ADMISSION_OK] = "admitted",
	[ADMISSION_WAIT] = "waiting",
	[ADMISSION_SOLD_OUT] = "sold_out_latch",
	[ADMISSION_RATE_LIMITED] = "rate_limited",
	[ADMISSION_BREAKER_OPEN] = "breaker_open",
};

struct admission {
	struct event_limits *limits;
	struct breaker *breaker;
	struct latch *sold_out; /* every loop's */
	_Atomic bool limiter_enabled;
	_Atomic int64_t limiter_timeout_ns;
	_Atomic int64_t limiter_period_ns;
	_Atomic int64_t latch_duration_ns;
	_Atomic int64_t waiting;
	struct metrics *metrics;
	struct counter *verdicts[ARRAY_SIZE(verdict_names)];
	struct timer *calls[2]; /* by enum breaker_outcome */
};

static struct breaker_config
breaker_config(const struct settings *s)
{
	int64_t open_ns = s->circuitbreaker_wait_duration_in_open_state_ns;
	int64_t first_ns = s->circuitbreaker_initial_wait_duration_ns;

	return (struct breaker_config){
		.enabled = s->circuitbreaker_enabled,
		.time_based = strcmp(s->circuitbreaker_sliding_window_type,
				      "time-based") == 0,
		.window_size = (uint32_t)s->circuitbreaker_sliding_window_size,
		.minimum_calls =
			(uint32_t)s->circuitbreaker_minimum_number_of_calls,
		.half_open_calls =
			(uint32_t)s->circuitbreaker_permitted_half_open,
		.failure_rate =
			(double)s->circuitbreaker_failure_rate_threshold,
		.slow_rate = (double)s->circuitbreaker_slow_call_rate_threshold,
		.slow_call_ns =
			s->circuitbreaker_slow_call_duration_threshold_ns,
		.open_ns = open_ns,
		.first_open_ns = first_ns > 0 ? first_ns : open_ns,
	};
}

static void
emit_breaker(struct admission *admission, struct metrics_sink *sink)
{
	struct breaker_snapshot s;

	breaker_snapshot(admission->breaker, clock_now_ns(), &s);
	for (int i = 0; i <= BREAKER_FORCED_OPEN; i++)
		metrics_emit(sink, &breaker_state_family,
			METRIC_TAGS(NAME_TAG,
				{ "state", breaker_state_name(
						   (enum breaker_state)i) }),
			s.state == (enum breaker_state)i);
	/* Resilience4j's sixth state, for dashboards that list all. */
	metrics_emit(sink, &breaker_state_family,
		METRIC_TAGS(NAME_TAG, { "state", "metrics_only" }), 0);
	metrics_emit(sink, &breaker_buffered_family,
		METRIC_TAGS(NAME_TAG, { "kind", "failed" }), s.failed);
	metrics_emit(sink, &breaker_buffered_family,
		METRIC_TAGS(NAME_TAG, { "kind", "successful" }),
		s.buffered - s.failed);
	metrics_emit(sink, &breaker_slow_family,
		METRIC_TAGS(NAME_TAG, { "kind", "failed" }), s.slow_failed);
	metrics_emit(sink, &breaker_slow_family,
		METRIC_TAGS(NAME_TAG, { "kind", "successful" }),
		s.slow - s.slow_failed);
	metrics_emit(sink, &breaker_failure_rate_family, METRIC_TAGS(NAME_TAG),
		s.failure_rate);
	metrics_emit(sink, &breaker_slow_rate_family, METRIC_TAGS(NAME_TAG),
		s.slow_rate);
	metrics_emit(sink, &breaker_refused_family,
		METRIC_TAGS(NAME_TAG, { "kind", "not_permitted" }),
		(double)s.not_permitted);
}

static void
collect(void *arg, struct metrics_sink *sink)
{
	struct admission *admission = arg;
	struct limiter_figures limiter = admission_limiter_figures(admission);

	emit_breaker(admission, sink);
	metrics_emit(sink, &limiter_available_family, METRIC_TAGS(NAME_TAG),
		(double)limiter.available);
	metrics_emit(sink, &limiter_waiting_family, METRIC_TAGS(NAME_TAG),
		(double)limiter.waiting);
}

static void
create_series(struct admission *admission)
{
	for (size_t i = 0; i < ARRAY_SIZE(verdict_names); i++)
		admission->verdicts[i] =
			metrics_counter(admission->metrics, &verdict_family,
				METRIC_TAGS({ "verdict", verdict_names[i] }));
	admission->calls[BREAKER_SUCCESS] =
		metrics_timer(admission->metrics, &breaker_calls_family,
			METRIC_TAGS(NAME_TAG, { "kind", "successful" }));
	admission->calls[BREAKER_FAILURE] =
		metrics_timer(admission->metrics, &breaker_calls_family,
			METRIC_TAGS(NAME_TAG, { "kind", "failed" }));
	metrics_collector(admission->metrics, collect, admission);
}

static void
store_settings(struct admission *admission, const struct settings *settings)
{
	atomic_store(
		&admission->limiter_enabled, settings->ratelimiter_enabled);
	atomic_store(&admission->limiter_timeout_ns,
		settings->ratelimiter_timeout_duration_ns);
	atomic_store(&admission->limiter_period_ns,
		settings->ratelimiter_limit_refresh_period_ns);
	atomic_store(
		&admission->latch_duration_ns, settings->latch_duration_ns);
}

struct admission *
admission_new(const struct settings *settings, struct metrics *metrics)
{
	struct admission *admission = calloc(1, sizeof(*admission));
	struct breaker_config config = breaker_config(settings);

	if (admission == NULL)
		abort();
	admission->metrics = metrics;
	admission->sold_out = calloc(1, sizeof(*admission->sold_out));
	admission->limits = event_limits_new(settings, clock_now_ns());
	admission->breaker = breaker_new(&config, clock_now_ns());
	if (admission->sold_out == NULL || admission->limits == NULL ||
		admission->breaker == NULL)
		abort();
	store_settings(admission, settings);
	create_series(admission);
	return admission;
}

void
admission_free(struct admission *admission)
{
	if (admission == NULL)
		return;
	metrics_collector_remove(admission->metrics, collect, admission);
	breaker_free(admission->breaker);
	event_limits_free(admission->limits);
	free(admission->sold_out);
	free(admission);
}

void
admission_configure(
	struct admission *admission, const struct settings *settings)
{
	struct breaker_config config = breaker_config(settings);
	int64_t now_ns = clock_now_ns();

	store_settings(admission, settings);
	event_limits_configure(admission->limits, settings, now_ns);
	breaker_configure(admission->breaker, &config, now_ns);
	latches_clear(); /* what is armed is armed for the old time */
}

static int64_t
seconds_up(int64_t ns)
{
	return (ns + NS_PER_S - 1) / NS_PER_S;
}

/*
 * From `least` on, over twice that or `spread`, whichever is longer.  Whole
 * seconds are drawn: of 1.0 to 3.0 s, rounded up, half would be 2 and half 3.
 */
static int
retry_after_s(int64_t least_ns, int64_t spread_ns)
{
	int64_t least = MAX(seconds_up(least_ns), 1);
	int64_t spread = MAX(2 * least, seconds_up(spread_ns));

	return (int)(least + jitter_below((uint32_t)spread + 1));
}

static enum admission_verdict
counted(struct admission *admission, enum admission_verdict verdict)
{
	counter_add(admission->verdicts[verdict], 1);
	return verdict;
}

static enum admission_verdict
ask_breaker(struct admission *admission,
	const struct admission_request *request, struct admission_permit *ret)
{
	if (breaker_acquire(admission->breaker, request->now_ns,
		    request->deadline_ns, &ret->breaker))
		return ADMISSION_OK;
	int64_t wait_ns =
		breaker_retry_after_ns(admission->breaker, request->now_ns);

	ret->retry_after_s = retry_after_s(wait_ns, 0);
	return ADMISSION_BREAKER_OPEN;
}

static enum admission_verdict
ask_limiter(struct admission *admission,
	const struct admission_request *request, struct admission_permit *ret)
{
	struct limiter *limiter =
		event_limits_get(admission->limits, request->coupon_id);
	int64_t most = atomic_load_explicit(
		&admission->limiter_timeout_ns, memory_order_relaxed);

	/* Never wait for a permit that comes after the deadline. */
	if (most > request->deadline_ns - request->now_ns)
		most = request->deadline_ns - request->now_ns;
	ret->wait_ns =
		limiter_acquire(limiter, request->now_ns, most > 0 ? most : 0);
	if (ret->wait_ns == 0)
		return ADMISSION_OK;
	if (ret->wait_ns < 0) {
		int64_t backlog_ns =
			limiter_backlog_ns(limiter, request->now_ns);

		ret->retry_after_s = retry_after_s(
			atomic_load_explicit(&admission->limiter_period_ns,
				memory_order_relaxed),
			MIN(backlog_ns, RETRY_SPREAD_NS));
		return ADMISSION_RATE_LIMITED;
	}
	ret->reserved = limiter;
	atomic_fetch_add_explicit(&admission->waiting, 1, memory_order_relaxed);
	return ADMISSION_WAIT;
}

static enum latch_answer
ask_latch(struct admission *admission, const struct admission_request *request,
	struct admission_permit *ret)
{
	const struct latch_times times = {
		.now_ns = request->now_ns,
		.duration_ns = atomic_load_explicit(
			&admission->latch_duration_ns, memory_order_relaxed),
		.deadline_ns = request->deadline_ns,
	};

	if (request->has_key || times.duration_ns == 0)
		return LATCH_OPEN;
	return latch_ask(
		admission->sold_out, request->coupon_id, &times, &ret->probe);
}

/* The latch's probe did not get through, so it is as good as its neighbours. */
static enum admission_verdict
settle_probe(struct admission *admission,
	const struct admission_request *request,
	const struct admission_permit *permit, enum admission_verdict verdict)
{
	int64_t duration_ns = atomic_load_explicit(
		&admission->latch_duration_ns, memory_order_relaxed);

	if (permit->probe == 0 || verdict == ADMISSION_OK ||
		verdict == ADMISSION_WAIT)
		return verdict;
	if (!latch_postpone(admission->sold_out, request->coupon_id,
		    permit->probe, request->now_ns + duration_ns))
		return verdict;
	return ADMISSION_SOLD_OUT;
}

enum admission_verdict
admission_enter(struct admission *admission,
	const struct admission_request *request, struct admission_permit *ret)
{
	enum admission_verdict verdict = ADMISSION_OK;

	*ret = (struct admission_permit){ 0 };
	if (ask_latch(admission, request, ret) == LATCH_ARMED)
		return counted(admission, ADMISSION_SOLD_OUT);
	if (atomic_load_explicit(
		    &admission->limiter_enabled, memory_order_relaxed))
		verdict = ask_limiter(admission, request, ret);
	if (verdict == ADMISSION_OK)
		verdict = ask_breaker(admission, request, ret);
	return counted(
		admission, settle_probe(admission, request, ret, verdict));
}

enum admission_verdict
admission_resume(struct admission *admission,
	const struct admission_request *request,
	struct admission_permit *permit)
{
	enum admission_verdict verdict =
		ask_breaker(admission, request, permit);

	atomic_fetch_sub_explicit(&admission->waiting, 1, memory_order_relaxed);
	return counted(
		admission, settle_probe(admission, request, permit, verdict));
}

void
admission_cancel(
	struct admission *admission, const struct admission_permit *permit)
{
	atomic_fetch_sub_explicit(&admission->waiting, 1, memory_order_relaxed);
	limiter_give_back(permit->reserved);
}

void
admission_report(struct admission *admission,
	const struct admission_permit *permit, int64_t now_ns,
	enum breaker_outcome outcome)
{
	breaker_record(admission->breaker, &permit->breaker, now_ns, outcome);
	timer_record(
		admission->calls[outcome], now_ns - permit->breaker.since_ns);
}

void
admission_forget(
	struct admission *admission, const struct admission_permit *permit)
{
	breaker_release(admission->breaker, &permit->breaker);
}

void
admission_heard(struct admission *admission, int64_t coupon_id,
	const struct admission_permit *permit, int64_t now_ns,
	enum issue_stock stock)
{
	int64_t duration_ns = atomic_load_explicit(
		&admission->latch_duration_ns, memory_order_relaxed);

	switch (stock) {
	case ISSUE_STOCK_SOLD_OUT:
		if (duration_ns > 0)
			latch_arm(admission->sold_out, coupon_id, now_ns,
				duration_ns);
		break;
	case ISSUE_STOCK_OTHER:
		latch_disarm(admission->sold_out, coupon_id);
		break;
	case ISSUE_STOCK_UNHEARD:
		if (permit->probe != 0)
			(void)latch_postpone(admission->sold_out, coupon_id,
				permit->probe, now_ns + duration_ns);
		break;
	case ISSUE_STOCK_UNTOLD: /* the next one asks, at once */
		if (permit->probe != 0)
			(void)latch_postpone(admission->sold_out, coupon_id,
				permit->probe, now_ns);
		break;
	}
}

struct breaker *
admission_breaker(struct admission *admission)
{
	return admission->breaker;
}

struct limiter_figures
admission_limiter_figures(struct admission *admission)
{
	return (struct limiter_figures){
		.available = limiter_available(
			event_limits_default(admission->limits),
			clock_now_ns()),
		.waiting = atomic_load(&admission->waiting),
	};
}
