/* SPDX-License-Identifier: MIT */
/*
 * What a fresh connection says before it is lent: one round trip, so that
 * opening costs two of them (TCP's and ours) also where Redis is far away.
 */
#include "common/error.h"
#include "common/redis.h"
#include "common/redis_conn.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdio.h>

/* A command of constant words. */
static int
send_words(struct redis_conn *conn, int argc, const char **words,
	struct error *err)
{
	size_t len[8];

	assert(argc <= (int)ARRAY_SIZE(len));
	for (int i = 0; i < argc; i++)
		len[i] = strlen(words[i]);
	return redis_send(conn, &(struct redis_args){ argc, words, len }, err);
}
#define SEND(conn, err, ...)                                                   \
	send_words(conn, (int)ARRAY_SIZE(((const char *[]){ __VA_ARGS__ })),   \
		(const char *[]){ __VA_ARGS__ }, err)

static bool
has_password(const struct redis_setup *setup)
{
	return setup->password != NULL && setup->password[0] != '\0';
}

static int
send_all(struct redis_conn *conn, const struct redis_setup *setup,
	struct error *err)
{
	int rc = 0;

	if (has_password(setup))
		rc = SEND(conn, err, "AUTH", setup->password);
	if (rc == 0)
		rc = SEND(conn, err, "INFO", "server");
	if (rc == 0)
		rc = SEND(conn, err, "INFO", "persistence");
	if (rc == 0)
		rc = SEND(conn, err, "CONFIG", "GET", "appendonly",
			"appendfsync", "maxmemory-policy");
	for (size_t i = 0; rc == 0 && i < setup->n_scripts; i++)
		rc = SEND(conn, err, "SCRIPT", "LOAD", setup->scripts[i].text);
	return rc;
}

/* "key:value\r\n" of INFO into buf; "" when it is not there or too long. */
static void
info_value(const char *info, const char *key, char *buf, size_t size)
{
	const size_t key_len = strlen(key);

	buf[0] = '\0';
	for (const char *line = info; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, key_len) != 0 || line[key_len] != ':')
			continue;

		const char *value = line + key_len + 1;
		size_t len = strcspn(value, "\r\n");

		if (len < size) {
			memcpy(buf, value, len);
			buf[len] = '\0';
		}
		return;
	}
}

/* True when CONFIG GET's pairs say that `key` has another value. */
static bool
config_differs(
	const struct redisReply *config, const char *key, const char *wanted)
{
	for (size_t i = 0; i + 1 < config->elements; i += 2) {
		if (strcmp(config->element[i]->str, key) == 0)
			return strcmp(config->element[i + 1]->str, wanted) != 0;
	}
	return false;
}

static int
receive_info(struct redis_conn *conn, int64_t deadline_ns,
	struct redis_facts *ret, struct error *err)
{
	struct redisReply *reply = NULL;
	char aof[8], loading[8];
	int rc = redis_receive(conn, deadline_ns, &reply, err);

	if (rc < 0)
		return rc;
	info_value(reply->str, "redis_version", ret->version,
		sizeof(ret->version));
	info_value(reply->str, "run_id", ret->run_id, sizeof(ret->run_id));
	freeReplyObject(reply);

	rc = redis_receive(conn, deadline_ns, &reply, err);
	if (rc < 0)
		return rc;
	info_value(reply->str, "aof_enabled", aof, sizeof(aof));
	info_value(reply->str, "loading", loading, sizeof(loading));
	freeReplyObject(reply);
	ret->could_forget = strcmp(aof, "1") != 0;
	if (strcmp(loading, "1") == 0)
		return error_set_code(err, ERROR_REDIS_ERROR, "LOADING",
			"redis: it is still loading its data");
	return 0;
}

/* Not allowed to ask is no failure: managed servers forbid CONFIG. */
static int
receive_config(struct redis_conn *conn, int64_t deadline_ns,
	struct redis_facts *ret, struct error *err)
{
	struct redisReply *reply = NULL;
	int rc = redis_receive(conn, deadline_ns, &reply, err);

	if (rc == -ERROR_REDIS_ERROR)
		return 0;
	if (rc < 0)
		return rc;
	ret->could_forget = ret->could_forget ||
			    config_differs(reply, "appendonly", "yes") ||
			    config_differs(reply, "appendfsync", "always");
	ret->could_evict =
		config_differs(reply, "maxmemory-policy", "noeviction");
	freeReplyObject(reply);
	return 0;
}

static int
receive_script(struct redis_conn *conn, int64_t deadline_ns,
	const struct redis_setup *setup, size_t i, struct error *err)
{
	struct redisReply *reply = NULL;
	int rc = redis_receive(conn, deadline_ns, &reply, err);

	if (rc < 0)
		return rc;
	if (reply->type != REDIS_REPLY_STRING ||
		reply->len != sizeof(setup->scripts[i].sha1) - 1)
		rc = error_set(err, ERROR_REDIS_ERROR,
			"redis: SCRIPT LOAD of %s did not return its SHA-1",
			setup->scripts[i].name);
	else
		setup->loaded(setup->ctx, i, reply->str);
	freeReplyObject(reply);
	return rc;
}

int
redis_conn_setup(struct redis_conn *conn, const struct redis_setup *setup,
	int64_t deadline_ns, struct redis_facts *ret, struct error *err)
{
	struct redisReply *ok = NULL;
	struct redis_facts facts = { 0 };
	int rc = send_all(conn, setup, err);

	if (rc == 0 && has_password(setup)) {
		rc = redis_receive(conn, deadline_ns, &ok, err);
		if (rc == 0)
			freeReplyObject(ok);
	}
	if (rc == 0)
		rc = receive_info(conn, deadline_ns, &facts, err);
	if (rc == 0)
		rc = receive_config(conn, deadline_ns, &facts, err);
	for (size_t i = 0; rc == 0 && i < setup->n_scripts; i++)
		rc = receive_script(conn, deadline_ns, setup, i, err);
	if (rc == 0)
		*ret = facts;
	return rc;
}
