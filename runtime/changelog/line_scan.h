/* SPDX-License-Identifier: MIT */
/*
 * line_scan.h - whether a line is JSON, before cJSON sees it.
 *
 * cJSON is lenient (numbers like 01, raw control characters, bytes that are not UTF-8), recurses, and
 * has one answer for a text that is not JSON and for memory that is not there. So the scan accepts
 * exactly what JSON allows, within bounds of depth and size: what cJSON then fails at is memory. And it
 * notes every name, string and number in the order in which it stands, since cJSON keeps numbers as
 * doubles and text without its length.
 */
#ifndef CU_CHANGELOG_LINE_SCAN_H
#define CU_CHANGELOG_LINE_SCAN_H

#include "changelog/line.h"

/* A string (name or value) or a number, in document order. */
struct cu_line_token {
	const char *text; /* a number's first character */
	size_t n;         /* a number's characters; a string's bytes once its escapes are undone */
};

/* Fills up to CU_LINE_TOKENS_MAX tokens. Returns CATCHUP_OK, or CATCHUP_IO with the reason. */
int cu_line_scan(const char *text, size_t n, struct cu_line_token *tokens, size_t *n_tokens,
	struct catchup_error *error);

#endif
