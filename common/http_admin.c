/* SPDX-License-Identifier: MIT */
/*
 * DESIGN
 *
 * Wrong tokens cost their address time: each moves the moment until which it
 * is in debt FAILURE_NS further, and whoever is more than BURST of them in
 * debt is refused without a comparison, so that guessing goes no faster.
 * Addresses share a fixed table by hash; the price of a collision is that a
 * neighbour waits too.  Per process, bounded, no lock.
 */
#include "common/auth.h"
#include "common/http_request_internal.h"

#include <netinet/in.h>
#include <string.h>

#define SLOTS 1024
#define BURST 10
#define FAILURE_NS (6 * NS_PER_S) /* so 10 a minute */

static _Atomic int64_t debts[SLOTS]; /* in debt until, clock_now_ns() */

static _Atomic int64_t *
debt_of(const struct http_request *req)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		req->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *addr = info->client_addr;
	const unsigned char *bytes = NULL;
	size_t len = 0;
	uint32_t hash = 2166136261; /* FNV-1a */

	if (addr->sa_family == AF_INET) {
		bytes = (const void *)&((const struct sockaddr_in *)addr)
				->sin_addr;
		len = sizeof(struct in_addr);
	} else if (addr->sa_family == AF_INET6) {
		bytes = (const void *)&((const struct sockaddr_in6 *)addr)
				->sin6_addr;
		len = 8; /* a host has a whole /64 */
	}
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * 16777619;
	return &debts[hash % SLOTS];
}

static void
add_failure(_Atomic int64_t *debt, int64_t now_ns)
{
	int64_t until_ns = atomic_load(debt);
	int64_t next_ns;

	do
		next_ns = (until_ns < now_ns ? now_ns : until_ns) + FAILURE_NS;
	while (!atomic_compare_exchange_weak(debt, &until_ns, next_ns));
}

enum http_admin
http_admin_check(const struct http_request *req)
{
	const char *token = req->loop->server->config.admin_token;
	const char *header = req->headers.authorization;

	if (auth_check(token, NULL) == AUTH_OFF)
		return HTTP_ADMIN_OFF;
	if (header == NULL || req->mhd == NULL)
		return HTTP_ADMIN_MISSING;

	_Atomic int64_t *debt = debt_of(req);
	int64_t now_ns = clock_now_ns();
	if (atomic_load(debt) > now_ns + (BURST - 1) * FAILURE_NS)
		return HTTP_ADMIN_LIMITED;
	switch (auth_check(token, header)) {
	case AUTH_OK:
		return HTTP_ADMIN_OK;
	case AUTH_OFF:
		return HTTP_ADMIN_OFF;
	case AUTH_MISSING:
		return HTTP_ADMIN_MISSING;
	case AUTH_WRONG:
		break;
	}
	add_failure(debt, now_ns);
	return HTTP_ADMIN_WRONG;
}
