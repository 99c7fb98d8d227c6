/* SPDX-License-Identifier: MIT */
#include "common/tests/http_client.h"

#include "common/tests/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 5000

void
client_open(struct client *client, uint16_t port)
{
	const struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	client->len = 0;
	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(client->fd >= 0);
	assert_int_equal(connect(client->fd, (const struct sockaddr *)&addr,
				 sizeof(addr)),
		0);
}

void
client_close(struct client *client)
{
	close(client->fd);
}

bool
client_send(struct client *client, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(client->fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

void
client_print(struct client *client, const char *fmt, ...)
{
	char text[8192];
	va_list args;

	va_start(args, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	assert_in_range(n, 0, sizeof(text) - 1);
	(void)client_send(client, text, (size_t)n);
}

void
client_get(struct client *client, const char *path)
{
	client_print(client, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path);
}

void
client_pause(int ms)
{
	(void)poll(NULL, 0, ms);
}

/* Bytes read, 0 at the end, -1 when reset or nothing came. */
static ssize_t
fill(struct client *client, int ms)
{
	struct pollfd pfd = { .fd = client->fd, .events = POLLIN };

	if (client->len == sizeof(client->buf) - 1 || poll(&pfd, 1, ms) != 1)
		return -1;
	ssize_t n = recv(client->fd, client->buf + client->len,
		sizeof(client->buf) - 1 - client->len, 0);
	if (n > 0)
		client->len += (size_t)n;
	client->buf[client->len] = '\0';
	return n;
}

static void
drop(struct client *client, size_t len)
{
	memmove(client->buf, client->buf + len, client->len - len);
	client->len -= len;
	client->buf[client->len] = '\0';
}

const char *
client_header(const struct client_reply *reply, const char *name, char *buf,
	size_t size)
{
	const char *line = strstr(reply->head, "\r\n");
	size_t len = strlen(name);

	for (; line != NULL && line[2] != '\0'; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, len) != 0 || line[len] != ':')
			continue;
		const char *value =
			line + len + 1 + strspn(line + len + 1, " ");
		(void)snprintf(
			buf, size, "%.*s", (int)strcspn(value, "\r"), value);
		return buf;
	}
	return NULL;
}

static bool
read_head(struct client *client, struct client_reply *reply)
{
	char *end;

	client->buf[client->len] = '\0';
	while ((end = strstr(client->buf, "\r\n\r\n")) == NULL) {
		if (fill(client, PATIENCE_MS) <= 0)
			return false;
	}
	size_t len = (size_t)(end - client->buf) + 4;
	(void)snprintf(reply->head, sizeof(reply->head), "%.*s", (int)len,
		client->buf);
	drop(client, len);
	return sscanf(reply->head, "HTTP/1.1 %u", &reply->status) == 1;
}

bool
client_read_head(struct client *client, struct client_reply *reply)
{
	char value[32];

	if (!read_head(client, reply))
		return false;
	const char *length =
		client_header(reply, "Content-Length", value, sizeof(value));
	reply->body_len = length == NULL ? 0 : strtoul(length, NULL, 10);
	reply->body[0] = '\0';
	return true;
}

bool
client_read(struct client *client, struct client_reply *reply)
{
	size_t kept = 0;

	if (!client_read_head(client, reply))
		return false;
	for (size_t left = reply->body_len; left > 0;) {
		if (client->len == 0 && fill(client, PATIENCE_MS) <= 0)
			return false;
		size_t n = client->len < left ? client->len : left;
		size_t room = sizeof(reply->body) - 1 - kept;
		size_t keep = n < room ? n : room;
		memcpy(reply->body + kept, client->buf, keep);
		kept += keep;
		left -= n;
		drop(client, n);
	}
	reply->body[kept] = '\0';
	return true;
}

bool
client_sees_end(struct client *client, int ms)
{
	ssize_t n;

	do
		n = fill(client, ms);
	while (n > 0);
	return n == 0;
}

void
client_ask(uint16_t port, const char *request, struct client_reply *reply)
{
	struct client client;

	client_open(&client, port);
	(void)client_send(&client, request, strlen(request));
	assert_true(client_read(&client, reply));
	client_close(&client);
}

int
client_retry_after(const struct client_reply *reply)
{
	char value[64], *end;

	assert_non_null(
		client_header(reply, "Retry-After", value, sizeof(value)));
	long seconds = strtol(value, &end, 10);

	assert_true(end != value && *end == '\0');
	return (int)seconds;
}
