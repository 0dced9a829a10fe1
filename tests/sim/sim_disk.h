/* SPDX-License-Identifier: MIT */
/*
 * sim_disk.h - the files of a story, in memory: what the kernel would do, without asking it.
 *
 * Files and folders have absolute paths, without links and without "." and ".."; paths name files, which
 * live on while a descriptor has them open. Every file has an inode and a birth of its own, and no other
 * file ever gets them. There is one user, who may do anything. Nothing here fails by chance, and nothing
 * switches: who calls does.
 *
 * All return 0, or a count, or a descriptor, and a negative errno on failure.
 */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "base/os.h"

/* What is mapped lies within one piece of so many bytes: as large as what SQLite maps at a time. */
#define SIM_DISK_PIECE 32768

/* flags: those of open(2), of which O_CREAT, O_EXCL, O_TRUNC, O_APPEND and the access mode count. Not for
 * folders. */
int sim_disk_open(const char *path, int flags);
int sim_disk_close(int fd);
ssize_t sim_disk_read(int fd, void *to, size_t bytes, int64_t offset);
/* A descriptor of O_APPEND writes at the end, whatever the offset. */
ssize_t sim_disk_write(int fd, const void *from, size_t bytes, int64_t offset);
int sim_disk_truncate(int fd, int64_t size);
/* The file's own bytes, which stay where they are. NULL where that is not to be had. */
void *sim_disk_map(int fd, size_t bytes, int64_t offset);
/* As cu_file_lock. */
int sim_disk_lock(int fd);
int sim_disk_stat_fd(int fd, struct cu_file_stat *out);
int sim_disk_stat(const char *path, struct cu_file_stat *out);

int sim_disk_make_folder(const char *path);
/* A folder takes along what is in it. A file that has the new name loses it, a folder may not have it. */
int sim_disk_rename(const char *from, const char *to);
/* Not for folders. */
int sim_disk_remove(const char *path);

/* Copies everything into a real folder, to be looked at, and says where. */
void sim_disk_copy_out(void);

#endif
