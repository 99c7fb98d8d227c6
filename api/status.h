/* SPDX-License-Identifier: MIT */
/*
 * status - what a user is told of his request, out of what Redis and
 * PostgreSQL know of it.  Pure functions; stateless; any thread.
 */
#ifndef API_STATUS_H
#define API_STATUS_H

#include "api/event_store.h"
#include "api/scripts.h"

#include <stdbool.h>

struct json_t;

/* What was found; Redis was asked first. */
struct status_facts {
	const struct status_reply *redis; /* NULL: did not answer */
	const struct user_coupon *row;    /* NULL: none, or: */
	bool database_down;               /* PostgreSQL did not answer */
};

enum status_kind {
	STATUS_PENDING,
	STATUS_ISSUED,
	STATUS_REJECTED,
	STATUS_NONE,    /* 404 */
	STATUS_FENCED,  /* 503: Redis cannot say that there is nothing */
	STATUS_UNKNOWN, /* 503: neither could be asked for all of it */
};

struct status {
	enum status_kind kind;
	bool stale; /* PostgreSQL, which may know more, did not answer */
	struct user_coupon coupon; /* kinds PENDING to REJECTED */
};

/* `key`: whose status was asked for; its request_id may be "". */
void status_resolve(const struct status_facts *facts,
	const struct user_coupon *key, struct status *ret);

/* A new reference; NULL when out of memory.  Kinds PENDING to REJECTED. */
struct json_t *status_to_json(const struct status *status);

#endif
