/* SPDX-License-Identifier: MIT */
/*
 * replay.c - runs a fuzz target on files, once each, where there is no libFuzzer to do it: so the
 * corpus, and every input that once broke something, is part of every test run.
 *
 *	replay_NAME FOLDER-OR-FILE...
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static bool run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	uint8_t *data;
	size_t bytes;

	if (!f || fstat(fileno(f), &st) != 0) {
		perror(path);
		return false;
	}
	/* Exactly as large as the input, so that a sanitizer sees a read beyond it. */
	data = malloc(st.st_size > 0 ? (size_t)st.st_size : 1);
	bytes = data ? fread(data, 1, (size_t)st.st_size, f) : 0;
	fclose(f);
	if (!data || bytes != (size_t)st.st_size) {
		fprintf(stderr, "%s: cannot read\n", path);
		free(data);
		return false;
	}
	LLVMFuzzerTestOneInput(data, bytes);
	free(data);
	return true;
}

/* Returns how many files were run, -1 on failure. */
static int run_path(const char *path)
{
	struct stat st;
	struct dirent *entry;
	DIR *folder;
	int n = 0;

	if (stat(path, &st) != 0) {
		perror(path);
		return -1;
	}
	if (!S_ISDIR(st.st_mode))
		return run_file(path) ? 1 : -1;
	folder = opendir(path);
	while (folder && n >= 0 && (entry = readdir(folder))) {
		char inner[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
		n = run_file(inner) ? n + 1 : -1;
	}
	if (folder)
		closedir(folder);
	return folder ? n : -1;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		int n = run_path(argv[i]);

		if (n < 0)
			return 1;
		total += n;
	}
	printf("%d inputs\n", total);
	return total > 0 ? 0 : 1;
}
