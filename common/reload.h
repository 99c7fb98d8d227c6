/* SPDX-License-Identifier: MIT */
/*
 * reload - one path for SIGHUP, POST /actuator/refresh and /actuator/env.
 *
 * Who asks over HTTP is put on a list and the lifecycle thread is woken; that
 * thread reads the configuration, has the daemon take over what is live, logs
 * what changed, and gives everybody on the list his answer through his loop.
 * So reloads never overlap, and no event loop waits for a file.
 */
#ifndef COMMON_RELOAD_H
#define COMMON_RELOAD_H

struct config;
struct http_request;
struct metrics_sink;
struct reload;
struct settings;

/* Take over what is live of the settings; on the lifecycle thread. */
typedef void reload_apply_fn(void *arg, const struct settings *settings);

/* `config` is borrowed.  Aborts when out of memory: this is start-up. */
struct reload *reload_new(struct config *config);
void reload_free(struct reload *reload); /* after the servers' end */

/*
 * The lifecycle thread, when it is told LIFECYCLE_RELOAD.  All or nothing: a
 * configuration that is refused changes nothing.
 */
void reload_run(struct reload *reload, reload_apply_fn *apply, void *arg);

/*
 * The lifecycle thread, before it stops the servers: who has asked and who
 * asks from now on is answered 503 DRAINING.
 */
void reload_stop(struct reload *reload);

/* A loop's thread: ask for a reload; the request is answered when it is done. */
void reload_request(struct reload *reload, struct http_request *req);

/*
 * The same, with `value` put over what the configuration says of `key`
 * (config_override(); both are copied); NULL: without all that was put over.
 */
void reload_override(struct reload *reload, struct http_request *req,
	const char *key, const char *value);

/*
 * Any thread: what is in force and where each value came from, secrets
 * masked, as the JSON of /actuator/configprops.  malloc'ed; NULL when out of
 * memory.
 */
char *reload_configprops(struct reload *reload);

/* coupon.config.reload; a metrics_collect_fn, `arg` is the reload. */
void reload_collect(void *arg, struct metrics_sink *sink);

#endif
