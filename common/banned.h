/* SPDX-License-Identifier: MIT */
/*
 * banned - functions this project does not use become compile errors.
 *
 * Force-included into every file by the Makefile (-include), before any
 * system header, so the system headers are read first here.
 */
#ifndef COMMON_BANNED_H
#define COMMON_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

/* Macros of glibc's fortification under clang; a macro cannot be poisoned. */
#undef sprintf
#undef vsprintf

#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets
#pragma GCC poison atoi atol atoll atof
#pragma GCC poison usleep gmtime localtime ctime asctime

#endif
