/* SPDX-License-Identifier: MIT */
/*
 * version - the release this tree is; the Makefile reads it from here.
 */
#ifndef COMMON_VERSION_H
#define COMMON_VERSION_H

#define COUPON_VERSION "0.1.0"

#endif
