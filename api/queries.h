/* SPDX-License-Identifier: MIT */
/*
 * queries - the GET requests: one request's status, a user's coupons, an
 * event, all events.
 *
 * What PostgreSQL knows is read by a worker, what Redis knows through the
 * loop's pipeline; a request belongs to its loop all the while.  Its memory
 * stays until it is replied to (common/http.h), so a query lives in it.
 */
#ifndef API_QUERIES_H
#define API_QUERIES_H

struct http_request;

void status_get(struct http_request *req); /* coupon_user */
void user_coupons_list(struct http_request *req);
void coupon_get(struct http_request *req);
void coupons_list(struct http_request *req);

#endif
