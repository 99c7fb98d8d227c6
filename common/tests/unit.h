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

#endif
