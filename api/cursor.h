/* SPDX-License-Identifier: MIT */
/*
 * cursor - where the next page of a list begins, as text for the client.
 *
 * Opaque to him, bound to its list, and no secret: a forged one can ask for
 * nothing that a valid one could not.  Stateless; any thread.
 */
#ifndef API_CURSOR_H
#define API_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

/* The list a cursor belongs to. */
enum cursor_list { CURSOR_COUPONS = 'c', CURSOR_USER_COUPONS = 'u' };

/* base64url of 9 bytes: list, key in network order. */
enum { CURSOR_SIZE = 13 };

/* `key` is that of the last item of the page before. */
void cursor_encode(enum cursor_list list, int64_t key, char buf[CURSOR_SIZE]);

/* False: not a cursor of this list.  *ret_key >= 0. */
bool cursor_decode(enum cursor_list list, const char *text, int64_t *ret_key);

#endif
