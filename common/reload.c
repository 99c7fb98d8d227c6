/* SPDX-License-Identifier: MIT */
#include "common/reload.h"

#include "common/actuator_internal.h"
#include "common/audit.h"
#include "common/config.h"
#include "common/error.h"
#include "common/http.h"
#include "common/lifecycle.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/sync.h"

#include <jansson.h>

/* Somebody who asked over HTTP, and his answer. */
struct asker {
	struct asker *next;
	struct http_post post;
	struct http_request *req;
	char remote[HTTP_REMOTE_SIZE];
	bool overrides; /* he has one to put, or (no key) all to take away */
	char *key;
	char *value;
	char *text; /* what changed; NULL: err says why nothing did */
	struct error err;
};

static const struct metric_family reloads_family METRIC_FAMILY = {
	.name = "coupon.config.reload",
	.kind = METRIC_COUNTER,
	.description = "Times the configuration was read again, by what came "
		       "of it.",
	.tags = "outcome",
};

enum outcome { CHANGED, UNCHANGED, REFUSED, OUTCOMES };
static const char *const outcomes[OUTCOMES] = { "changed", "unchanged",
	"refused" };

struct reload {
	struct config *config;
	_Atomic uint64_t counts[OUTCOMES];
	struct mutex lock;
	struct locked { /* only through locked() */
		struct asker *askers;
		bool stopped;
		char *configprops;
	} locked_;
};

static struct locked *locked(struct reload *reload) REQUIRES(reload->lock);

static struct locked *
locked(struct reload *reload)
{
	return &reload->locked_;
}

/* ---- /actuator/configprops ---- */

/* "redis.pool.max-idle" goes into the bean "redis", as "pool.max-idle". */
static void
add_property(void *arg, const char *key, const char *value, const char *origin)
{
	json_t *beans = arg;
	const char *dot = strchr(key, '.');
	char prefix[64];

	(void)snprintf(prefix, sizeof(prefix), "%.*s", (int)(dot - key), key);
	json_t *bean = json_object_get(beans, prefix);
	if (bean == NULL) {
		bean = json_pack("{s:s, s:{}, s:{}}", "prefix", prefix,
			"properties", "inputs");
		(void)json_object_set_new(beans, prefix, bean);
	}
	(void)json_object_set_new(json_object_get(bean, "properties"), dot + 1,
		json_string(value));
	(void)json_object_set_new(json_object_get(bean, "inputs"), dot + 1,
		json_pack("{s:s, s:s}", "value", value, "origin", origin));
}

/* config_each() belongs to this thread: leave its word for the others. */
static void
publish_configprops(struct reload *reload)
{
	json_t *beans = json_object();

	config_each(reload->config, add_property, beans);
	json_t *json = json_pack(
		"{s:{s:{s:o}}}", "contexts", "application", "beans", beans);
	char *text = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	mutex_lock(&reload->lock);
	char *before = locked(reload)->configprops;
	locked(reload)->configprops = text;
	mutex_unlock(&reload->lock);
	free(before);
}

char *
reload_configprops(struct reload *reload)
{
	mutex_lock(&reload->lock);
	const char *text = locked(reload)->configprops;
	char *copy = text != NULL ? strdup(text) : NULL;
	mutex_unlock(&reload->lock);
	return copy;
}

/* ---- answers ---- */

static void
answer(struct http_post *post)
{
	struct asker *asker = container_of(post, struct asker, post);
	const char *reason =
		asker->err.kind == ERROR_CLOSED ? "DRAINING" : NULL;

	if (asker->text != NULL)
		actuator_reply_text(asker->req, asker->text);
	else if (asker->err.kind == ERROR_CONFIG_INVALID)
		http_reply_problem(asker->req, PROBLEM_CONFIG_INVALID,
			&(struct problem_detail){ .note = asker->err.msg });
	else
		http_reply_problem(asker->req, PROBLEM_SERVICE_UNAVAILABLE,
			&(struct problem_detail){
				.reason = reason, .outcome = "REFUSED" });
	free(asker->key);
	free(asker->value);
	free(asker);
}

/* `text` NULL: refused, as `err` says. */
static void
answer_all(struct asker *askers, const char *text, const struct error *err)
{
	while (askers != NULL) {
		struct asker *asker = askers;

		askers = asker->next;
		if (text != NULL)
			asker->text = must(strdup(text));
		else
			asker->err = *err;
		asker->post.fn = answer;
		http_loop_post(http_request_loop(asker->req), &asker->post);
	}
}

/* Takes the asker, who is still to be told from whom he comes. */
static void
enlist(struct reload *reload, struct asker *asker, struct http_request *req)
{
	asker->req = req;
	http_request_remote(req, asker->remote);
	mutex_lock(&reload->lock);
	const bool stopped = locked(reload)->stopped;
	if (!stopped) {
		asker->next = locked(reload)->askers;
		locked(reload)->askers = asker;
	}
	mutex_unlock(&reload->lock);
	if (!stopped) {
		lifecycle_request_reload();
		return;
	}
	asker->err.kind = ERROR_CLOSED;
	answer(&asker->post);
}

void
reload_request(struct reload *reload, struct http_request *req)
{
	enlist(reload, must(calloc(1, sizeof(struct asker))), req);
}

void
reload_override(struct reload *reload, struct http_request *req,
	const char *key, const char *value)
{
	struct asker *asker = must(calloc(1, sizeof(*asker)));

	asker->overrides = true;
	if (key != NULL) {
		asker->key = must(strdup(key));
		asker->value = must(strdup(value));
	}
	enlist(reload, asker, req);
}

/* ---- the lifecycle thread ---- */

static struct asker *
take_askers(struct reload *reload, bool stop)
{
	mutex_lock(&reload->lock);
	struct asker *askers = locked(reload)->askers;
	locked(reload)->askers = NULL;
	locked(reload)->stopped = stop;
	mutex_unlock(&reload->lock);
	return askers;
}

struct tally {
	const struct config_changes *changes;
	json_int_t unchanged;
};

static void
count_unchanged(
	void *arg, const char *key, const char *value, const char *origin)
{
	struct tally *tally = arg;

	(void)value;
	(void)origin;
	for (size_t i = 0; i < tally->changes->count; i++) {
		if (strcmp(tally->changes->items[i].key, key) == 0)
			return;
	}
	tally->unchanged++;
}

/* The `refresh` of docs/architecture.md, malloc'ed. */
static char *
describe(const struct config *config, const struct config_changes *changes)
{
	struct tally tally = { .changes = changes };
	json_t *changed = json_array();
	json_t *restart = json_array();

	for (size_t i = 0; i < changes->count; i++) {
		const struct config_change *change = &changes->items[i];

		if (change->live)
			(void)json_array_append_new(changed,
				json_pack("{s:s, s:s, s:s}", "key", change->key,
					"from", change->from, "to",
					change->to));
		else
			(void)json_array_append_new(
				restart, json_string(change->key));
	}
	config_each(config, count_unchanged, &tally);
	json_t *json = json_pack("{s:o, s:I, s:o}", "changed", changed,
		"unchanged", tally.unchanged, "needsRestart", restart);
	char *text = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	return must(text);
}

static const char *
who(const struct asker *asker)
{
	return asker == NULL ? "SIGHUP" : asker->remote;
}

/* One line per change, and one for the reload itself: the audit. */
static void
log_changes(const struct asker *asker, const struct config_changes *changes)
{
	for (size_t i = 0; i < changes->count; i++) {
		const struct config_change *change = &changes->items[i];
		const char *effect = change->live ? "now" : "after a restart";
		const struct log_field fields[LOG_FIELDS_MAX] = {
			LOG_STR("key", change->key),
			LOG_STR("from", change->from),
			LOG_STR("to", change->to),
			LOG_STR("effect", effect),
		};

		log_write(
			NULL, LOG_LEVEL_INFO, "configuration changed", fields);
	}
	const bool overrides = asker != NULL && asker->overrides;
	const char *key = overrides ? asker->key : NULL;

	audit(who(asker), overrides ? "override" : "refresh",
		key != NULL ? key : "configuration",
		changes->count > 0 ? "changed" : "unchanged");
}

/* A level that an operator set stays until the file says another. */
static void
take_log_level(const struct settings *before, const struct settings *now)
{
	enum log_level level;

	if (strcmp(before->logging_level, now->logging_level) != 0 &&
		log_level_parse(now->logging_level, &level))
		log_set_level(level);
}

static int
read_again(struct reload *reload, const struct asker *asker,
	const struct settings **ret, struct config_changes *ret_changes,
	struct error *err)
{
	if (asker == NULL || !asker->overrides)
		return config_reload(reload->config, ret, ret_changes, err);
	const struct config_assignment assignment = { asker->key,
		asker->value };

	return config_override(
		reload->config, &assignment, ret, ret_changes, err);
}

/* All of `askers` (NULL: SIGHUP) ask for what the first of them does. */
static void
run(struct reload *reload, struct asker *askers, reload_apply_fn *apply,
	void *arg)
{
	const struct settings *before = config_settings(reload->config);
	const struct settings *settings;
	struct config_changes changes;
	struct error err;

	if (read_again(reload, askers, &settings, &changes, &err) != 0) {
		atomic_fetch_add(&reload->counts[REFUSED], 1);
		LOG_ERROR("configuration refused, nothing has changed",
			LOG_STR("by", who(askers)), LOG_ERR(&err));
		answer_all(askers, NULL, &err);
		return;
	}
	take_log_level(before, settings);
	apply(arg, settings);
	atomic_fetch_add(
		&reload->counts[changes.count > 0 ? CHANGED : UNCHANGED], 1);
	publish_configprops(reload);
	log_changes(askers, &changes);
	char *text = describe(reload->config, &changes);
	answer_all(askers, text, NULL);
	free(text);
}

/* Moves who has an override to *ret, in the order in which they came. */
static void
split(struct asker **askers, struct asker **ret)
{
	for (struct asker **at = askers; *at != NULL;) {
		struct asker *asker = *at;

		if (!asker->overrides) {
			at = &asker->next;
			continue;
		}
		*at = asker->next;
		asker->next = *ret; /* the list has the latest first */
		*ret = asker;
	}
}

void
reload_run(struct reload *reload, reload_apply_fn *apply, void *arg)
{
	struct asker *askers = take_askers(reload, false);
	struct asker *overriding = NULL;

	split(&askers, &overriding);
	/* An override reads the sources too: nobody needs a SIGHUP besides. */
	if (askers != NULL || overriding == NULL)
		run(reload, askers, apply, arg);
	while (overriding != NULL) {
		struct asker *asker = overriding;

		overriding = asker->next;
		asker->next = NULL;
		run(reload, asker, apply, arg);
	}
}

void
reload_stop(struct reload *reload)
{
	const struct error err = { .kind = ERROR_CLOSED };

	answer_all(take_askers(reload, true), NULL, &err);
}

void
reload_collect(void *arg, struct metrics_sink *sink)
{
	struct reload *reload = arg;

	for (size_t i = 0; i < OUTCOMES; i++)
		metrics_emit(sink, &reloads_family,
			METRIC_TAGS({ "outcome", outcomes[i] }),
			(double)atomic_load(&reload->counts[i]));
}

struct reload *
reload_new(struct config *config)
{
	struct reload *reload = must(calloc(1, sizeof(*reload)));

	reload->config = config;
	mutex_init(&reload->lock);
	publish_configprops(reload);
	return reload;
}

void
reload_free(struct reload *reload)
{
	if (reload == NULL)
		return;
	mutex_fini(&reload->lock);
	free(reload->locked_.configprops);
	free(reload);
}
