/* SPDX-License-Identifier: MIT */
/*
 * rebuild_plan - what Redis must hold of an event, worked out from everything
 * that is known of it.
 *
 * Feed it in this order: rejections, rows, the messages that Kafka holds and
 * nobody has consumed, and what Redis itself still has; then finish it and
 * read the result.  Per user a row wins over Kafka, Kafka over Redis, the
 * first of a kind over later ones.  Requests with a final state are left out.
 *
 * Every number that a row, an unconsumed message or a Redis entry carries
 * stays taken, also when that request will lose: nothing on its way can then
 * collide with a number given anew.
 *
 * Plain memory, one thread.  The add functions return false when out of
 * memory; the plan is then good for rebuild_plan_free() only.
 */
#ifndef API_REBUILD_PLAN_H
#define API_REBUILD_PLAN_H

#include "common/compiler.h"
#include "common/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rebuild_plan;

struct rebuild_plan *rebuild_plan_new(int64_t coupon_id, int64_t total);
void rebuild_plan_free(struct rebuild_plan *plan); /* NULL ok */

/* accepted_at_ms 0: not known. */
bool rebuild_plan_add_rejection(struct rebuild_plan *plan,
	const struct message *request, const char *reason) NODISCARD;
bool rebuild_plan_add_row(
	struct rebuild_plan *plan, const struct message *row) NODISCARD;
/* Also when an entry turns out to have reached Kafka: it is unsent no more. */
bool rebuild_plan_add_message(
	struct rebuild_plan *plan, const struct message *message) NODISCARD;
bool rebuild_plan_add_entry(
	struct rebuild_plan *plan, const struct message *entry) NODISCARD;

/* 1 + the highest taken number in 1..total. */
int64_t rebuild_plan_next(const struct rebuild_plan *plan);

/* The latest accept time of what is known, unix ms; 0 if none. */
int64_t rebuild_plan_latest_ms(const struct rebuild_plan *plan);

/* The lowest number >= `from` below next that nobody holds, or 0. */
int64_t rebuild_plan_free_number(const struct rebuild_plan *plan, int64_t from);

/* The results; `fn` returns false to stop, and so does the call. */
typedef bool rebuild_plan_fn(
	void *arg, const struct message *request, const char *reason);
/* Who holds a number (reason is NULL). */
bool rebuild_plan_each_user(
	const struct rebuild_plan *plan, rebuild_plan_fn *fn, void *arg);
bool rebuild_plan_each_rejection(
	const struct rebuild_plan *plan, rebuild_plan_fn *fn, void *arg);
/* What only Redis knew: to be acknowledged by Kafka before the end. */
bool rebuild_plan_each_unsent(
	const struct rebuild_plan *plan, rebuild_plan_fn *fn, void *arg);

struct rebuild_plan_counts {
	size_t rows, messages, unsent, rejections, users, free_numbers;
};
void rebuild_plan_counts(
	const struct rebuild_plan *plan, struct rebuild_plan_counts *ret);

#endif
