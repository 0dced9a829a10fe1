/* SPDX-License-Identifier: MIT */
/*
 * path.c - database files by name: absolute paths, what kind of file stands there, file: URIs.
 *
 * Files are looked at with stat only. Opening and closing a database file beside SQLite would drop
 * the locks that SQLite holds on it in this process.
 */
#include "store/connection/path.h"

#include "base/error.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SMALLEST_BYTES 512 /* one page of the smallest size */

/*
 * A machine that is short of something says nothing about the file: that passes. A path that leads to
 * no file is the mistake of whoever gave it.
 */
static int code_of(int errnum)
{
	switch (errnum) {
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case ENAMETOOLONG:
		return CATCHUP_USAGE;
	case ENOMEM:
		return CATCHUP_NOMEM;
	case EIO:
	case EMFILE:
	case ENFILE:
		return CATCHUP_IO;
	default:
		return CATCHUP_DATABASE;
	}
}

static int check_name(const char *path, struct catchup_error *error)
{
	if (!path || path[0] == '\0')
		return cu_error_set(error, CATCHUP_USAGE, 0, "the path of a database is empty");
	if (strcmp(path, ":memory:") == 0)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"database ':memory:': a database in memory cannot be shared or kept; "
			"give a file");
	if (strlen(path) >= PATH_MAX)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"database '%.60s...': the path has %zu bytes, the limit is %d", path,
			strlen(path), PATH_MAX - 1);
	return CATCHUP_OK;
}

/* path, or folder of `beside` plus path. Returns CATCHUP_USAGE when that is too long. */
static int join(char *to, const char *path, const char *beside, struct catchup_error *error)
{
	const char *slash = beside && path[0] != '/' ? strrchr(beside, '/') : NULL;
	int folder = slash ? (int)(slash - beside + 1) : 0;

	if (snprintf(to, PATH_MAX, "%.*s%s", folder, folder ? beside : "", path) < PATH_MAX)
		return CATCHUP_OK;
	return cu_error_set(error, CATCHUP_USAGE, 0,
		"database '%.60s...': the path with its folder is longer than %d bytes", path,
		PATH_MAX - 1);
}

/* Absolute path of a file that is not there yet: the real folder and the name. */
static int resolve_new(const char *path, char *real, struct catchup_error *error)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char folder[PATH_MAX];
	size_t used;
	int rc;

	if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"database '%s': the path names a folder, not a file", path);
	if (!slash)
		snprintf(folder, sizeof(folder), ".");
	else
		snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	rc = cu_file_real_path(folder, real, PATH_MAX);
	if (rc < 0)
		return cu_error_errno(error, code_of(-rc), -rc, "database '%s': folder '%s'", path,
			folder);
	used = strlen(real);
	if ((size_t)snprintf(real + used, PATH_MAX - used, "%s%s", used > 1 ? "/" : "", name) >=
		PATH_MAX - used)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"database '%.60s...': the absolute path is longer than %d bytes", path,
			PATH_MAX - 1);
	return CATCHUP_OK;
}

int cu_path_resolve(const char *path, const char *relative_to_folder_of, char **out,
	struct catchup_error *error)
{
	char whole[PATH_MAX];
	char real[PATH_MAX];
	int rc = check_name(path, error);

	*out = NULL;
	if (rc == CATCHUP_OK)
		rc = join(whole, path, relative_to_folder_of, error);
	if (rc != CATCHUP_OK)
		return rc;
	rc = cu_file_real_path(whole, real, sizeof(real));
	if (rc == -ENOENT)
		rc = resolve_new(whole, real, error);
	else if (rc == -ENOLINK)
		rc = cu_error_set(error, CATCHUP_USAGE, 0,
			"database '%s': a symbolic link that leads to no file", whole);
	else if (rc < 0)
		rc = cu_error_errno(error, code_of(-rc), -rc, "database '%s'", whole);
	if (rc != CATCHUP_OK)
		return rc;
	*out = strdup(real);
	return *out ? CATCHUP_OK : cu_error_nomem(error);
}

int cu_path_check(const char *path, bool may_be_missing, struct cu_file_stat *st,
	struct catchup_error *error)
{
	/* SQLite keeps room for the longest name it adds, "-journal". */
	int longest = sqlite3_vfs_find(NULL)->mxPathname - 8;
	const char *kind = NULL;
	int rc = check_name(path, error);

	memset(st, 0, sizeof(*st));
	if (rc != CATCHUP_OK)
		return rc;
	if (path[0] != '/')
		return cu_error_set(error, CATCHUP_INTERNAL, 0, "database '%s': not an absolute path",
			path);
	if ((int)strlen(path) > longest)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"database '%.60s...': the absolute path has %zu bytes, SQLite's limit is %d",
			path, strlen(path), longest);
	rc = cu_file_stat_path(path, st);
	if (rc == -ENOENT && may_be_missing)
		return CATCHUP_OK;
	if (rc < 0)
		return cu_error_errno(error, code_of(-rc), -rc, "database '%s'", path);
	if (S_ISDIR(st->mode))
		kind = "a folder";
	else if (S_ISFIFO(st->mode))
		kind = "a FIFO";
	else if (S_ISSOCK(st->mode))
		kind = "a socket";
	else if (!S_ISREG(st->mode))
		kind = "a device";
	/* SQLite takes a file of one byte for an empty one, and would write over it. */
	if (!kind && st->size > 0 && st->size < SMALLEST_BYTES)
		return cu_error_set(error, CATCHUP_DATABASE, SQLITE_NOTADB,
			"database '%s': not a database: it has %lld bytes, the smallest one has %d", path,
			(long long)st->size, SMALLEST_BYTES);
	if (kind)
		return cu_error_set(error, CATCHUP_USAGE, 0, "database '%s': %s, not a file", path,
			kind);
	return CATCHUP_OK;
}

char *cu_path_uri(const char *path, const char *mode)
{
	static const char hex[] = "0123456789ABCDEF";
	char *uri = malloc(3 * strlen(path) + strlen(mode) + sizeof("file:?mode="));
	char *to = uri;

	if (!uri)
		return NULL;
	memcpy(to, "file:", 5);
	to += 5;
	for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
		bool plain = (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') ||
			(*p >= 'a' && *p <= 'z') || strchr("/._-", *p);

		if (plain) {
			*to++ = (char)*p;
		} else {
			*to++ = '%';
			*to++ = hex[*p >> 4];
			*to++ = hex[*p & 15];
		}
	}
	memcpy(to, "?mode=", 6);
	memcpy(to + 6, mode, strlen(mode) + 1);
	return uri;
}
