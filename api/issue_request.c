/* SPDX-License-Identifier: MIT */
#include "api/api.h"
#include "api/dispatch.h"
#include "api/issue_internal.h"
#include "api/reply.h"
#include "common/config.h"
#include "common/error.h"
#include "common/http.h"
#include "common/json.h"
#include "common/text.h"

#include <inttypes.h>
#include <jansson.h>

static int
parse_body(struct http_request *req, int64_t *ret_coupon, int64_t *ret_user,
	struct error *err)
{
	struct json_id ids[] = { { .name = "couponId" }, { .name = "userId" } };
	size_t len;
	const char *text = http_request_body(req, &len);
	struct json_t *body;

	if (json_scan_ids(text, len, ids, ARRAY_SIZE(ids))) {
		*ret_coupon = ids[0].value;
		*ret_user = ids[1].value;
		return 0;
	}
	int rc = json_body_parse(text, len, &body, err);
	if (rc != 0)
		return rc;
	rc = json_member_id(body, "couponId", ret_coupon, err);
	if (rc == 0)
		rc = json_member_id(body, "userId", ret_user, err);
	json_decref(body);
	return rc;
}

/*
 * Most requests are for the event that this memory served last: what was
 * printed then still stands.
 */
static void
fill_texts(struct issue *issue)
{
	int64_t outbox_limit = api_settings(issue->loop->api)->outbox_limit;

	if (issue->keys_of != issue->coupon_id) {
		event_keys_init(&issue->keys, issue->coupon_id);
		issue->keys_of = issue->coupon_id;
	}
	if (issue->outbox_limit_of != outbox_limit) {
		(void)snprintf(issue->outbox_limit, sizeof(issue->outbox_limit),
			"%" PRId64, outbox_limit);
		issue->outbox_limit_of = outbox_limit;
	}
	*text_put_int(issue->user, issue->user_id) = '\0';
}

/* Everything the request says; false: it was answered 400. */
bool
issue_fill(struct issue *issue, struct http_request *req)
{
	const char *key = http_request_header(req, "Idempotency-Key");
	const char *traceparent = http_request_traceparent(req);
	struct error err;

	if (parse_body(req, &issue->coupon_id, &issue->user_id, &err) != 0) {
		reply_bad_request(req, err.msg);
		return false;
	}
	issue->has_key = key != NULL;
	if (key == NULL) {
		request_id_generate(issue->request_id);
	} else if (!idempotency_key_parse(key, issue->request_id)) {
		reply_bad_request(req, IDEMPOTENCY_KEY_RULE);
		return false;
	}
	issue->traceparent[0] = '\0';
	if (traceparent != NULL)
		(void)snprintf(issue->traceparent, TRACEPARENT_SIZE, "%s",
			traceparent);
	fill_texts(issue);
	issue->deadline_ns = step_deadline_ns(req);
	return true;
}
