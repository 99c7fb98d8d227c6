/* SPDX-License-Identifier: MIT */
#include "api/paging.h"

#include "api/coupon.h"
#include "api/reply.h"
#include "common/http.h"

#include <jansson.h>

enum { LIMIT_DEFAULT = 20, LIMIT_MAX = 100 };

bool
paging_parse(
	struct http_request *req, enum cursor_list list, struct paging *ret)
{
	const char *limit = http_request_query(req, "limit");
	const char *after = http_request_query(req, "after");
	int64_t n = LIMIT_DEFAULT;

	if (limit != NULL && (parse_id(limit, &n) != 0 || n > LIMIT_MAX)) {
		reply_bad_request(
			req, "limit must be an integer from 1 to 100.");
		return false;
	}
	*ret = (struct paging){ .list = list, .limit = (size_t)n };
	if (after != NULL && !cursor_decode(list, after, &ret->after)) {
		reply_bad_request(req, "after must be the `next` of a page.");
		return false;
	}
	return true;
}

void
paging_reply(struct http_request *req, const struct paging *paging,
	json_t *items, int64_t last, bool more)
{
	char next[CURSOR_SIZE];

	if (more)
		cursor_encode(paging->list, last, next);
	http_reply_json(req, 200, page_to_json(items, more ? next : NULL));
}
