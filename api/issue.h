/* SPDX-License-Identifier: MIT */
/*
 * issue - POST /api/user-coupons/issue-async: the path of one request from
 * the parsed body to 202, without a thread ever waiting.
 *
 *	parse -> admission -> issue.lua -> Kafka -> 202
 *	                          \-- event missing: a worker asks PostgreSQL,
 *	                              loads it, and the script runs once more
 *
 * All on the request's loop, except what the worker does.
 */
#ifndef API_ISSUE_H
#define API_ISSUE_H

#include <stdint.h>

struct api_loop;
struct http_request;
struct issue_meters;
struct metrics;

/* The handler. */
void issue_post(struct http_request *req);

/* coupon.issue by outcome. */
struct issue_meters *issue_meters_new(struct metrics *metrics);
void issue_meters_free(struct issue_meters *meters);

/* Every turn of the loop: go on with those whose permit is valid now. */
void issue_loop_turn(struct api_loop *loop);
/* When that must happen at the latest; INT64_MAX if never. */
int64_t issue_loop_next_ns(const struct api_loop *loop);

/* The loop ends: answer those that wait, before the pipeline fails its own. */
void issue_loop_stop(struct api_loop *loop);
/* After the pipeline is gone: free the spare requests. */
void issue_loop_fini(struct api_loop *loop);

#endif
