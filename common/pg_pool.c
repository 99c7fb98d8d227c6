/* SPDX-License-Identifier: MIT */
/* The typed face of the pool: PostgreSQL sessions by HikariCP's names. */
#include "common/clock.h"
#include "common/config.h"
#include "common/pg_internal.h"
#include "common/pool_admin.h"
#include "common/pool_metrics.h"

#include <poll.h>
#include <sys/eventfd.h>

#define MAX_OPENING 4
#define MAX_WAITERS 10000
#define RETRY_EVERY NS_PER_S

/* One server role: the primary, or the replica. */
struct pg_source {
	const char *name; /* of the pool, static */
	bool writable;
	int stop_fd; /* readable: no connect is worth waiting for */
	struct pg_target *target;
	struct pool_metrics *metrics;
	struct pool *pool;
	_Atomic int64_t evicted_ns; /* what is older has been replaced */
};

struct pg_pools {
	struct pg_source write, read;
	bool has_replica;
};

static int
source_open(void *ctx, int64_t deadline_ns, void **ret, struct error *err)
{
	struct pg_source *source = ctx;
	const struct pg_wait wait = { deadline_ns, source->stop_fd };
	struct pg_conn *conn = calloc(1, sizeof(*conn));
	int rc;

	if (conn == NULL)
		return error_set(err, ERROR_NO_MEMORY, "connect: no memory");
	conn->source = source;
	conn->opened_ns = clock_now_ns();
	rc = pg_connect(source->target, &wait, &conn->raw, err);
	if (rc != 0) {
		free(conn);
		return rc;
	}
	*ret = conn;
	return 0;
}

static void
source_close(void *ctx, void *resource)
{
	struct pg_conn *conn = resource;

	(void)ctx;
	PQfinish(conn->raw);
	free(conn);
}

/* An answer, and for the write pool the right one: still a primary. */
static int
source_check(void *ctx, void *resource, int64_t deadline_ns, struct error *err)
{
	const struct pg_source *source = ctx;
	const struct pg_wait wait = { deadline_ns, source->stop_fd };
	struct pg_conn *conn = resource;
	PGresult *result = NULL;
	const int rc = pg_command(conn, &wait, "", &result, err);
	const char *standby;

	PQclear(result);
	if (rc != 0)
		return rc;
	/* reported by the server whenever it changes (14 and later) */
	standby = PQparameterStatus(conn->raw, "in_hot_standby");
	if (source->writable && standby != NULL && strcmp(standby, "on") == 0)
		return error_set(err, ERROR_DATABASE_DOWN,
			"%s: the server is a standby now", source->name);
	return 0;
}

static const struct pool_methods source_methods = {
	.open = source_open,
	.close = source_close,
	.check = source_check,
};

void
pg_source_failed(struct pg_conn *conn, const struct error *err)
{
	struct pg_source *source = conn->source;
	int64_t evicted;

	if (source == NULL) /* a connect that is not over */
		return;
	evicted = atomic_load(&source->evicted_ns);
	/* thirty borrowers notice the same failover: one of them acts */
	if (conn->opened_ns > evicted &&
		atomic_compare_exchange_strong(
			&source->evicted_ns, &evicted, clock_now_ns()))
		pool_evict_all(source->pool, err->msg);
}

static struct pool_config
pool_config_of(const struct settings *settings, const char *name)
{
	const size_t max = (size_t)settings->datasource_maximum_pool_size;

	return (struct pool_config){
		.name = name,
		.max_active = max,
		.max_idle = max, /* HikariCP has no other limit */
		.min_idle = (size_t)settings->datasource_minimum_idle,
		.max_waiters = MAX_WAITERS,
		.max_opening = MAX_OPENING,
		.max_wait_ns = settings->datasource_connection_timeout_ns,
		.connect_timeout_ns =
			settings->datasource_connection_timeout_ns,
		.validation_timeout_ns =
			settings->datasource_validation_timeout_ns,
		.max_lifetime_ns = settings->datasource_max_lifetime_ns,
		.idle_timeout_ns = settings->datasource_idle_timeout_ns,
		.keepalive_ns = settings->datasource_keepalive_time_ns,
		.leak_threshold_ns =
			settings->datasource_leak_detection_threshold_ns,
	};
}

/* initialization-fail-timeout: connect once before the start goes on. */
static int
first_connect(struct pg_source *source, int64_t timeout_ns, struct error *err)
{
	const int64_t limit = clock_now_ns() + timeout_ns;
	void *conn = NULL;
	int rc = source_open(source, limit, &conn, err);

	while (rc != 0 && clock_now_ns() < limit) {
		const int64_t again = clock_now_ns() + RETRY_EVERY;

		(void)poll(NULL, 0,
			clock_poll_timeout_ms(again < limit ? again : limit));
		rc = source_open(source, limit, &conn, err);
	}
	if (conn != NULL)
		source_close(source, conn);
	return rc;
}

static int
source_init(struct pg_source *source, const char *uri, const char *application,
	const struct settings *settings, struct error *err)
{
	source->target = pg_target_new(uri, settings->datasource_password,
		application, source->writable);
	/* libpq's own message would repeat the URI, password and all */
	if (source->target == NULL)
		return error_set(err, ERROR_CONFIG_INVALID,
			"%s is not a PostgreSQL URI",
			source->writable ? "datasource.url"
					 : "datasource.replica-url");
	source->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (source->stop_fd < 0)
		return error_set(err, ERROR_SYSTEM, "eventfd: %m");
	if (source->writable &&
		settings->datasource_initialization_fail_timeout_ns > 0)
		return first_connect(source,
			settings->datasource_initialization_fail_timeout_ns,
			err);
	return 0;
}

static void
source_start(struct pg_source *source, const struct settings *settings,
	struct metrics *metrics)
{
	const struct pool_config config =
		pool_config_of(settings, source->name);

	source->metrics =
		pool_metrics_new(metrics, POOL_METRICS_HIKARI, source->name);
	source->pool = pool_new(&config, &source_methods, source,
		pool_metrics_observer(source->metrics));
	pool_metrics_attach(source->metrics, source->pool);
}

/* Also of one that source_init() gave up half-way. */
static void
source_fini(struct pg_source *source)
{
	if (source->pool != NULL) {
		(void)eventfd_write(source->stop_fd, 1);
		pool_metrics_detach(source->metrics);
		pool_free(source->pool);
		pool_metrics_free(source->metrics);
	}
	if (source->stop_fd >= 0)
		(void)close(source->stop_fd);
	pg_target_free(source->target);
}

int
pg_pools_new(const struct settings *settings, const char *application,
	struct metrics *metrics, struct pg_pools **ret, struct error *err)
{
	struct pg_pools *pools = calloc(1, sizeof(*pools));
	int rc;

	if (pools == NULL)
		abort();
	pools->write = (struct pg_source){
		.name = "postgres",
		.writable = true,
		.stop_fd = -1,
	};
	pools->read = (struct pg_source){
		.name = "postgres-read",
		.stop_fd = -1,
	};
	pools->has_replica = *settings->datasource_replica_url != '\0';
	rc = source_init(&pools->write, settings->datasource_url, application,
		settings, err);
	if (rc == 0 && pools->has_replica)
		rc = source_init(&pools->read, settings->datasource_replica_url,
			application, settings, err);
	if (rc != 0) {
		pg_pools_free(pools);
		return rc;
	}
	source_start(&pools->write, settings, metrics);
	if (pools->has_replica)
		source_start(&pools->read, settings, metrics);
	*ret = pools;
	return 0;
}

void
pg_pools_free(struct pg_pools *pools)
{
	if (pools == NULL)
		return;
	source_fini(&pools->read);
	source_fini(&pools->write);
	free(pools);
}

bool
pg_pools_drain(struct pg_pools *pools, int64_t deadline_ns)
{
	bool all = pool_drain(pools->write.pool, deadline_ns);

	if (pools->has_replica)
		all = pool_drain(pools->read.pool, deadline_ns) && all;
	return all;
}

void
pg_pools_configure(struct pg_pools *pools, const struct settings *settings)
{
	struct pool_config config = pool_config_of(settings, pools->write.name);

	pool_configure(pools->write.pool, &config);
	if (!pools->has_replica)
		return;
	config.name = pools->read.name;
	pool_configure(pools->read.pool, &config);
}

struct pool *
pg_write_pool(struct pg_pools *pools)
{
	return pools->write.pool;
}

struct pool *
pg_read_pool(struct pg_pools *pools)
{
	return pools->has_replica ? pools->read.pool : pools->write.pool;
}

bool
pg_pools_has_replica(const struct pg_pools *pools)
{
	return pools->has_replica;
}
