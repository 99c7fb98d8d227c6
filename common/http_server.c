/* SPDX-License-Identifier: MIT */
#include "common/clock.h"
#include "common/config.h"
#include "common/error.h"
#include "common/http_request_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool
http_server_serves(
	const struct http_config *config, const struct http_route *route)
{
	switch (config->serve) {
	case HTTP_SERVE_ALL:
		return true;
	case HTTP_SERVE_BUSINESS:
		return (route->flags & HTTP_MANAGEMENT) == 0;
	case HTTP_SERVE_MANAGEMENT:
		return (route->flags & HTTP_MANAGEMENT) != 0;
	}
	return false;
}

struct http_config
http_config_of(const struct settings *settings)
{
	return (struct http_config){
		.address = settings->server_address,
		.port = (uint16_t)settings->server_port,
		.threads = 1,
		.max_connections = (unsigned)settings->server_max_connections,
		.idle_timeout_s =
			(unsigned)(settings->server_idle_timeout_ns / NS_PER_S),
		.max_body_size = (size_t)settings->server_max_body_size,
		.request_timeout_ns = settings->server_request_timeout_ns,
		.access_log_sample =
			(unsigned)settings->server_access_log_sample,
		.admin_token = settings->admin_token,
		.cors_origins = settings->management_cors_allowed_origins,
		.thread_name = "http",
		.serve = HTTP_SERVE_ALL,
	};
}

static struct router *
make_router(const struct http_config *config)
{
	return router_new(config->routes, config->n_routes,
		config->serve == HTTP_SERVE_MANAGEMENT ? HTTP_MANAGEMENT : 0,
		config->serve == HTTP_SERVE_BUSINESS ? HTTP_MANAGEMENT : 0);
}

static void
server_free(struct http_server *server)
{
	for (unsigned i = 0; i < server->n_loops; i++)
		http_loop_fini(&server->loops[i]);
	free(server->loops);
	http_meters_free(server->meters);
	router_free(server->router);
	cond_fini(&server->started);
	mutex_fini(&server->lock);
	free(server);
}

static int
init_parts(struct http_server *server, struct error *err)
{
	const struct http_config *config = &server->config;

	server->router = make_router(config);
	/* struct http_loop is aligned to cache lines */
	server->loops = aligned_alloc(_Alignof(struct http_loop),
		config->threads * sizeof(server->loops[0]));
	if (server->router == NULL || server->loops == NULL)
		return error_set(
			err, ERROR_NO_MEMORY, "no memory for a server");
	memset(server->loops, 0, config->threads * sizeof(server->loops[0]));
	for (unsigned i = 0; i < config->threads; i++) {
		server->n_loops++;
		int rc = http_loop_init(&server->loops[i], server, i, err);
		if (rc < 0)
			return rc;
	}
	server->meters = http_meters_new(server);
	if (server->meters == NULL)
		return error_set(
			err, ERROR_NO_MEMORY, "no memory for a server");
	return 0;
}

/* The threads [0, n) end and are joined. */
static void
join_threads(struct http_server *server, unsigned n)
{
	atomic_store_explicit(&server->stopping, true, memory_order_release);
	for (unsigned i = 0; i < n; i++)
		http_loop_wake(&server->loops[i]);
	for (unsigned i = 0; i < n; i++)
		(void)pthread_join(server->loops[i].thread, NULL);
}

static int
start_threads(struct http_server *server, struct error *err)
{
	for (unsigned i = 0; i < server->n_loops; i++) {
		int rc = pthread_create(&server->loops[i].thread, NULL,
			http_loop_thread, &server->loops[i]);
		if (rc != 0) {
			join_threads(server, i);
			return error_set(err, ERROR_SYSTEM,
				"cannot start a thread: %s",
				strerrordesc_np(rc));
		}
	}
	mutex_lock(&server->lock);
	while (server->n_started < server->n_loops)
		cond_wait(&server->started, &server->lock);
	mutex_unlock(&server->lock);
	return 0;
}

int
http_server_start(const struct http_config *config, struct http_server **ret,
	struct error *err)
{
	assert(config->threads >= 1 && config->metrics != NULL);
	int rc = http_listen_probe(config, err);
	if (rc < 0)
		return rc;
	struct http_server *server = calloc(1, sizeof(*server));
	if (server == NULL)
		return error_set(
			err, ERROR_NO_MEMORY, "no memory for a server");
	server->config = *config;
	atomic_init(&server->request_timeout_ns, config->request_timeout_ns);
	atomic_init(&server->access_log_sample, config->access_log_sample);
	mutex_init(&server->lock);
	cond_init(&server->started);
	rc = init_parts(server, err);
	if (rc == 0)
		rc = start_threads(server, err);
	if (rc < 0) {
		server_free(server);
		return rc;
	}
	*ret = server;
	return 0;
}

void
http_server_configure(struct http_server *server, int64_t request_timeout_ns,
	unsigned access_log_sample)
{
	atomic_store(&server->request_timeout_ns, request_timeout_ns);
	atomic_store(&server->access_log_sample, access_log_sample);
}

static void
set_and_wake(struct http_server *server, _Atomic bool *flag)
{
	atomic_store(flag, true);
	for (unsigned i = 0; i < server->n_loops; i++)
		http_loop_wake(&server->loops[i]);
}

void
http_server_drain(struct http_server *server)
{
	set_and_wake(server, &server->draining);
}

void
http_server_quiesce(struct http_server *server)
{
	set_and_wake(server, &server->quiescing);
}

bool
http_server_is_drained(const struct http_server *server)
{
	/* In this order: who accepts one counts it before he is done. */
	return atomic_load(&server->listening) == 0 &&
	       atomic_load(&server->connections) == 0;
}

size_t
http_server_in_flight(const struct http_server *server)
{
	size_t sum = 0;

	for (unsigned i = 0; i < server->n_loops; i++)
		sum += atomic_load_explicit(
			&server->loops[i].in_flight, memory_order_relaxed);
	return sum;
}

int64_t
http_server_stalled_ns(const struct http_server *server)
{
	int64_t now_ns = clock_now_ns();
	int64_t longest_ns = 0;

	for (unsigned i = 0; i < server->n_loops; i++) {
		int64_t since_ns = atomic_load_explicit(
			&server->loops[i].busy_since_ns, memory_order_relaxed);

		if (since_ns != 0 && now_ns - since_ns > longest_ns)
			longest_ns = now_ns - since_ns;
	}
	return longest_ns;
}

void
http_server_stop(struct http_server *server)
{
	if (server == NULL)
		return;
	join_threads(server, server->n_loops);
	server_free(server);
}
