/* SPDX-License-Identifier: MIT */
/*
 * audit_look - reads what Redis, PostgreSQL and Kafka hold of an event and
 * has it compared (api/audit.h).  Writes nothing anywhere.
 *
 * For threads that may block; each call stands alone.
 */
#ifndef API_AUDIT_LOOK_H
#define API_AUDIT_LOOK_H

#include "api/audit.h"
#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct pg_pools;
struct rebuild_offsets;
struct redis_shards;
struct settings;

struct audit_look {
	struct pg_pools *pg; /* borrowed, as all here */
	struct redis_shards *shards;
	const struct settings *settings; /* Kafka's names */
	bool at_rest;                    /* nothing is on its way */
	bool whole_topic;                /* also what was consumed long ago */
	/* More unconsumed messages than this are not read; 0: no limit. */
	int64_t backlog_max;
	/* Of an event with more users than this a slice is judged, another
	 * one at each turn; 0: always all. */
	int64_t slice_users;
	uint32_t turn;
	int64_t deadline_ns;
	/* Called now and then; its error ends the look. */
	int (*tick)(void *arg, struct error *err);
	void *arg;
};

struct audit_result {
	struct audit_findings findings;
	/* False: the event was rebuilt meanwhile; nothing can be said. */
	bool conclusive;
	/* False: more than backlog_max; what is missing was not judged. */
	bool complete;
	int64_t total, rows, rejections;        /* PostgreSQL */
	int64_t holders, pending, free_numbers; /* Redis */
	int64_t next;                           /* 0: Redis lacks it */
	int64_t messages; /* unconsumed, if it was necessary to look */
	uint32_t n_slices;
};

/* -ERROR_NOT_FOUND: neither PostgreSQL nor Redis has it. */
int audit_look(const struct audit_look *look, int64_t coupon_id,
	struct audit_result *ret, struct error *err) NODISCARD;
void audit_result_fini(struct audit_result *result);

/* Messages of all events behind these offsets, as of now. */
int audit_backlog(const struct audit_look *look,
	const struct rebuild_offsets *offsets, int64_t *ret,
	struct error *err) NODISCARD;

#endif
