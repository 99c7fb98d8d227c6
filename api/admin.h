/* SPDX-License-Identifier: MIT */
/*
 * admin - the requests that make and change events.
 *
 * PostgreSQL first, then Redis; what Redis does not take now, the upkeep
 * brings to it later.  Each may be repeated: the second time nothing changes
 * and the answer is the event as it is.
 */
#ifndef API_ADMIN_H
#define API_ADMIN_H

struct http_request;

void coupon_post(struct http_request *req);
void coupon_open_post(struct http_request *req);
void coupon_close_post(struct http_request *req);
void coupon_total_put(struct http_request *req);

#endif
