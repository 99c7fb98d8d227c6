/* SPDX-License-Identifier: MIT */
#include "common/tests/promtool.h"

#include "common/tests/unit.h"

void
promtool_check(const char *text)
{
	if (system("command -v promtool >/dev/null") != 0)
		skip();
	FILE *promtool = popen("promtool check metrics", "w");
	assert_non_null(promtool);
	assert_int_equal(fputs(text, promtool) >= 0, 1);
	assert_int_equal(pclose(promtool), 0);
}
