/* SPDX-License-Identifier: MIT */
/*
 * module_file.c - what a module's file must be like before any of its code runs.
 *
 * Loading a shared object runs its constructors with all rights of the process, so a file that
 * somebody else could have written is refused. The loader itself trusts what a file says of its own
 * size and dies by SIGBUS on one that was cut off, so that is looked at here too.
 */
#include "base/error.h"
#include "base/os.h"
#include "consumer/module.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if UINTPTR_MAX == UINT64_MAX
#define OUR_CLASS ELFCLASS64
typedef Elf64_Ehdr elf_header;
typedef Elf64_Phdr elf_program_header;
#else
#define OUR_CLASS ELFCLASS32
typedef Elf32_Ehdr elf_header;
typedef Elf32_Phdr elf_program_header;
#endif

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define OUR_ORDER ELFDATA2LSB
#else
#define OUR_ORDER ELFDATA2MSB
#endif

#if defined(__x86_64__)
#define OUR_MACHINE EM_X86_64
#elif defined(__i386__)
#define OUR_MACHINE EM_386
#elif defined(__aarch64__)
#define OUR_MACHINE EM_AARCH64
#elif defined(__arm__)
#define OUR_MACHINE EM_ARM
#elif defined(__riscv)
#define OUR_MACHINE EM_RISCV
#elif defined(__powerpc64__)
#define OUR_MACHINE EM_PPC64
#elif defined(__s390__)
#define OUR_MACHINE EM_S390
#endif

/* What every database file begins with, and so what every copy of SQLite holds. */
static const char sqlite_mark[] = "SQLite format 3";

static int refuse(struct catchup_error *error, const char *what)
{
	return cu_error_set(error, CATCHUP_CONFIG, 0, "%s", what);
}

/* ---- who could have written it ------------------------------------------------------------ */

static int check_trust(const char *what, const char *path, struct cu_file_stat *stat,
	struct catchup_error *error)
{
	unsigned mode = stat->mode & 07777;
	bool sticky = S_ISDIR(stat->mode) && (mode & S_ISVTX) && stat->uid == 0;

	if (stat->uid != 0 && stat->uid != geteuid())
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"%s '%.200s' belongs to user %u; a module is loaded only from root or the user "
			"who runs it (%u)",
			what, path, stat->uid, (unsigned)geteuid());
	/* In a sticky folder of root's, such as /tmp, others cannot replace a file of ours. */
	if ((mode & (S_IWGRP | S_IWOTH)) && !sticky)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"%s '%.200s' can be written by others (permission %04o); take that away with "
			"chmod go-w",
			what, path, mode);
	return CATCHUP_OK;
}

static int check_folder(const char *path, struct catchup_error *error)
{
	const char *slash = strrchr(path, '/');
	char *folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	struct cu_file_stat stat;
	int rc, code;

	if (!folder)
		return cu_error_nomem(error);
	rc = cu_file_stat_path(folder, &stat);
	code = rc < 0 ? cu_error_errno(error, CATCHUP_IO, -rc, "folder '%.200s'", folder)
		      : check_trust("folder", folder, &stat, error);
	free(folder);
	return code;
}

static int check_kind(const struct cu_file_stat *stat, struct catchup_error *error)
{
	if (S_ISREG(stat->mode))
		return CATCHUP_OK;
	return cu_error_set(error, CATCHUP_CONFIG, 0, "is %s; a module is a regular file",
		S_ISDIR(stat->mode)    ? "a folder"
		: S_ISFIFO(stat->mode) ? "a FIFO"
		: S_ISSOCK(stat->mode) ? "a socket"
				       : "a device");
}

/* ---- what is in it ------------------------------------------------------------------------ */

static int read_exactly(int fd, void *to, size_t bytes, int64_t offset, struct catchup_error *error)
{
	while (bytes > 0) {
		ssize_t n = cu_file_read_at(fd, to, bytes, offset);

		if (n < 0)
			return cu_error_errno(error, CATCHUP_IO, (int)-n, "cannot read");
		if (n == 0)
			return refuse(error, "truncated: the file ends inside its headers");
		to = (char *)to + n;
		bytes -= (size_t)n;
		offset += n;
	}
	return CATCHUP_OK;
}

static int check_header(const elf_header *header, struct catchup_error *error)
{
	if (header->e_ident[EI_CLASS] != OUR_CLASS)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"built for another machine: a %d-bit shared object, this program has %d bits",
			header->e_ident[EI_CLASS] == ELFCLASS64 ? 64 : 32, (int)sizeof(void *) * 8);
	if (header->e_ident[EI_DATA] != OUR_ORDER)
		return refuse(error, "built for another machine: its byte order is another one");
#ifdef OUR_MACHINE
	if (header->e_machine != OUR_MACHINE)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"built for another machine: ELF machine %u, this program is %u",
			header->e_machine, (unsigned)OUR_MACHINE);
#endif
	if (header->e_type != ET_DYN)
		return refuse(error, "not a shared object; build it with -shared -fPIC");
	if (header->e_phentsize != sizeof(elf_program_header) || header->e_phnum == 0)
		return refuse(error, "not a shared object that can be loaded: no program headers");
	return CATCHUP_OK;
}

static int check_elf(int fd, int64_t size, struct catchup_error *error)
{
	elf_header header;
	int code;

	if (size < SELFMAG)
		return refuse(error, size == 0 ? "the file is empty" : "not an ELF shared object");
	code = read_exactly(fd, header.e_ident, SELFMAG, 0, error);
	if (code != CATCHUP_OK)
		return code;
	if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return refuse(error, "not an ELF shared object");
	code = read_exactly(fd, &header, sizeof(header), 0, error);
	if (code == CATCHUP_OK)
		code = check_header(&header, error);
	for (unsigned i = 0; code == CATCHUP_OK && i < header.e_phnum; i++) {
		elf_program_header segment;
		uint64_t at = (uint64_t)header.e_phoff + (uint64_t)i * sizeof(segment);

		if (header.e_phoff > INT64_MAX / 2)
			return refuse(error, "truncated: the file ends inside its headers");
		code = read_exactly(fd, &segment, sizeof(segment), (int64_t)at, error);
		if (code != CATCHUP_OK)
			return code;
		if (segment.p_type == PT_LOAD &&
			(segment.p_offset > (uint64_t)size ||
				segment.p_filesz > (uint64_t)size - segment.p_offset))
			return cu_error_set(error, CATCHUP_CONFIG, 0,
				"truncated: the file has %lld bytes, its headers speak of more",
				(long long)size);
	}
	return code;
}

/* Finds a copy of SQLite that is linked in, its symbols hidden or not. */
static int check_no_sqlite(int fd, struct catchup_error *error)
{
	enum { KEEP = sizeof(sqlite_mark) - 2, BLOCK = 65536 };
	char *buffer = malloc(KEEP + BLOCK);
	size_t kept = 0;
	int64_t offset = 0;
	int code = CATCHUP_OK;

	if (!buffer)
		return cu_error_nomem(error);
	for (;;) {
		ssize_t n = cu_file_read_at(fd, buffer + kept, BLOCK, offset);
		size_t have;

		if (n < 0)
			code = cu_error_errno(error, CATCHUP_IO, (int)-n, "cannot read");
		if (n <= 0)
			break;
		have = kept + (size_t)n;
		if (memmem(buffer, have, sqlite_mark, sizeof(sqlite_mark) - 1)) {
			code = refuse(error, "brings a copy of SQLite (it holds the text \"SQLite format "
					     "3\"); a module reaches SQLite through the host, built with "
					     "-DCATCHUP_MODULE and without sqlite3.c or libsqlite3.a");
			break;
		}
		/* The mark may lie across two blocks. */
		kept = have < KEEP ? have : KEEP;
		memmove(buffer, buffer + have - kept, kept);
		offset += n;
	}
	free(buffer);
	return code;
}

static int check_content(const char *path, struct catchup_error *error)
{
	struct cu_file_stat stat;
	int fd = cu_file_open(path, CU_OPEN_READ);
	int rc, code;

	if (fd < 0)
		return cu_error_errno(error, CATCHUP_CONFIG, -fd, "cannot open");
	rc = cu_file_stat_fd(fd, &stat);
	code = rc < 0 ? cu_error_errno(error, CATCHUP_IO, -rc, "cannot look at")
		      : check_kind(&stat, error);
	if (code == CATCHUP_OK)
		code = check_trust("file", path, &stat, error);
	if (code == CATCHUP_OK)
		code = check_elf(fd, stat.size, error);
	if (code == CATCHUP_OK)
		code = check_no_sqlite(fd, error);
	cu_file_close(fd);
	return code;
}

int cu_module_file_check(const char *path, char **resolved, struct catchup_error *error)
{
	struct cu_file_stat stat;
	int rc, code;

	*resolved = NULL;
	if (!strchr(path, '/'))
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"a module's path has a slash in it; write './%.200s'", path);
	rc = cu_file_stat_path(path, &stat);
	if (rc < 0)
		return cu_error_errno(error, CATCHUP_CONFIG, -rc, "cannot open");
	code = check_kind(&stat, error);
	if (code != CATCHUP_OK)
		return code;
	*resolved = realpath(path, NULL);
	if (!*resolved)
		return cu_error_errno(error, CATCHUP_CONFIG, errno, "cannot open");
	/* Both the folder of the link and that of the file: either can give the path another file. */
	code = check_folder(path, error);
	if (code == CATCHUP_OK)
		code = check_folder(*resolved, error);
	if (code == CATCHUP_OK)
		code = check_content(*resolved, error);
	if (code != CATCHUP_OK) {
		free(*resolved);
		*resolved = NULL;
	}
	return code;
}
