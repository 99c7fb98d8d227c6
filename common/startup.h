/* SPDX-License-Identifier: MIT */
/*
 * startup - main() of both daemons, up to where they differ.
 *
 * Command line and configuration, --check, --migrate, and an exit status that
 * means the same everywhere.
 */
#ifndef COMMON_STARTUP_H
#define COMMON_STARTUP_H

#include "common/config.h"

/* Besides what a command of the daemon's own answers. */
enum startup_exit {
	STARTUP_DONE = 0,
	STARTUP_FAILED = 1, /* it could not start, or not stop cleanly */
	STARTUP_USAGE = 2,  /* the arguments or the configuration are wrong */
};

struct startup {
	enum daemon_kind daemon;
	const char *name; /* "api" */
	/* Serves until told to stop; the exit status. */
	int (*run)(struct config *config);
	/* "--dead-letters", which takes all that follows it, or NULL. */
	const char *command;
	int (*run_command)(
		const struct settings *settings, int argc, char **argv);
};

/* The process's exit status. */
int startup_main(const struct startup *startup, int argc, char **argv);

/* logging.*, from here on; after lifecycle_init(), before other threads. */
void startup_log(const struct settings *settings);

/* Say why the daemon does not run, end the log; STARTUP_FAILED. */
int startup_failed(const struct error *err);

#endif
