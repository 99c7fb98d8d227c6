/* SPDX-License-Identifier: MIT */
#include "consumer/letters_command.h"

#include "common/error.h"
#include "common/must.h"
#include "consumer/letter.h"

#include <errno.h>

const char letters_usage[] =
	"usage: consumer [--config FILE] [--set KEY=VALUE]... --dead-letters "
	"COMMAND\n\n"
	"  list [--reason REASON] [--all] [--json]\n"
	"      letters that were not discarded (--all: those too)\n"
	"  show PARTITION:OFFSET... [--json]\n"
	"      headers and value\n"
	"  replay PARTITION:OFFSET... | --reason REASON | --all [--execute]\n"
	"      send them to kafka.topic again; refuses a request that has its\n"
	"      final state, and what could not be read again either\n"
	"  discard PARTITION:OFFSET... | --reason REASON | --all [--execute]\n"
	"      leave them out of the list from now on\n\n"
	"replay and discard only say what they would do until told to "
	"--execute.\n--json prints one object per line.\n\n"
	"exit status: 0 done, 1 Kafka or PostgreSQL could not be asked, 2 "
	"usage,\n3 some of the letters were refused or not found\n";

static bool
parse_number(const char *text, char end, int64_t max, int64_t *ret,
	const char **ret_rest)
{
	char *rest;

	if (*text < '0' || *text > '9')
		return false; /* strtoll() takes blanks and signs */
	errno = 0;
	*ret = strtoll(text, &rest, 10);
	*ret_rest = rest + 1;
	return errno == 0 && *rest == end && *ret <= max;
}

static int
parse_id(struct letters_command *command, const char *text, struct error *err)
{
	struct letter_id *id = &command->ids[command->n_ids];
	const char *rest;
	int64_t partition;

	if (!parse_number(text, ':', INT32_MAX, &partition, &rest) ||
		!parse_number(rest, '\0', INT64_MAX, &id->offset, &rest))
		return error_set(err, ERROR_BAD_INPUT,
			"%s: expected an option or PARTITION:OFFSET", text);
	id->partition = (int32_t)partition;
	command->n_ids++;
	return 0;
}

static int
parse_verb(struct letters_command *command, const char *text, struct error *err)
{
	static const char *const verbs[] = {
		[LETTERS_HELP] = "help",
		[LETTERS_LIST] = "list",
		[LETTERS_SHOW] = "show",
		[LETTERS_REPLAY] = "replay",
		[LETTERS_DISCARD] = "discard",
	};

	for (size_t i = 0; text != NULL && i < ARRAY_SIZE(verbs); i++)
		if (strcmp(text, verbs[i]) == 0) {
			command->verb = (enum letters_verb)i;
			return 0;
		}
	return error_set(err, ERROR_BAD_INPUT,
		"--dead-letters: expected list, show, replay, discard or help");
}

static int
parse_option(struct letters_command *command, int argc, char **argv, int *i,
	struct error *err)
{
	const char *arg = argv[*i];

	if (strcmp(arg, "--all") == 0)
		command->all = true;
	else if (strcmp(arg, "--json") == 0)
		command->json = true;
	else if (strcmp(arg, "--execute") == 0)
		command->execute = true;
	else if (strcmp(arg, "--reason") != 0)
		return parse_id(command, arg, err);
	else if (*i + 1 == argc)
		return error_set(err, ERROR_BAD_INPUT,
			"--reason: expected a value after it");
	else
		command->reason = argv[++*i];
	return 0;
}

/* Options of one verb are not silently ignored by another. */
static int
check(const struct letters_command *command, struct error *err)
{
	const bool changes = command->verb == LETTERS_REPLAY ||
			     command->verb == LETTERS_DISCARD;
	const int selections =
		(command->n_ids > 0) + command->all + (command->reason != NULL);

	if (command->execute && !changes)
		return error_set(err, ERROR_BAD_INPUT,
			"--execute belongs to replay and discard");
	if (command->json && changes)
		return error_set(err, ERROR_BAD_INPUT,
			"--json belongs to list and show");
	if (changes && selections != 1)
		return error_set(err, ERROR_BAD_INPUT,
			"expected either PARTITION:OFFSET... or --reason or "
			"--all");
	if (command->verb == LETTERS_LIST && command->n_ids > 0)
		return error_set(err, ERROR_BAD_INPUT,
			"list takes no PARTITION:OFFSET: see show");
	if (command->verb == LETTERS_SHOW &&
		(selections != 1 || command->n_ids == 0))
		return error_set(err, ERROR_BAD_INPUT,
			"show: expected PARTITION:OFFSET...");
	return 0;
}

int
letters_command_parse(struct letters_command *command, int argc, char **argv,
	struct error *err)
{
	*command = (struct letters_command){ 0 };
	int rc = parse_verb(command, argc > 0 ? argv[0] : NULL, err);

	if (rc != 0)
		return rc;
	command->ids = must(calloc((size_t)argc, sizeof(*command->ids)));
	for (int i = 1; rc == 0 && i < argc; i++)
		rc = parse_option(command, argc, argv, &i, err);
	if (rc == 0)
		rc = check(command, err);
	if (rc != 0)
		letters_command_fini(command);
	return rc;
}

void
letters_command_fini(struct letters_command *command)
{
	free(command->ids);
	command->ids = NULL;
}

bool
letters_command_selects(
	struct letters_command *command, const struct letter *letter)
{
	bool selected = command->n_ids == 0;

	for (size_t i = 0; i < command->n_ids; i++) {
		struct letter_id *id = &command->ids[i];

		if (id->partition != letter->partition ||
			id->offset != letter->offset)
			continue;
		id->found = true;
		selected = true;
	}
	return selected && (command->reason == NULL ||
				   strcmp(letter_header(letter, "reason"),
					   command->reason) == 0);
}

bool
letters_command_wants(
	const struct letters_command *command, const struct letter *letter)
{
	switch (command->verb) {
	case LETTERS_HELP:
	case LETTERS_SHOW:
		return true;
	case LETTERS_LIST:
		return command->all || letter->mark != MARK_DISCARDED;
	case LETTERS_REPLAY:
		return command->n_ids > 0 || letter->mark == MARK_NONE;
	case LETTERS_DISCARD:
		return command->n_ids > 0 || letter->mark != MARK_DISCARDED;
	}
	return false;
}
