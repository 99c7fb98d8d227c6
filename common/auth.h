/* SPDX-License-Identifier: MIT */
/*
 * auth - is this `Authorization` header the admin token?
 */
#ifndef COMMON_AUTH_H
#define COMMON_AUTH_H

enum auth_result {
	AUTH_OK,
	AUTH_OFF,     /* no token is configured: 404 */
	AUTH_MISSING, /* 401 */
	AUTH_WRONG,   /* 403 */
};

/*
 * Compared in constant time.  No token (NULL, ""): off.  No header, or not of
 * the form "Bearer ...": missing.  Stateless; any thread.
 */
enum auth_result auth_check(const char *token, const char *authorization);

#endif
