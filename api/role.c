/* SPDX-License-Identifier: MIT */
#include "api/role.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/pg_query.h"

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)
#define LEASE "interval '" STRINGIFY(ROLE_LEASE_S) " s'"

#define TAKE_TIMEOUT_NS (5 * NS_PER_S)
#define KEEP_TIMEOUT_NS (1 * NS_PER_S)
#define RENEW_EVERY_NS (1 * NS_PER_S)

/* clang-format off */
static const struct pg_statement take = { "role_take",
	"INSERT INTO api_role (role, holder, expires_at)"
	" VALUES ($1, $2, now() + " LEASE ")"
	" ON CONFLICT (role) DO UPDATE SET holder = excluded.holder,"
	" expires_at = excluded.expires_at"
	" WHERE api_role.expires_at < now()"
	" OR api_role.holder = excluded.holder RETURNING role", 2 };

static const struct pg_statement leave = { "role_leave",
	"DELETE FROM api_role WHERE role = $1 AND holder = $2", 2 };
/* clang-format on */

static int
ask(struct role *role, const struct pg_statement *statement, int64_t timeout_ns,
	bool *ret_any, struct error *err)
{
	CLEANUP(pg_result_cleanup) PGresult *result = NULL;
	const char *const values[] = { role->name, role->holder };
	const struct pg_query query = { pg_write_pool(role->pg),
		clock_now_ns() + timeout_ns, statement, values };
	int rc = pg_query(&query, &result, err);

	if (rc == 0)
		*ret_any = PQntuples(result) > 0;
	return rc;
}

/* Its begin is ours: PostgreSQL's lease ends no earlier. */
static int
renew(struct role *role, int64_t timeout_ns, struct error *err)
{
	int64_t begun_ns = clock_now_ns();
	int rc = ask(role, &take, timeout_ns, &role->mine, err);

	if (rc == 0)
		role->ends_at_ns = begun_ns + ROLE_LEASE_S * NS_PER_S;
	else if (clock_now_ns() >= role->ends_at_ns)
		role->mine = false;
	role->renew_at_ns = clock_now_ns() + RENEW_EVERY_NS;
	return rc;
}

int
role_take(struct role *role, struct error *err)
{
	return renew(role, TAKE_TIMEOUT_NS, err);
}

int
role_keep(struct role *role, struct error *err)
{
	struct error ignored;

	if (clock_now_ns() < role->renew_at_ns)
		return 0;
	(void)renew(role, KEEP_TIMEOUT_NS, &ignored);
	if (role->mine)
		return 0;
	return error_set(err, ERROR_CANCELLED,
		"another api is the %s of all now", role->name);
}

void
role_leave(struct role *role)
{
	struct error ignored;
	bool any;

	if (role->mine)
		(void)ask(role, &leave, KEEP_TIMEOUT_NS, &any, &ignored);
	role->mine = false;
}
