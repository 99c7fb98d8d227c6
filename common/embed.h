/* SPDX-License-Identifier: MIT */
/*
 * embed - put a file of the source tree into the program, as a C string.
 *
 *	EMBED(issue_lua, "api/issue.lua");  ->  extern const char issue_lua[];
 *
 *	EMBED_BYTES(logo, "api/logo.png");   ->  logo[], and logo_end[]
 *
 * NUL-terminated both, the NUL not counted by _end.  The Makefile lists such
 * files as prerequisites of the object that embeds them; the compiler does
 * not see them.
 */
#ifndef COMMON_EMBED_H
#define COMMON_EMBED_H

#define EMBED(name, path)                                   \
	__asm__(".pushsection .rodata\n"                    \
		".global " #name "\n" #name ":\n"           \
		".incbin \"" path "\"\n.byte 0\n"           \
		".popsection\n");                           \
	extern const char name[]

#define EMBED_BYTES(name, path)                                             \
	__asm__(".pushsection .rodata\n"                                    \
		".global " #name ", " #name "_end\n" #name ":\n"            \
		".incbin \"" path "\"\n" #name "_end:\n.byte 0\n"           \
		".popsection\n");                                           \
	extern const char name[], name##_end[]

#endif
