/* SPDX-License-Identifier: MIT */
/*
 * error.h - filling the caller's struct catchup_error.
 *
 * A function that fails fills the error once, where the cause is known; callers put a prefix before
 * it ("consumer 'x': ...") and never restate it. Every function accepts a NULL error. Text is cut to
 * fit, and control characters in it are escaped, so a message is always one line.
 */
#ifndef CU_BASE_ERROR_H
#define CU_BASE_ERROR_H

#include <catchup/catchup.h>

/* Sets code, detail and message. Returns code, so that a caller can `return cu_error_set(...)`. */
int cu_error_set(struct catchup_error *error, int code, int detail, const char *fmt, ...)
	CATCHUP_PRINTF(4, 5);

/* Puts a prefix before the message that is there. Returns the code that is there. */
int cu_error_prefix(struct catchup_error *error, const char *fmt, ...) CATCHUP_PRINTF(2, 3);

/* Sets CATCHUP_NOMEM. Returns it. */
int cu_error_nomem(struct catchup_error *error);

/* Sets CATCHUP_USAGE for an argument of a public function that must not be NULL. Returns it. */
int cu_error_null(struct catchup_error *error, const char *function, const char *argument);

/* Sets a code with errno's text behind the message. Returns code. */
int cu_error_errno(struct catchup_error *error, int code, int errnum, const char *fmt, ...)
	CATCHUP_PRINTF(4, 5);

/* The same for what the seam returned, a negative errno: CATCHUP_NOMEM, or else CATCHUP_IO. Returns that. */
int cu_error_os(struct catchup_error *error, int rc, const char *fmt, ...) CATCHUP_PRINTF(3, 4);

/* The system's words for an errno, NUL-terminated, cut to fit. */
void cu_errno_text(char *to, size_t bytes, int errnum);

/*
 * Copies text into a buffer as one printable line: control characters and bytes that are not UTF-8
 * become \n, \t or \xNN. Always ends with NUL. Returns bytes written without the NUL.
 */
size_t cu_text_escape(char *to, size_t to_bytes, const char *from, size_t from_bytes);

/* Length of the UTF-8 sequence at p, 0 when it is none (RFC 3629: no overlong, no surrogates).
 * n: bytes that may be looked at, at least 1. */
size_t cu_utf8_length(const unsigned char *p, size_t n);

#endif
