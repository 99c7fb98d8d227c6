/* SPDX-License-Identifier: MIT */
#include "api/console_files.h"

#include "common/compiler.h"
#include "common/embed.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* Where make leaves FILE.gz: BUILD's own tree. */
#ifndef CONSOLE_GZIP
#define CONSOLE_GZIP "build/release/api/console/"
#endif

#define HTML "text/html; charset=utf-8"
#define JS "text/javascript; charset=utf-8"
#define CSS "text/css; charset=utf-8"
#define SVG "image/svg+xml"
#define TEXT "text/plain; charset=utf-8"

/* X(name, path, type): every file below api/console/ (a test counts). */
#define FILES(X)                                                               \
	X(index_html, "index.html", HTML)                                      \
	X(icon_svg, "icon.svg", SVG)                                           \
	X(style_css, "style.css", CSS)                                         \
	X(app_js, "app.js", JS)                                                \
	X(chart_js, "chart.js", JS)                                            \
	X(dom_js, "dom.js", JS)                                                \
	X(en_js, "en.js", JS)                                                  \
	X(events_js, "events.js", JS)                                          \
	X(figures_js, "figures.js", JS)                                        \
	X(format_js, "format.js", JS)                                          \
	X(guards_js, "guards.js", JS)                                          \
	X(i18n_js, "i18n.js", JS)                                              \
	X(ko_js, "ko.js", JS)                                                  \
	X(levers_js, "levers.js", JS)                                          \
	X(panels_js, "panels.js", JS)                                          \
	X(pools_js, "pools.js", JS)                                            \
	X(prometheus_js, "prometheus.js", JS)                                  \
	X(rules_js, "rules.js", JS)                                            \
	X(series_js, "series.js", JS)                                          \
	X(source_js, "source.js", JS)                                          \
	X(uplot_js, "vendor/uplot/uPlot.iife.min.js", JS)                      \
	X(uplot_css, "vendor/uplot/uPlot.min.css", CSS)                        \
	X(uplot_license, "vendor/uplot/LICENSE", TEXT)

#define X(name, path, type)                                                    \
	EMBED_BYTES(console_##name, "api/console/" path);                      \
	EMBED_BYTES(console_##name##_gz, CONSOLE_GZIP path ".gz");
FILES(X)
#undef X

static struct console_file files[] = {
#define X(name, path, type)                                                    \
	{ path, type, { console_##name, 0, "" },                               \
		{ console_##name##_gz, 0, "" } },
	FILES(X)
#undef X
};

static const char *const ends[ARRAY_SIZE(files)][2] = {
#define X(name, path, type) { console_##name##_end, console_##name##_gz_end },
	FILES(X)
#undef X
};

static void
body_init(struct console_body *body, const char *end)
{
	unsigned char digest[16];
	char hex[2 * sizeof(digest) + 1];

	body->len = (size_t)(end - body->bytes);
	(void)crypto_generichash(digest, sizeof(digest),
		(const unsigned char *)body->bytes, body->len, NULL, 0);
	(void)sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest));
	(void)snprintf(body->etag, sizeof(body->etag), "\"%s\"", hex);
}

void
console_files_init(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		body_init(&files[i].plain, ends[i][0]);
		body_init(&files[i].gzip, ends[i][1]);
	}
}

const struct console_file *
console_file_find(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (strcmp(files[i].path, path) == 0)
			return &files[i];
	}
	return NULL;
}

const struct console_body *
console_file_body(const struct console_file *file, const char *accept_encoding)
{
	const char *gzip = accept_encoding != NULL
				   ? strcasestr(accept_encoding, "gzip")
				   : NULL;

	/* "gzip;q=0" refuses it; nobody sends that, and nobody is hurt. */
	if (gzip == NULL || strncmp(gzip + 4, ";q=0", 4) == 0)
		return &file->plain;
	return &file->gzip;
}

bool
console_body_is_known(
	const struct console_body *body, const char *if_none_match)
{
	return if_none_match != NULL &&
	       strstr(if_none_match, body->etag) != NULL;
}
