/* SPDX-License-Identifier: MIT */
#include "api/reply.h"

#include "common/error.h"
#include "common/http.h"
#include "common/jitter.h"
#include "common/text.h"

#include <inttypes.h>

void
reply_bad_request(struct http_request *req, const char *note)
{
	const struct problem_detail detail = { .note = note };

	http_reply_problem(req, PROBLEM_BAD_REQUEST, &detail);
}

void
reply_not_found(struct http_request *req, enum problem problem)
{
	const struct problem_detail detail = { 0 };

	http_reply_problem(req, problem, &detail);
}

void
reply_unavailable(
	struct http_request *req, const char *reason, const char *outcome)
{
	const struct problem_detail detail = {
		.reason = reason,
		.outcome = outcome,
		.retry_after_s = jitter_retry_after_s(),
	};

	http_reply_problem(req, PROBLEM_SERVICE_UNAVAILABLE, &detail);
}

void
reply_location(struct http_request *req, int64_t coupon_id, int64_t user_id,
	const char *request_id)
{
	char location[REQUEST_ID_MAX + 96];
	char *at = TEXT_PUT(location, "/api/user-coupons/");

	at = text_put_int(at, coupon_id);
	at = text_put_int(TEXT_PUT(at, "/"), user_id);
	at = TEXT_PUT(at, "?requestId=");
	at = text_put(at, request_id, strnlen(request_id, REQUEST_ID_MAX));
	*at = '\0';
	http_reply_header(req, "Location", location);
}

int
parse_id(const char *text, int64_t *ret)
{
	int64_t value = 0;

	if (*text < '1' || *text > '9')
		return -ERROR_BAD_INPUT;
	for (const char *p = text; *p != '\0'; p++)
		if (*p < '0' || *p > '9' ||
			__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, *p - '0', &value))
			return -ERROR_BAD_INPUT;
	*ret = value;
	return 0;
}

bool
idempotency_key_parse(const char *header, char ret[REQUEST_ID_MAX + 1])
{
	size_t len = strlen(header);

	if (len >= 2 && header[0] == '"' && header[len - 1] == '"') {
		header++;
		len -= 2;
	}
	if (!request_id_is_valid(header, len))
		return false;
	memcpy(ret, header, len);
	ret[len] = '\0';
	return true;
}
