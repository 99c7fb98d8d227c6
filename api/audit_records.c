/* SPDX-License-Identifier: MIT */
#include "api/audit_records.h"

#include <stdlib.h>
#include <string.h>

/* uthash's macros are long in themselves. */
/* NOLINTBEGIN(readability-function-size,readability-function-cognitive-complexity) */

enum { KEY_SIZE = sizeof(int64_t) + REQUEST_ID_MAX + 1 };

static size_t
key_of(const struct message *message, char key[KEY_SIZE])
{
	size_t len = strlen(message->request_id);

	memcpy(key, &message->user_id, sizeof(message->user_id));
	memcpy(key + sizeof(message->user_id), message->request_id, len);
	return sizeof(message->user_id) + len;
}

struct audit_request *
audit_records_find(
	const struct audit_records *records, const struct message *message)
{
	char key[KEY_SIZE];
	size_t len = key_of(message, key);
	struct audit_request *found;

	HASH_FIND(hh, records->requests, key, len, found);
	return found;
}

static struct audit_user *
provide_user(struct audit_records *records, int64_t user_id)
{
	struct audit_user *user;

	HASH_FIND(hh, records->users, &user_id, sizeof(user_id), user);
	if (user != NULL)
		return user;
	user = calloc(1, sizeof(*user));
	if (user == NULL)
		return NULL;
	user->id = user_id;
	HASH_ADD(hh, records->users, id, sizeof(user->id), user);
	return user;
}

struct audit_request *
audit_records_provide(
	struct audit_records *records, const struct message *message)
{
	struct audit_request *request = audit_records_find(records, message);
	char key[KEY_SIZE];

	if (request == NULL) {
		size_t len = key_of(message, key);

		request = calloc(1, sizeof(*request) + len + 1);
		if (request == NULL)
			return NULL;
		memcpy(request->key, key, len);
		HASH_ADD_KEYPTR(
			hh, records->requests, request->key, len, request);
		request->user = provide_user(records, message->user_id);
	}
	if (request->accepted_at_ms == 0)
		request->accepted_at_ms = message->accepted_at_ms;
	return request->user == NULL ? NULL : request;
}

void
audit_records_fini(struct audit_records *records)
{
	struct audit_request *request = records->requests;
	struct audit_user *user = records->users;

	/* Their tables first: what remains are two lists. */
	HASH_CLEAR(hh, records->requests);
	HASH_CLEAR(hh, records->users);
	while (request != NULL) {
		struct audit_request *next = request->hh.next;

		free(request);
		request = next;
	}
	while (user != NULL) {
		struct audit_user *next = user->hh.next;

		free(user);
		user = next;
	}
}

/* NOLINTEND(readability-function-size,readability-function-cognitive-complexity) */

void
audit_request_id(
	const struct audit_request *request, char buf[REQUEST_ID_MAX + 1])
{
	size_t len = request->hh.keylen - sizeof(int64_t);

	memcpy(buf, request->key + sizeof(int64_t), len);
	buf[len] = '\0';
}
