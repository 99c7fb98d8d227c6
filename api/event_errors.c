/* SPDX-License-Identifier: MIT */
#include "api/event_errors.h"

#include "common/redis.h"

#include <inttypes.h>

int
event_errors_note(struct event_errors *errors, int64_t coupon_id, int rc,
	const struct error *err)
{
	if (rc != -ERROR_REDIS_ERROR || redis_refuses_all(err))
		return rc;
	if (errors->first.kind == ERROR_NONE)
		(void)error_set_code(&errors->first, err->kind, err->code,
			"event %" PRId64 ": %s", coupon_id, err->msg);
	return 0;
}

int
event_errors_end(const struct event_errors *errors, int rc, struct error *err)
{
	if (rc != 0 || errors->first.kind == ERROR_NONE)
		return rc;
	*err = errors->first;
	return -(int)err->kind;
}
