/* SPDX-License-Identifier: MIT */
/*
 * unit - cmocka with the headers it wants before it, in the order it wants.
 */
#ifndef COMMON_TESTS_UNIT_H
#define COMMON_TESTS_UNIT_H

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

/* gcc says it by macros of its own, clang by features. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||           \
	__has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNIT_SANITIZED 1
#else
#define UNIT_SANITIZED 0
#endif

#endif
