/* SPDX-License-Identifier: MIT */
/*
 * letters_command - what follows --dead-letters, taken apart.
 */
#ifndef CONSUMER_LETTERS_COMMAND_H
#define CONSUMER_LETTERS_COMMAND_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct letter;

enum letters_verb {
	LETTERS_HELP,
	LETTERS_LIST,
	LETTERS_SHOW,
	LETTERS_REPLAY,
	LETTERS_DISCARD,
};

struct letters_command {
	enum letters_verb verb;
	bool all;
	bool execute;
	bool json;
	const char *reason; /* borrowed from argv; NULL: any */
	struct letter_id {
		int32_t partition;
		int64_t offset;
		bool found; /* set by letters_command_selects() */
	} * ids;            /* owned */
	size_t n_ids;
};

extern const char letters_usage[];

/* 0, or -ERROR_BAD_INPUT with a sentence for the operator. */
int letters_command_parse(struct letters_command *command, int argc,
	char **argv, struct error *err) NODISCARD;
void letters_command_fini(struct letters_command *command);

/* By what the letter itself says: without PostgreSQL. */
bool letters_command_selects(
	struct letters_command *command, const struct letter *letter);

/*
 * Given what PostgreSQL says: does it still count?  What was dealt with is
 * left out where many are selected, and refused where it was named.
 */
bool letters_command_wants(
	const struct letters_command *command, const struct letter *letter);

#endif
