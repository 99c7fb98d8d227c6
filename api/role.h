/* SPDX-License-Identifier: MIT */
/*
 * role - what one api at a time does for all of them.
 *
 * A lease in PostgreSQL (table api_role), by PostgreSQL's clock.  Unlike an
 * advisory lock it stays between two passes, also of a connection pool that
 * has replaced the connection, and keeps none of it borrowed.  Who dies is
 * succeeded when the lease has run out.  Two at once are possible (one hung
 * for longer than that) and must do no harm.
 *
 * Each belongs to one thread; every call may block for some seconds.
 */
#ifndef API_ROLE_H
#define API_ROLE_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct error;
struct pg_pools;

/* Two passes that are 5 s apart: who misses one keeps it. */
#define ROLE_LEASE_S 10

struct role {
	struct pg_pools *pg; /* borrowed, as all here */
	const char *name;
	const char *holder; /* this api */
	int64_t renew_at_ns;
	int64_t ends_at_ns; /* of the lease, were it not renewed */
	bool mine;          /* as last heard */
};

/* Take it, or have it for another lease: role->mine.  An error leaves that as
 * it was, for as long as the lease lasts. */
int role_take(struct role *role, struct error *err) NODISCARD;

/*
 * Between two pieces of work of whose it is; asks once a second.
 * -ERROR_CANCELLED: another api has it now.  That nobody can be asked ends no
 * work: the lease may last.
 */
int role_keep(struct role *role, struct error *err) NODISCARD;

/* Leave it to whoever comes next, at once; as well as it can be done. */
void role_leave(struct role *role);

#endif
