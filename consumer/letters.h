/* SPDX-License-Identifier: MIT */
/*
 * letters - consumer --dead-letters: what an operator does with the messages
 * that could not be processed.
 *
 * Changes nothing unless told to --execute.  For the main thread, instead of
 * the service.
 */
#ifndef CONSUMER_LETTERS_H
#define CONSUMER_LETTERS_H

struct settings;

enum letters_exit {
	LETTERS_DONE = 0,    /* dry runs included */
	LETTERS_FAILED = 1,  /* Kafka or PostgreSQL could not be asked */
	LETTERS_USAGE = 2,   /* the arguments make no sense */
	LETTERS_REFUSED = 3, /* some selected letters were not for this */
};

/* `argv` is what follows --dead-letters.  The process's exit status. */
int letters_main(const struct settings *settings, int argc, char **argv);

#endif
