/* SPDX-License-Identifier: MIT */
#include "api/admission.h"

#include <stdlib.h>

struct admission {
	const struct settings *settings;
};

struct admission *
admission_new(const struct settings *settings, struct metrics *metrics UNUSED)
{
	struct admission *admission = calloc(1, sizeof(*admission));

	if (admission == NULL)
		abort();
	admission->settings = settings;
	return admission;
}

void
admission_free(struct admission *admission)
{
	free(admission);
}

void
admission_configure(
	struct admission *admission, const struct settings *settings)
{
	admission->settings = settings;
}

enum admission_verdict
admission_enter(struct admission *admission UNUSED,
	const struct admission_request *request UNUSED,
	struct admission_permit *ret)
{
	*ret = (struct admission_permit){ 0 };
	return ADMISSION_OK;
}

void
admission_report(struct admission *admission UNUSED,
	const struct admission_permit *permit UNUSED, int64_t now_ns UNUSED,
	enum breaker_outcome outcome UNUSED)
{
}

void
admission_forget(struct admission *admission UNUSED,
	const struct admission_permit *permit UNUSED)
{
}

void
admission_sold_out(struct admission *admission UNUSED,
	struct latch *latch UNUSED, int64_t coupon_id UNUSED,
	int64_t now_ns UNUSED)
{
}
