/* SPDX-License-Identifier: MIT */
/*
 * fuzz_database.c - any bytes as a database file: looked at from outside, verified, and followed by
 * consumers of two kinds for a moment. Whatever is wrong with it, the answer is an error that says so on
 * one line: no crash, no hang, nothing left behind.
 *
 * corpus/database has sound files of small pages: rows to be done, rows done, dead letters, a lease, a
 * guard.
 */
#include "base/check.h"

#include <catchup/catchup.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* A consumer of a file that cannot be read tries again until it is stopped. */
#define LIFE_MS 30

static char folder[] = "/tmp/catchup-fuzz-XXXXXX";
static char in_memory[] = "/dev/shm/catchup-fuzz-XXXXXX";
static const char *at; /* the one of them that is there */
static char database[64], apply[64], row[64];

static void write_file(const char *path, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CU_CHECK(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
	close(fd);
}

/* All but the consumers. */
static void remove_files(bool consumers_too)
{
	DIR *dir = opendir(at);
	struct dirent *entry;
	char path[512];

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || (!consumers_too && strstr(entry->d_name, ".sql")))
			continue;
		snprintf(path, sizeof(path), "%s/%s", at, entry->d_name);
		unlink(path);
	}
	if (dir)
		closedir(dir);
}

static void remove_folder(void)
{
	remove_files(true);
	rmdir(at);
}

static void make_folder(void)
{
	static const char apply_text[] =
		"-- name: apply\n-- source: events\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS applied(line TEXT NOT NULL);\n"
		"-- apply\nINSERT INTO applied SELECT id || v FROM events WHERE id > @last AND id <= @max;\n";
	static const char row_text[] =
		"-- name: row\n-- source: events\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS rowed(line TEXT NOT NULL);\n"
		"-- next\nSELECT id, v FROM events WHERE id > @last AND id <= @max ORDER BY id\n"
		"-- row\nINSERT INTO rowed VALUES (@id || @v);\n";

	at = mkdtemp(in_memory) ? in_memory : mkdtemp(folder);
	CU_CHECK(at);
	snprintf(database, sizeof(database), "%s/app.db", at);
	snprintf(apply, sizeof(apply), "%s/apply.sql", at);
	snprintf(row, sizeof(row), "%s/row.sql", at);
	write_file(apply, apply_text, strlen(apply_text));
	write_file(row, row_text, strlen(row_text));
	atexit(remove_folder);
}

/* What is said of an error fits a line of a terminal or a log. */
static bool told(int rc, const struct catchup_error *error)
{
	if (rc == CATCHUP_OK)
		return true;
	CU_CHECK(error->message[0] && memchr(error->message, '\0', sizeof(error->message)));
	for (const char *p = error->message; *p; p++)
		CU_CHECK((unsigned char)*p >= ' ' && *p != 0x7f);
	return false;
}

static void look(const struct catchup_options *options)
{
	struct catchup_verification *verification;
	struct catchup_dead_letters *letters;
	struct catchup_status *status;
	struct catchup_error error = {0};

	if (told(catchup_status_read(database, &status, &error), &error))
		catchup_status_free(status);
	told(catchup_dead_read(database, NULL, 0, &letters, &error), &error);
	catchup_dead_free(letters);
	if (told(catchup_verify(options, NULL, 0, 0, &verification, &error), &error))
		catchup_verification_free(verification);
}

static void follow(const struct catchup_options *options)
{
	struct catchup_error error = {0};
	struct catchup_status *status;
	struct catchup *c;

	if (!told(catchup_open(options, &c, &error), &error))
		return;
	if (told(catchup_add(c, apply, NULL, &error), &error) &&
		told(catchup_add(c, row, NULL, &error), &error) &&
		told(catchup_start(c, &error), &error)) {
		told(catchup_wait(c, LIFE_MS, &error), &error);
		if (told(catchup_status(c, &status, &error), &error))
			catchup_status_free(status);
	}
	catchup_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct catchup_options options = {
		.size = sizeof(options),
		.database = database,
		.threads = 1,
		.busy_ms = 100,
		.synchronous = CATCHUP_SYNCHRONOUS_OFF,
	};

	if (!at)
		make_folder();
	write_file(database, data, bytes);
	look(&options);
	follow(&options);
	look(&options);
	remove_files(false);
	return 0;
}
