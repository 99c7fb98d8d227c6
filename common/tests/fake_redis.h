/* SPDX-License-Identifier: MIT */
/*
 * fake_redis - a Redis that misbehaves on demand, on a thread of its own.
 *
 * It answers what a fresh connection asks (INFO, CONFIG, SCRIPT LOAD, PING)
 * and echoes the last argument of EVALSHA and EVAL, or every argument, as an
 * array, when they name two keys; unless the test's script says otherwise.
 * Replies keep their order, as Redis's do: a delayed one delays those behind
 * it.
 */
#ifndef COMMON_TESTS_FAKE_REDIS_H
#define COMMON_TESTS_FAKE_REDIS_H

#include <stddef.h>
#include <stdint.h>

struct fake_redis;

enum fake_act {
	FAKE_ECHO,       /* the last argument as a bulk string */
	FAKE_HELD,       /* the same, after fake_redis_release() */
	FAKE_ERROR,      /* "-ERR as told" */
	FAKE_NOSCRIPT,   /* to EVALSHA; EVAL is echoed */
	FAKE_HALF,       /* half of the echo, the rest after delay_ms */
	FAKE_HALF_CLOSE, /* half of the echo, then the connection closes */
	FAKE_CLOSE,      /* closes without a reply */
	FAKE_SILENCE,    /* no reply, nor any later one on this connection */
	FAKE_GARBAGE,    /* what is no RESP */
	FAKE_TWICE,      /* the echo and a reply that nobody asked for */
	FAKE_FEWER,      /* an array that lacks its last answer */
};

struct fake_answer {
	enum fake_act act;
	int delay_ms;
};

/*
 * What to do with the n-th (from 0) EVAL or EVALSHA that came, `last` being
 * its last argument, on the conn-th connection.  On the server's thread.
 */
typedef struct fake_answer fake_script(
	void *ctx, size_t n, size_t conn, const char *last);

/* Listens on *ret_port of 127.0.0.1; script may be NULL. */
struct fake_redis *fake_redis_start(
	fake_script *script, void *ctx, int *ret_port);
void fake_redis_stop(struct fake_redis *fake);

/* How many EVAL and EVALSHA came, connections were opened, replies made. */
size_t fake_redis_evals(struct fake_redis *fake);
size_t fake_redis_connections(struct fake_redis *fake);
/* From now on what was or would be held is answered. */
void fake_redis_release(struct fake_redis *fake);
/* Close every connection now. */
void fake_redis_cut(struct fake_redis *fake);
/* The same, and it is another run of the server from now on. */
void fake_redis_restart(struct fake_redis *fake);

#endif
