/* SPDX-License-Identifier: MIT */
#include "common/redis_scan.h"

#include "common/error.h"
#include "common/redis.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

enum { PAGE = 1000, CURSOR_SIZE = 24 };

static int
hand_over(const struct redis_scan *scan, const struct redisReply *page,
	struct error *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i + 1 < page->elements; i += 2)
		rc = scan->pair(scan->arg, page->element[i]->str,
			page->element[i + 1]->str, err);
	if (rc == 0 && scan->tick != NULL)
		rc = scan->tick(scan->arg, err);
	return rc;
}

static int
read_page(struct redis_conn *conn, const struct redis_scan *scan,
	char cursor[CURSOR_SIZE], struct error *err)
{
	struct redisReply *reply;
	int rc = redis_callf(conn, scan->deadline_ns, &reply, err,
		"%s %s %s COUNT %d", scan->command, scan->key, cursor, PAGE);

	if (rc != 0)
		return rc;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
		(void)snprintf(
			cursor, CURSOR_SIZE, "%s", reply->element[0]->str);
		rc = hand_over(scan, reply->element[1], err);
	} else {
		rc = error_set(err, ERROR_REDIS_ERROR,
			"redis: unexpected reply to %s", scan->command);
	}
	freeReplyObject(reply);
	return rc;
}

int
redis_scan(struct redis_conn *conn, const struct redis_scan *scan,
	struct error *err)
{
	char cursor[CURSOR_SIZE] = "0";
	int rc;

	do
		rc = read_page(conn, scan, cursor, err);
	while (rc == 0 && strcmp(cursor, "0") != 0);
	return rc;
}
