/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 *                failure or slow rate >= threshold
 *      CLOSED ------------------------------------------> OPEN
 *        ^                                                 | open time over,
 *        |  all trials back, rates below                   v or probe ok
 *        +------------------------------------------- HALF_OPEN
 *                                 rate >= threshold -> OPEN again
 *
 * Every entry into a state starts a new generation.  `word` publishes state
 * and generation in one atomic, so that CLOSED (the normal case) and the
 * forced states answer acquire without the lock; everything else happens
 * under it.  A result is compared with the generation in force: an older
 * one is counted as late and decides nothing.
 *
 * HALF_OPEN hands out half_open_calls permits.  Each remembers until when its
 * request may take; a place whose time is over counts as free again, so a
 * trial that never reports (its client was gone, its result came too late)
 * cannot keep the breaker from trying.
 *
 * Time in OPEN: first_open_ns, doubled at each failed trial, at most open_ns;
 * back to the first once CLOSED has been reached.
 */
#include "api/breaker.h"

#include "api/breaker_window.h"
#include "common/sync.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/param.h>

struct breaker {
	_Atomic uint64_t word CACHE_ALIGNED; /* generation << 3 | state */
	_Atomic uint64_t not_permitted;
	struct mutex lock;
	struct locked { /* only through locked() */
		struct breaker_config config;
		struct breaker_window window; /* of CLOSED and OPEN */
		struct window_counts trials;  /* of HALF_OPEN */
		int64_t *trial_until;         /* half_open_calls places */
		int64_t entered_ns;
		int64_t open_ns; /* how long OPEN lasts this time */
		uint64_t successful_calls, failed_calls, late_results;
		uint64_t entered[BREAKER_FORCED_OPEN + 1];
		struct breaker_history history;
	} locked_;
};

static struct locked *locked(struct breaker *breaker) REQUIRES(breaker->lock);
static void enter(struct breaker *breaker, enum breaker_state state,
	int64_t now_ns) REQUIRES(breaker->lock);
static bool acquire_trial(struct breaker *breaker, int64_t now_ns,
	int64_t deadline_ns) REQUIRES(breaker->lock);
static void judge(struct breaker *breaker, int64_t now_ns)
	REQUIRES(breaker->lock);

static struct locked *
locked(struct breaker *breaker)
{
	return &breaker->locked_;
}

static enum breaker_state
state_of(uint64_t word)
{
	return (enum breaker_state)(word & 7);
}

static uint64_t
generation_of(uint64_t word)
{
	return word >> 3;
}

static uint64_t
load_word(struct breaker *breaker)
{
	return atomic_load_explicit(&breaker->word, memory_order_acquire);
}

struct breaker *
breaker_new(const struct breaker_config *config, int64_t now_ns)
{
	struct breaker *breaker =
		aligned_alloc(CACHE_LINE, sizeof(struct breaker));

	if (breaker == NULL)
		return NULL;
	*breaker = (struct breaker){ .locked_.config = *config };
	struct locked *s = &breaker->locked_;

	s->trial_until = calloc(config->half_open_calls, sizeof(int64_t));
	if (s->trial_until == NULL ||
		!breaker_window_init(&s->window, config->window_size,
			config->time_based, now_ns)) {
		free(s->trial_until);
		free(breaker);
		return NULL;
	}
	mutex_init(&breaker->lock);
	mutex_lock(&breaker->lock);
	enter(breaker, config->enabled ? BREAKER_CLOSED : BREAKER_DISABLED,
		now_ns);
	mutex_unlock(&breaker->lock);
	return breaker;
}

void
breaker_free(struct breaker *breaker)
{
	if (breaker == NULL)
		return;
	breaker_window_fini(&breaker->locked_.window);
	free(breaker->locked_.trial_until);
	mutex_fini(&breaker->lock);
	free(breaker);
}

/* Start a generation.  The window that tripped stays to be seen in OPEN. */
static void
enter(struct breaker *breaker, enum breaker_state state, int64_t now_ns)
{
	struct locked *s = locked(breaker);
	const enum breaker_state from = state_of(load_word(breaker));
	uint64_t generation = generation_of(load_word(breaker)) + 1;

	if (state == BREAKER_CLOSED) {
		breaker_window_clear(&s->window, now_ns);
		s->open_ns = 0;
	} else if (state == BREAKER_HALF_OPEN) {
		s->trials = (struct window_counts){ 0 };
		for (uint32_t i = 0; i < s->config.half_open_calls; i++)
			s->trial_until[i] = INT64_MIN;
	} else if (state == BREAKER_OPEN) {
		s->open_ns = s->open_ns == 0 ? s->config.first_open_ns
					     : 2 * s->open_ns;
		if (s->open_ns > s->config.open_ns)
			s->open_ns = s->config.open_ns;
	}
	s->entered_ns = now_ns;
	s->entered[state]++;
	if (state != from)
		breaker_history_add(&s->history,
			&(struct breaker_transition){ now_ns,
				(unsigned char)from, (unsigned char)state });
	atomic_store_explicit(&breaker->word, generation << 3 | (uint64_t)state,
		memory_order_release);
}

static bool
acquire_trial(struct breaker *breaker, int64_t now_ns, int64_t deadline_ns)
{
	struct locked *s = locked(breaker);

	for (uint32_t i = 0; i < s->config.half_open_calls; i++) {
		/* A place whose trial reported stays taken (INT64_MAX). */
		if (s->trial_until[i] >= now_ns)
			continue;
		s->trial_until[i] =
			deadline_ns < INT64_MAX ? deadline_ns : INT64_MAX - 1;
		return true;
	}
	return false;
}

bool
breaker_acquire(struct breaker *breaker, int64_t now_ns, int64_t deadline_ns,
	struct breaker_permit *ret)
{
	uint64_t word = load_word(breaker);
	bool permitted = state_of(word) == BREAKER_CLOSED ||
			 state_of(word) == BREAKER_DISABLED;

	if (state_of(word) == BREAKER_OPEN ||
		state_of(word) == BREAKER_HALF_OPEN) {
		mutex_lock(&breaker->lock);
		struct locked *s = locked(breaker);

		/* Strictly after, as Resilience4j. */
		if (state_of(load_word(breaker)) == BREAKER_OPEN &&
			now_ns > s->entered_ns + s->open_ns)
			enter(breaker, BREAKER_HALF_OPEN, now_ns);
		word = load_word(breaker);
		permitted =
			state_of(word) == BREAKER_CLOSED ||
			(state_of(word) == BREAKER_HALF_OPEN &&
				acquire_trial(breaker, now_ns, deadline_ns));
		mutex_unlock(&breaker->lock);
	}
	if (!permitted) {
		atomic_fetch_add_explicit(
			&breaker->not_permitted, 1, memory_order_relaxed);
		return false;
	}
	*ret = (struct breaker_permit){
		.generation = generation_of(word),
		.since_ns = now_ns,
	};
	return true;
}

static double
percent(uint32_t part, uint32_t whole)
{
	return 100.0 * part / whole;
}

/* Calls before the rates mean anything, in the state in force. */
static uint32_t
effective_minimum(const struct breaker_config *config, enum breaker_state state)
{
	uint32_t most = config->minimum_calls;

	if (state == BREAKER_HALF_OPEN)
		most = config->half_open_calls;
	else if (!config->time_based)
		most = config->window_size;
	return config->minimum_calls < most ? config->minimum_calls : most;
}

static bool
is_tripped(
	const struct breaker_config *config, const struct window_counts *counts)
{
	return percent(counts->failed, counts->calls) >= config->failure_rate ||
	       percent(counts->slow, counts->calls) >= config->slow_rate;
}

/* After every result: does the state still hold? */
static void
judge(struct breaker *breaker, int64_t now_ns)
{
	struct locked *s = locked(breaker);
	enum breaker_state state = state_of(load_word(breaker));
	struct window_counts counts =
		state == BREAKER_HALF_OPEN
			? s->trials
			: breaker_window_sum(&s->window, now_ns);

	if (counts.calls < effective_minimum(&s->config, state))
		return;
	if (is_tripped(&s->config, &counts))
		enter(breaker, BREAKER_OPEN, now_ns);
	else if (state == BREAKER_HALF_OPEN)
		enter(breaker, BREAKER_CLOSED, now_ns);
}

static void
count_trial(struct locked *s, bool failed, bool slow)
{
	s->trials.calls++;
	s->trials.failed += failed;
	s->trials.slow += slow;
	s->trials.slow_failed += failed && slow;
	/* Its place is used up; any of the taken ones will do. */
	for (uint32_t i = 0; i < s->config.half_open_calls; i++) {
		if (s->trial_until[i] == INT64_MIN ||
			s->trial_until[i] == INT64_MAX)
			continue;
		s->trial_until[i] = INT64_MAX;
		return;
	}
}

void
breaker_record(struct breaker *breaker, const struct breaker_permit *permit,
	int64_t now_ns, enum breaker_outcome outcome)
{
	bool failed = outcome == BREAKER_FAILURE;

	mutex_lock(&breaker->lock);
	struct locked *s = locked(breaker);
	uint64_t word = load_word(breaker);
	bool slow = now_ns - permit->since_ns > s->config.slow_call_ns;

	if (failed)
		s->failed_calls++;
	else
		s->successful_calls++;
	if (permit->generation != generation_of(word)) {
		s->late_results++;
	} else if (state_of(word) == BREAKER_CLOSED) {
		breaker_window_add(&s->window, now_ns, failed, slow);
		judge(breaker, now_ns);
	} else if (state_of(word) == BREAKER_HALF_OPEN) {
		count_trial(s, failed, slow);
		judge(breaker, now_ns);
	}
	mutex_unlock(&breaker->lock);
}

void
breaker_release(struct breaker *breaker, const struct breaker_permit *permit)
{
	uint64_t word = load_word(breaker);

	if (state_of(word) != BREAKER_HALF_OPEN ||
		permit->generation != generation_of(word))
		return;
	mutex_lock(&breaker->lock);
	struct locked *s = locked(breaker);

	/* One taken place becomes free; which one does not matter. */
	for (uint32_t i = 0;
		permit->generation == generation_of(load_word(breaker)) &&
		i < s->config.half_open_calls;
		i++) {
		if (s->trial_until[i] == INT64_MIN ||
			s->trial_until[i] == INT64_MAX)
			continue;
		s->trial_until[i] = INT64_MIN;
		break;
	}
	mutex_unlock(&breaker->lock);
}

int64_t
breaker_retry_after_ns(struct breaker *breaker, int64_t now_ns)
{
	int64_t left = 0;

	mutex_lock(&breaker->lock);
	struct locked *s = locked(breaker);

	switch (state_of(load_word(breaker))) {
	case BREAKER_OPEN:
		left = MIN(
			s->entered_ns + s->open_ns - now_ns, BREAKER_PROBED_NS);
		break;
	case BREAKER_FORCED_OPEN:
		left = s->config.open_ns;
		break;
	case BREAKER_CLOSED:
	case BREAKER_HALF_OPEN:
	case BREAKER_DISABLED:
		break;
	}
	mutex_unlock(&breaker->lock);
	return left > 0 ? left : 0;
}

void
breaker_probe_succeeded(struct breaker *breaker, int64_t now_ns)
{
	if (state_of(load_word(breaker)) != BREAKER_OPEN)
		return;
	mutex_lock(&breaker->lock);
	if (state_of(load_word(breaker)) == BREAKER_OPEN)
		enter(breaker, BREAKER_HALF_OPEN, now_ns);
	mutex_unlock(&breaker->lock);
}

void
breaker_force(struct breaker *breaker, enum breaker_state state, int64_t now_ns)
{
	assert(state == BREAKER_CLOSED || state == BREAKER_DISABLED ||
		state == BREAKER_FORCED_OPEN);
	mutex_lock(&breaker->lock);
	enter(breaker, state, now_ns);
	mutex_unlock(&breaker->lock);
}

static bool
same_window(const struct breaker_config *a, const struct breaker_config *b)
{
	return a->window_size == b->window_size &&
	       a->time_based == b->time_based &&
	       a->half_open_calls == b->half_open_calls;
}

void
breaker_configure(struct breaker *breaker, const struct breaker_config *config,
	int64_t now_ns)
{
	struct breaker_window window;
	int64_t *trial_until = calloc(config->half_open_calls, sizeof(int64_t));

	/* Out of memory: the old configuration stays in force. */
	if (trial_until == NULL)
		return;
	if (!breaker_window_init(
		    &window, config->window_size, config->time_based, now_ns)) {
		free(trial_until);
		return;
	}
	mutex_lock(&breaker->lock);
	struct locked *s = locked(breaker);
	bool was_enabled = s->config.enabled;
	enum breaker_state state = state_of(load_word(breaker));

	if (!same_window(&s->config, config)) {
		struct breaker_window old_window = s->window;
		int64_t *old_trials = s->trial_until;

		s->window = window;
		s->trial_until = trial_until;
		window = old_window;
		trial_until = old_trials;
	}
	s->config = *config;
	if (was_enabled && !config->enabled)
		state = BREAKER_DISABLED;
	else if (!was_enabled && config->enabled)
		state = BREAKER_CLOSED;
	/* Trials of the old size mean nothing: begin them again. */
	if (state != state_of(load_word(breaker)) || state == BREAKER_HALF_OPEN)
		enter(breaker, state, now_ns);
	mutex_unlock(&breaker->lock);
	breaker_window_fini(&window);
	free(trial_until);
}

void
breaker_snapshot(
	struct breaker *breaker, int64_t now_ns, struct breaker_snapshot *ret)
{
	mutex_lock(&breaker->lock);
	struct locked *s = locked(breaker);
	uint64_t word = load_word(breaker);
	enum breaker_state state = state_of(word);
	/* OPEN shows the window that tripped, so nothing falls out of it. */
	struct window_counts counts =
		state == BREAKER_HALF_OPEN ? s->trials
		: state == BREAKER_CLOSED
			? breaker_window_sum(&s->window, now_ns)
			: s->window.sum;
	bool known = counts.calls > 0 &&
		     counts.calls >= effective_minimum(&s->config, state);

	*ret = (struct breaker_snapshot){
		.state = state,
		.buffered = counts.calls,
		.failed = counts.failed,
		.slow = counts.slow,
		.slow_failed = counts.slow_failed,
		.failure_rate =
			known ? percent(counts.failed, counts.calls) : -1,
		.slow_rate = known ? percent(counts.slow, counts.calls) : -1,
		.in_state_ns = now_ns - s->entered_ns,
		.generation = generation_of(word),
		.successful_calls = s->successful_calls,
		.failed_calls = s->failed_calls,
		.late_results = s->late_results,
		.not_permitted = atomic_load(&breaker->not_permitted),
	};
	for (size_t i = 0; i < ARRAY_SIZE(ret->entered); i++)
		ret->entered[i] = s->entered[i];
	mutex_unlock(&breaker->lock);
}

size_t
breaker_transitions(struct breaker *breaker,
	struct breaker_transition ret[BREAKER_HISTORY_MAX])
{
	mutex_lock(&breaker->lock);
	const size_t n = breaker_history_copy(&locked(breaker)->history, ret);
	mutex_unlock(&breaker->lock);
	return n;
}

const char *
breaker_state_name(enum breaker_state state)
{
	static const char *const names[] = {
#define X(state, name) [BREAKER_##state] = (name),
		BREAKER_STATES(X)
#undef X
	};

	return names[state];
}
