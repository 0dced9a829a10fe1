/* SPDX-License-Identifier: MIT */
#include "cli/temporary.h"
#include "cli/process.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How often more is removed of what other threads make meanwhile; a few files are all they make. */
#define LOOKS_MAX 100
#define FOLDERS_OPEN 8

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *at)
{
	(void)stat;
	(void)kind;
	(void)at;
	remove(path);
	return 0;
}

/* Once the folder is gone nothing can be made in it any more. */
static void remove_all(const char *folder)
{
	for (int i = 0; i < LOOKS_MAX; i++) {
		nftw(folder, remove_one, FOLDERS_OPEN, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
		if (rmdir(folder) == 0 || (errno != ENOTEMPTY && errno != EEXIST))
			break;
	}
}

static void remove_and_die(void *context, int number)
{
	struct cli_temporary *temporary = context;

	remove_all(temporary->folder);
	cli_process_die(number);
}

void cli_temporary_start(struct cli_temporary *temporary)
{
	const char *base = getenv("TMPDIR");
	int n;

	*temporary = (struct cli_temporary){
		.before = base ? strdup(base) : NULL,
		.signals = {.first = remove_and_die, .context = temporary}};
	n = snprintf(temporary->folder, sizeof(temporary->folder), "%s/catchup-XXXXXX",
		base && base[0] == '/' ? base : "/tmp");
	if ((base && !temporary->before) || n < 0 || (size_t)n >= sizeof(temporary->folder) ||
		!mkdtemp(temporary->folder)) {
		temporary->folder[0] = '\0';
		free(temporary->before);
		return;
	}
	/* Without a thread that watches, a signal ends the process as it ends others. */
	temporary->watched = cli_signals_start(&temporary->signals) == 0;
	if (!temporary->watched)
		cli_signals_release();
	setenv("TMPDIR", temporary->folder, 1);
}

void cli_temporary_finish(struct cli_temporary *temporary)
{
	if (temporary->folder[0] == '\0')
		return;
	if (temporary->watched)
		cli_signals_finish(&temporary->signals);
	remove_all(temporary->folder);
	if (temporary->before)
		setenv("TMPDIR", temporary->before, 1);
	else
		unsetenv("TMPDIR");
	free(temporary->before);
	if (temporary->watched)
		cli_signals_release();
}
