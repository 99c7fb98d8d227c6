/* SPDX-License-Identifier: MIT */
/*
 * letter_print - dead letters for people and for programs.
 *
 * What comes from a message is printed with anything but ASCII escaped: it
 * may be written by anybody, and is read on a terminal.
 */
#ifndef CONSUMER_LETTER_PRINT_H
#define CONSUMER_LETTER_PRINT_H

#include <stddef.h>
#include <stdio.h>

struct letter;

/* Escaped. */
void letter_print_bytes(FILE *out, const char *bytes, size_t len);

/* A table: its head, then a row per letter. */
void letter_print_head(FILE *out);
void letter_print_row(FILE *out, const struct letter *letter);

/* All of it, headers and value included. */
void letter_print_text(FILE *out, const struct letter *letter);

/* All of it as one line of JSON; a value that is no UTF-8 is in base64. */
void letter_print_json(FILE *out, const struct letter *letter);

#endif
