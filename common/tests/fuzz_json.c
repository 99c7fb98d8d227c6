/* SPDX-License-Identifier: MIT */
/*
 * fuzz_json - bodies of requests: parsing, members, and that what we write
 * from what was read can be read again.
 */
#include "common/error.h"
#include "common/http_check.h"
#include "common/json.h"

#include <jansson.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool condition)
{
	if (!condition)
		abort();
}

static void
write_again(const char *text)
{
	char buf[256];
	struct json_text out;
	struct error err;
	json_t *json;

	json_text_init(&out, buf, sizeof(buf));
	json_text_member(&out, "name", text);
	size_t len = json_text_end(&out);
	must(json_body_parse(buf, len, &json, &err) == 0);
	json_decref(json);
}

/* What the scan takes, the parser takes as well, with the same values. */
static void
scan(const char *body, size_t len)
{
	struct json_id ids[] = { { .name = "couponId" }, { .name = "userId" } };
	struct error err;
	json_t *json;
	int64_t id;

	if (!json_scan_ids(body, len, ids, 2))
		return;
	must(json_body_parse(body, len, &json, &err) == 0);
	for (size_t i = 0; i < 2; i++) {
		must(json_member_id(json, ids[i].name, &id, &err) == 0);
		must(id == ids[i].value);
	}
	json_decref(json);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;
	json_t *json;
	const char *name;
	int64_t id;

	scan((const char *)data, size);
	if (json_body_parse((const char *)data, size, &json, &err) < 0)
		return 0;
	must(http_is_utf8((const char *)data, size));
	if (json_member_id(json, "couponId", &id, &err) == 0)
		must(id >= 1);
	if (json_member_int(json, "total", (struct json_range){ 1, INT32_MAX },
		    &id, &err) == 0)
		must(id >= 1 && id <= INT32_MAX);
	if (json_member_text(json, "name", (struct json_range){ 1, 100 }, &name,
		    &err) == 0)
		write_again(name);
	json_decref(json);
	return 0;
}
