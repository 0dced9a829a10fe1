/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	int exit_code;
	const char *name;
	const char *text;
} codes[] = {
#define X(name, value, exit_code, text) [value] = {exit_code, #name, text},
	CATCHUP_ERROR_MAP(X)
#undef X
};

#define N_CODES ((int)(sizeof(codes) / sizeof(codes[0])))

const char *catchup_code_name(int code)
{
	return code >= 0 && code < N_CODES ? codes[code].name : "UNKNOWN";
}

const char *catchup_code_text(int code)
{
	return code >= 0 && code < N_CODES ? codes[code].text : "unknown error";
}

int catchup_code_exit(int code)
{
	return code >= 0 && code < N_CODES ? codes[code].exit_code : 1;
}

size_t cu_utf8_length(const unsigned char *p, size_t n)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t length;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		length = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		length = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		length = 4;
	else
		return 0;
	if (length > n)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return length;
}

size_t cu_text_escape(char *to, size_t to_bytes, const char *from, size_t from_bytes)
{
	const unsigned char *p = (const unsigned char *)from;
	size_t used = 0;

	if (to_bytes == 0)
		return 0;
	while (from_bytes > 0) {
		char piece[8];
		size_t take = cu_utf8_length(p, from_bytes);
		size_t n;

		if (take == 1 && *p == '\n') {
			n = (size_t)snprintf(piece, sizeof(piece), "\\n");
		} else if (take == 1 && *p == '\t') {
			n = (size_t)snprintf(piece, sizeof(piece), "\\t");
		} else if (take == 0 || *p < 0x20 || *p == 0x7f) {
			n = (size_t)snprintf(piece, sizeof(piece), "\\x%02x", *p);
			take = 1;
		} else {
			memcpy(piece, p, take);
			n = take;
		}
		if (used + n + 1 > to_bytes)
			break;
		memcpy(to + used, piece, n);
		used += n;
		p += take;
		from_bytes -= take;
	}
	to[used] = '\0';
	return used;
}

static void set_text(struct catchup_error *error, const char *prefix, const char *text,
	const char *suffix)
{
	char whole[2 * CATCHUP_MESSAGE_BYTES];

	snprintf(whole, sizeof(whole), "%s%s%s", prefix, text, suffix);
	cu_text_escape(error->message, sizeof(error->message), whole, strlen(whole));
}

int cu_error_set(struct catchup_error *error, int code, int detail, const char *fmt, ...)
{
	char text[CATCHUP_MESSAGE_BYTES];
	va_list ap;

	if (!error)
		return code;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	error->code = code;
	error->detail = detail;
	set_text(error, "", text, "");
	return code;
}

int cu_error_prefix(struct catchup_error *error, const char *fmt, ...)
{
	char prefix[CATCHUP_MESSAGE_BYTES];
	char old[CATCHUP_MESSAGE_BYTES];
	va_list ap;

	if (!error)
		return CATCHUP_INTERNAL;
	va_start(ap, fmt);
	vsnprintf(prefix, sizeof(prefix), fmt, ap);
	va_end(ap);
	memcpy(old, error->message, sizeof(old));
	set_text(error, prefix, old, "");
	return error->code;
}

int cu_error_nomem(struct catchup_error *error)
{
	return cu_error_set(error, CATCHUP_NOMEM, 0, "out of memory");
}

int cu_error_null(struct catchup_error *error, const char *function, const char *argument)
{
	return cu_error_set(error, CATCHUP_USAGE, 0, "%s: '%s' is NULL", function, argument);
}

void cu_errno_text(char *to, size_t bytes, int errnum)
{
#ifdef __GLIBC__
	/* With _GNU_SOURCE it returns the text, which need not be in the buffer. */
	snprintf(to, bytes, "%s", strerror_r(errnum, (char[128]){""}, 128));
#else
	if (strerror_r(errnum, to, bytes) != 0)
		snprintf(to, bytes, "error %d", errnum);
#endif
}

static int set_errno(struct catchup_error *error, int code, int errnum, const char *fmt, va_list ap)
{
	char text[CATCHUP_MESSAGE_BYTES];
	char reason[128];
	char suffix[160];

	if (!error)
		return code;
	vsnprintf(text, sizeof(text), fmt, ap);
	cu_errno_text(reason, sizeof(reason), errnum);
	snprintf(suffix, sizeof(suffix), ": %s", reason);
	error->code = code;
	error->detail = errnum;
	set_text(error, "", text, suffix);
	return code;
}

int cu_error_errno(struct catchup_error *error, int code, int errnum, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_errno(error, code, errnum, fmt, ap);
	va_end(ap);
	return code;
}

int cu_error_os(struct catchup_error *error, int rc, const char *fmt, ...)
{
	int code = rc == -ENOMEM ? CATCHUP_NOMEM : CATCHUP_IO;
	va_list ap;

	va_start(ap, fmt);
	set_errno(error, code, -rc, fmt, ap);
	va_end(ap);
	return code;
}
