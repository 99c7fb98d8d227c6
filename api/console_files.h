/* SPDX-License-Identifier: MIT */
/*
 * console_files - the files of api/console/, embedded twice: as they are, and
 * compressed.  Immutable after console_files_init(); any thread.
 */
#ifndef API_CONSOLE_FILES_H
#define API_CONSOLE_FILES_H

#include <stdbool.h>
#include <stddef.h>

#define CONSOLE_ETAG_SIZE 40

struct console_body {
	const char *bytes;
	size_t len;
	char etag[CONSOLE_ETAG_SIZE]; /* with its quotes */
};

struct console_file {
	const char *path; /* below /console/: "app.js" */
	const char *type; /* static */
	struct console_body plain;
	struct console_body gzip;
};

/* Works out the ETags; before any other thread. */
void console_files_init(void);

/* NULL when there is none. */
const struct console_file *console_file_find(const char *path);

/* The body to send to who sent these headers (NULL: absent). */
const struct console_body *console_file_body(
	const struct console_file *file, const char *accept_encoding);

/* Does If-None-Match (NULL: absent) name this body? */
bool console_body_is_known(
	const struct console_body *body, const char *if_none_match);

#endif
