/* SPDX-License-Identifier: MIT */
#include "common/compiler.h"
#include "common/error.h"
#include "common/problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const enum problem all[] = {
#define PROBLEM(code, ...) PROBLEM_##code,
#include "common/problem.def"
#undef PROBLEM
};

static void
every_problem_has_its_texts(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		const struct problem_info *p = problem_info(all[i]);

		assert_true(p->status >= 400 && p->status < 600);
		assert_true(*p->code != '\0' && *p->title != '\0');
		assert_true(*p->detail_en != '\0' && *p->advice != '\0');
		assert_true((unsigned char)p->detail_ko[0] >= 0x80);
		assert_null(strchr(p->detail_en, '|'));
	}
}

static void
types_are_uris_made_of_the_code(void **state UNUSED)
{
	assert_string_equal(problem_info(PROBLEM_SOLD_OUT)->type,
		"https://coupon.example/problems/sold-out");
	assert_string_equal(problem_info(PROBLEM_UNSUPPORTED_MEDIA_TYPE)->type,
		"https://coupon.example/problems/unsupported-media-type");
}

static void
every_kind_of_error_has_its_texts(void **state UNUSED)
{
#define X(kind, retry, text)                                                   \
	assert_string_equal(error_name(ERROR_##kind), #kind);                  \
	assert_string_equal(error_meaning(ERROR_##kind), text);                \
	assert_int_equal(error_is_retryable(ERROR_##kind), (retry));
	ERROR_KINDS(X)
#undef X
	assert_string_equal(error_name(ERROR_NONE), "NONE");
}

static void
language_follows_accept_language(void **state UNUSED)
{
	static const struct {
		const char *header;
		enum problem_language language;
	} rows[] = { { NULL, PROBLEM_EN }, { "", PROBLEM_EN },
		{ "*", PROBLEM_EN }, { "ko", PROBLEM_KO }, { "KO", PROBLEM_KO },
		{ "ko-KR", PROBLEM_KO },
		{ "ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", PROBLEM_KO },
		{ "en-US,en;q=0.9,ko;q=0.8", PROBLEM_EN },
		{ "en;q=0.5, ko;q=0.51", PROBLEM_KO },
		{ "en;q=0.5,ko;q=0.5", PROBLEM_EN },
		{ "ko;q=0.5,en;q=0.5", PROBLEM_KO }, { "ko;q=0", PROBLEM_EN },
		{ "ko ; q=0.1", PROBLEM_KO }, { "kok", PROBLEM_EN },
		{ "fr,de;q=0.9,ko;q=0.1", PROBLEM_KO },
		{ ",,;q=,ko", PROBLEM_KO }, { "ko;q", PROBLEM_KO },
		{ "en,ko;q=0.99999999999999999999999", PROBLEM_EN } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(
			problem_language(rows[i].header), rows[i].language);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_problem_has_its_texts),
		cmocka_unit_test(types_are_uris_made_of_the_code),
		cmocka_unit_test(every_kind_of_error_has_its_texts),
		cmocka_unit_test(language_follows_accept_language),
	};

	return cmocka_run_group_tests_name("problem", tests, NULL, NULL);
}
