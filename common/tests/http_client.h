/* SPDX-License-Identifier: MIT */
/*
 * http_client - raw sockets for tests: what is sent is what was written.
 * One thread per client.
 */
#ifndef COMMON_TESTS_HTTP_CLIENT_H
#define COMMON_TESTS_HTTP_CLIENT_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client {
	int fd;
	size_t len; /* read, not yet taken */
	char buf[16384];
};

struct client_reply {
	unsigned status;
	char head[4096]; /* status line and headers, CRLF as they came */
	char body[8192]; /* cut to fit, NUL-terminated */
	size_t body_len; /* as announced */
};

/* Reads give up after 5 s.  Fails the test when it cannot connect. */
void client_open(struct client *client, uint16_t port);
void client_close(struct client *client);
/* False when the server has cut the connection. */
bool client_send(struct client *client, const char *bytes, size_t len);
void client_print(struct client *client, const char *fmt, ...) PRINTF(2, 3);

void client_get(struct client *client, const char *path);
void client_pause(int ms);

/* False when the connection ended (or nothing came) before a whole reply. */
bool client_read(struct client *client, struct client_reply *reply);
/* The same for an answer to HEAD. */
bool client_read_head(struct client *client, struct client_reply *reply);

/* True when the server ends the connection, with FIN, within `ms`. */
bool client_sees_end(struct client *client, int ms);

/* The value of a header, copied to `buf`; NULL when absent. */
const char *client_header(const struct client_reply *reply, const char *name,
	char *buf, size_t size);

/* Retry-After as a number; fails the test when it is none. */
int client_retry_after(const struct client_reply *reply);

/* One request on a connection of its own; fails the test without a reply. */
void client_ask(uint16_t port, const char *request, struct client_reply *reply);

#endif
