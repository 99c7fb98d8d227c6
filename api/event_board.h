/* SPDX-License-Identifier: MIT */
/*
 * event_board - the events as the operator watches them, below /actuator: what
 * is left, what waits, how long the newest coupons took from accepted to row;
 * and open and close, where only the management port is reached.
 *
 * Any thread; the routes are for loops.
 */
#ifndef API_EVENT_BOARD_H
#define API_EVENT_BOARD_H

#include "common/http.h"

#include <stddef.h>

struct event_board;
struct event_loader;

extern const struct http_route event_board_routes[];
extern const size_t event_board_n_routes;

/* `loader` is borrowed.  Aborts when out of memory: this is start-up. */
struct event_board *event_board_new(const struct event_loader *loader);
/* When the workers and the servers have ended.  NULL is a no-op. */
void event_board_free(struct event_board *board);

#endif
