/* SPDX-License-Identifier: MIT */
/*
 * letter_sender - sends dead letters back to the topic they failed in, as the
 * api would: keyed by user.  One thread.
 */
#ifndef CONSUMER_LETTER_SENDER_H
#define CONSUMER_LETTER_SENDER_H

#include "common/compiler.h"

#include <stddef.h>

struct error;
struct letter;
struct letter_sender;
struct settings;

/* `settings` is borrowed.  Connects on first use. */
int letter_sender_new(const struct settings *settings,
	struct letter_sender **ret, struct error *err) NODISCARD;

/* NULL is a no-op. */
void letter_sender_free(struct letter_sender *sender);

/*
 * Send all and wait for Kafka: those it has acknowledged are `sent`, also
 * when others failed (-ERROR_KAFKA_ERROR, and some of those may arrive).
 */
int letter_sender_send(struct letter_sender *sender, struct letter *letters,
	size_t n, struct error *err) NODISCARD;

#endif
