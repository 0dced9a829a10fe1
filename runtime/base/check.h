/* SPDX-License-Identifier: MIT */
/*
 * check.h - invariants, checked in release builds too.
 *
 * A check that fails is a bug in this library: going on would risk a skipped or doubled row, so the
 * process ends with file and line. Bad arguments and failing machines are errors, never checks.
 */
#ifndef CU_BASE_CHECK_H
#define CU_BASE_CHECK_H

_Noreturn void cu_check_failed(const char *file, int line, const char *what);

#define CU_CHECK(condition)                                                                        \
	((condition) ? (void)0 : cu_check_failed(__FILE__, __LINE__, #condition))

#endif
