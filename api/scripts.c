/* SPDX-License-Identifier: MIT */
#include "api/scripts.h"

#include "common/embed.h"
#include "common/error.h"
#include "common/text.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <string.h>

#define X(id, file, keys) EMBED(script_##file##_lua, "api/" #file ".lua");
SCRIPTS(X)
#undef X

struct redis_script scripts[SCRIPTS_COUNT] = {
#define X(id, file, keys)                                                      \
	[SCRIPT_##id] = { .name = #file, .text = script_##file##_lua },
	SCRIPTS(X)
#undef X
};

static const struct {
	const char *word;
	enum issue_status status;
} issue_words[] = {
	{ "ACCEPTED", ISSUE_ACCEPTED },
	{ "EARLIER", ISSUE_ACCEPTED },
	{ "DUPLICATE", ISSUE_DUPLICATE },
	{ "REJECTED", ISSUE_REJECTED },
	{ "SOLD_OUT", ISSUE_SOLD_OUT },
	{ "NOT_OPEN", ISSUE_NOT_OPEN },
	{ "CLOSED", ISSUE_CLOSED },
	{ "OUTBOX_FULL", ISSUE_OUTBOX_FULL },
	{ "FENCED", ISSUE_FENCED },
	{ "MISSING", ISSUE_MISSING },
};

void
event_keys_init(struct event_keys *keys, int64_t coupon_id)
{
	static const char *const parts[EVENT_KEYS] = { "event", "users",
		"pending", "free" };

	for (size_t i = 0; i < EVENT_KEYS; i++) {
		redis_key(keys->name[i], coupon_id, parts[i]);
		keys->len[i] = strlen(keys->name[i]);
	}
}

int
event_keys_to_argv(const struct event_keys *keys, int n, const char **argv,
	size_t *argvlen)
{
	assert(n >= 0 && n <= EVENT_KEYS);
	for (int i = 0; i < n; i++) {
		argv[i] = keys->name[i];
		argvlen[i] = keys->len[i];
	}
	return n;
}

/* The next field of "a:b:c" into buf, *text behind its colon. */
static bool
take_text(const char **text, char *buf, size_t size)
{
	size_t len = strcspn(*text, ":");

	if (len == 0 || len >= size)
		return false;
	memcpy(buf, *text, len);
	buf[len] = '\0';
	*text += len + ((*text)[len] == ':');
	return true;
}

/* 0 .. 2^63-1, digits only. */
static bool
take_number(const char **text, int64_t *ret)
{
	const char *p = *text;
	int64_t value = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, *p - '0', &value))
			return false;
	}
	if (p == *text || (*p != ':' && *p != '\0'))
		return false;
	*ret = value;
	*text = p + (*p == ':');
	return true;
}

static bool
take_entry(const char **text, struct issue_entry *ret)
{
	return take_text(text, ret->request_id, sizeof(ret->request_id)) &&
	       take_number(text, &ret->seq) &&
	       take_number(text, &ret->accepted_at_ms);
}

static bool
take_rejection(const char **text, struct issue_rejection *ret)
{
	return take_text(text, ret->reason, sizeof(ret->reason)) &&
	       take_number(text, &ret->seq) &&
	       take_number(text, &ret->accepted_at_ms);
}

static bool
take_status(const char **text, struct issue_reply *ret)
{
	size_t len = strcspn(*text, ":");

	for (size_t i = 0; i < ARRAY_SIZE(issue_words); i++) {
		const char *word = issue_words[i].word;

		if (strncmp(word, *text, len) != 0 || word[len] != '\0')
			continue;
		ret->status = issue_words[i].status;
		ret->earlier = word[0] == 'E';
		*text += len + ((*text)[len] == ':');
		return true;
	}
	return false;
}

int
issue_reply_parse(const struct redisReply *reply, struct issue_reply *ret)
{
	if (reply->type != REDIS_REPLY_STRING)
		return -ERROR_REDIS_ERROR;

	const char *text = reply->str;
	bool good = take_status(&text, ret);

	if (!good)
		return -ERROR_REDIS_ERROR;
	if (ret->status == ISSUE_DUPLICATE || ret->earlier)
		good = take_entry(&text, &ret->entry);
	else if (ret->status == ISSUE_ACCEPTED)
		good = take_number(&text, &ret->entry.seq) &&
		       take_number(&text, &ret->entry.accepted_at_ms);
	else if (ret->status == ISSUE_REJECTED)
		good = take_rejection(&text, &ret->rejection);
	else if (ret->status == ISSUE_NOT_OPEN)
		good = take_number(&text, &ret->opens_at_ms) &&
		       take_number(&text, &ret->now_ms);
	return good && *text == '\0' ? 0 : -ERROR_REDIS_ERROR;
}

const char *
issue_status_name(enum issue_status status)
{
	for (size_t i = 0; i < ARRAY_SIZE(issue_words); i++) {
		if (issue_words[i].status == status)
			return issue_words[i].word;
	}
	return "?";
}

static bool
parse_presence(const char *text, enum event_presence *ret)
{
	static const char *const names[] = {
		[EVENT_MISSING] = "MISSING",
		[EVENT_FENCED] = "FENCED",
		[EVENT_LIVE] = "LIVE",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum event_presence)i;
			return true;
		}
	}
	return false;
}

static bool
is_array_of(const struct redisReply *reply, size_t min, int type)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < min)
		return false;
	for (size_t i = 0; i < min; i++) {
		if (reply->element[i]->type != type)
			return false;
	}
	return true;
}

int
status_reply_parse(const struct redisReply *reply, struct status_reply *ret)
{
	enum { PRESENCE, ENTRY, PENDING, REJECTION, COUNT };

	if (!is_array_of(reply, COUNT, REDIS_REPLY_STRING))
		return -ERROR_REDIS_ERROR;

	const char *entry = reply->element[ENTRY]->str;
	const char *rejection = reply->element[REJECTION]->str;

	*ret = (struct status_reply){
		.held = *entry != '\0',
		.pending = reply->element[PENDING]->len > 0,
		.rejected = *rejection != '\0',
	};
	if (!parse_presence(reply->element[PRESENCE]->str, &ret->event) ||
		(ret->held && !take_entry(&entry, &ret->entry)) ||
		(ret->rejected && !take_rejection(&rejection, &ret->rejection)))
		return -ERROR_REDIS_ERROR;
	return 0;
}

int
event_figures_parse(const struct redisReply *reply, struct event_figures *ret)
{
	int64_t presence = 0, closed = 0;
	int64_t *const fields[] = { &presence, &ret->total, &ret->next,
		&ret->free, &ret->pending, &ret->opens_at_ms,
		&ret->closes_at_ms, &closed, &ret->version, &ret->epoch,
		&ret->oldest_ms, &ret->now_ms };

	if (!is_array_of(reply, ARRAY_SIZE(fields), REDIS_REPLY_INTEGER))
		return -ERROR_REDIS_ERROR;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		*fields[i] = reply->element[i]->integer;
	if (presence < EVENT_MISSING || presence > EVENT_LIVE)
		return -ERROR_REDIS_ERROR;
	ret->event = (enum event_presence)presence;
	ret->closed = closed != 0;
	return 0;
}

int64_t
event_figures_remaining(const struct event_figures *figures)
{
	return figures->total - (figures->next - 1) + figures->free;
}

const char *
event_figures_state(const struct event_figures *figures)
{
	if (figures->event == EVENT_FENCED)
		return "FENCED";
	if (figures->closed || figures->now_ms >= figures->closes_at_ms)
		return "CLOSED";
	if (figures->now_ms < figures->opens_at_ms)
		return "SCHEDULED";
	return event_figures_remaining(figures) > 0 ? "OPEN" : "SOLD_OUT";
}

/* In front of the entries in outbox_stale.lua's reply. */
enum { STALE_NOW, STALE_REMOVED, STALE_ENTRIES };

int
outbox_stale_parse(const struct redisReply *reply, int64_t *ret_now_ms,
	size_t *ret_removed, size_t *ret_count)
{
	if (!is_array_of(reply, STALE_ENTRIES, REDIS_REPLY_INTEGER))
		return -ERROR_REDIS_ERROR;
	*ret_now_ms = reply->element[STALE_NOW]->integer;
	*ret_removed = (size_t)reply->element[STALE_REMOVED]->integer;
	*ret_count = reply->elements - STALE_ENTRIES;
	return 0;
}

static void
fill_message(
	struct message *ret, int64_t coupon_id, const struct issue_entry *entry)
{
	ret->coupon_id = coupon_id;
	ret->seq = entry->seq;
	ret->accepted_at_ms = entry->accepted_at_ms;
	memcpy(ret->request_id, entry->request_id, sizeof(ret->request_id));
}

int
outbox_entry_parse(const struct redisReply *reply, size_t i, int64_t coupon_id,
	struct message *ret)
{
	assert(i + STALE_ENTRIES < reply->elements);

	const struct redisReply *element = reply->element[i + STALE_ENTRIES];
	struct issue_entry entry;

	if (element->type != REDIS_REPLY_STRING)
		return -ERROR_REDIS_ERROR;

	const char *text = element->str;

	if (!take_number(&text, &ret->user_id) || !take_entry(&text, &entry) ||
		*text != '\0')
		return -ERROR_REDIS_ERROR;
	fill_message(ret, coupon_id, &entry);
	return 0;
}

bool
users_entry_parse(const char *field, const char *value, int64_t coupon_id,
	struct message *ret)
{
	struct issue_entry entry;

	if (!take_number(&field, &ret->user_id) || *field != '\0' ||
		!take_entry(&value, &entry) || *value != '\0')
		return false;
	fill_message(ret, coupon_id, &entry);
	return true;
}

bool
users_rejection_parse(const char *field, const char *value, int64_t coupon_id,
	struct message *ret)
{
	struct issue_rejection rejection;

	if (!take_number(&field, &ret->user_id) ||
		!take_text(&field, ret->request_id, sizeof(ret->request_id)) ||
		*field != '\0' || !take_rejection(&value, &rejection) ||
		*value != '\0')
		return false;
	ret->coupon_id = coupon_id;
	ret->seq = rejection.seq;
	ret->accepted_at_ms = rejection.accepted_at_ms;
	return true;
}

bool
outbox_member_parse(const char *member, int64_t coupon_id, struct message *ret)
{
	ret->coupon_id = coupon_id;
	ret->accepted_at_ms = 0;
	return take_number(&member, &ret->user_id) &&
	       take_text(&member, ret->request_id, sizeof(ret->request_id)) &&
	       take_number(&member, &ret->seq) && *member == '\0';
}

size_t
outbox_member(const struct message *message, char buf[OUTBOX_MEMBER_SIZE])
{
	char *at = TEXT_PUT(text_put_int(buf, message->user_id), ":");

	at = text_put(at, message->request_id,
		strnlen(message->request_id, REQUEST_ID_MAX));
	at = text_put_int(TEXT_PUT(at, ":"), message->seq);
	*at = '\0';
	return (size_t)(at - buf);
}
