/* SPDX-License-Identifier: MIT */
/*
 * os_posix.h - what the parts of the seam over libc share.
 */
#ifndef BASE_OS_POSIX_H
#define BASE_OS_POSIX_H

/* The folder that holds the name. malloc'd; NULL without memory. */
char *cu_posix_folder_of(const char *path);

#endif
