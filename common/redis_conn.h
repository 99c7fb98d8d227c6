/* SPDX-License-Identifier: MIT */
/*
 * redis_conn - opening one connection to Redis; what redis_pool.c builds on.
 *
 * Internal to common/redis*.c and their tests; everybody else sees
 * common/redis.h.  One thread at a time per connection.
 */
#ifndef COMMON_REDIS_CONN_H
#define COMMON_REDIS_CONN_H

#include "common/compiler.h"
#include "common/redis.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* Where to connect and how; borrowed strings. */
struct redis_target {
	const char *host;
	int port;
	const char *password;    /* NULL or "": none */
	int64_t user_timeout_ns; /* TCP_USER_TIMEOUT; 0: the kernel's */
};

/* What a server said of itself; "" and false where it may not be asked. */
struct redis_facts {
	char version[32];
	char run_id[48];
	bool could_forget;
	bool could_evict;
};

/*
 * TCP only, non-blocking.  -ERROR_CONNECT_FAILING or -ERROR_TIMEOUT.  A host
 * name is resolved by getaddrinfo(), which no deadline can interrupt: one of
 * the pool's threads waits for it, nobody else.
 */
int redis_conn_open(const struct redis_target *target, int64_t deadline_ns,
	struct redis_conn **ret, struct error *err) NODISCARD;

/* NULL is a no-op. */
void redis_conn_close(struct redis_conn *conn);

/*
 * Authenticate, ask for the facts and load the scripts, all in one round
 * trip.  `loaded(ctx, i, sha1)` is called per script.
 */
struct redis_setup {
	const char *password; /* NULL or "": none */
	const struct redis_script *scripts;
	size_t n_scripts;
	void (*loaded)(void *ctx, size_t i, const char *sha1);
	void *ctx;
};
int redis_conn_setup(struct redis_conn *conn, const struct redis_setup *setup,
	int64_t deadline_ns, struct redis_facts *ret,
	struct error *err) NODISCARD;

#endif
