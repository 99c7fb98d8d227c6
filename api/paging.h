/* SPDX-License-Identifier: MIT */
/*
 * paging - ?limit=1..100&after=CURSOR of a list, and its answer.
 */
#ifndef API_PAGING_H
#define API_PAGING_H

#include "api/cursor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_request;
struct json_t;

struct paging {
	enum cursor_list list;
	size_t limit;  /* 1 .. 100 */
	int64_t after; /* key of the last item of the page before; 0: none */
};

/* False: the request was answered 400. */
bool paging_parse(
	struct http_request *req, enum cursor_list list, struct paging *ret);

/*
 * Answer 200 {"items":...,"next":...}; steals `items`.  `last` is the key of
 * the last item, `more` whether another page follows.
 */
void paging_reply(struct http_request *req, const struct paging *paging,
	struct json_t *items, int64_t last, bool more);

#endif
