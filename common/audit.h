/* SPDX-License-Identifier: MIT */
/*
 * audit - one line in the log for everything an operator changed: who, what,
 * on what, with which result.  Never left out by the log's rate limit.
 * Stateless; any thread.
 */
#ifndef COMMON_AUDIT_H
#define COMMON_AUDIT_H

struct http_request;

/* `by` is an address, or "SIGHUP". */
void audit(const char *by, const char *action, const char *target,
	const char *result);

/* By whom this request came from; on its loop's thread. */
void audit_request(const struct http_request *req, const char *action,
	const char *target, const char *result);

#endif
