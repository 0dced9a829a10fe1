/* SPDX-License-Identifier: MIT */
/*
 * layout_workers.c - which consumers run on which thread.
 *
 * A results file has one writer at a time, so more threads do not make its consumers faster. What they are
 * good for is that one with slow code, or a slow query, does not hold up the others, and a handful of
 * consumers has that. For a crowd it costs too much: memory for each thread, and changes of thread that
 * take longer than what each consumer has to do. Two are as fast as any number: one reads while the other
 * writes. Whoever knows better gives the number (--threads).
 *
 * All that run on one thread have the same results file, so that they share connections (share.c) and hand
 * on the turn to write it (turn.c); unless there are more files than threads.
 */
#include "pool/runtime.h"

#include "base/error.h"

#include <stdlib.h>

/* So many consumers of a file have a thread each; where there are more, they have this many. */
#define HANDFUL 8u
#define CROWD_THREADS 2u

/* Of all files, where no number is given. */
#define MOST_THREADS 64u

static size_t wanted_threads(const struct catchup *c, const struct cu_file *file)
{
	return c->options.threads == 0 && file->consumers > HANDFUL ? CROWD_THREADS : file->consumers;
}

/* Whose next thread helps most: the file with most consumers a thread. NULL: nobody wants one. */
static struct cu_file *neediest(const struct catchup *c)
{
	struct cu_file *found = NULL;

	for (struct cu_file *file = c->files; file; file = file->next)
		if (file->threads < wanted_threads(c, file) &&
			(!found || file->consumers * found->threads > found->consumers * file->threads))
			found = file;
	return found;
}

/* One for each file, and the rest by need; where there are too many files, some have the same one.
 * Returns how many there are. */
static size_t share_out(struct catchup *c)
{
	size_t most = c->options.threads ? c->options.threads : MOST_THREADS;
	size_t n = 0, files = 0;
	struct cu_file *file;

	for (size_t i = 0; i < c->n_followers; i++)
		c->followers[i]->file->consumers++;
	for (file = c->files; file; file = file->next) {
		file->threads = 1;
		file->first_worker = files++ % most;
	}
	if (files >= most)
		return most;
	while (files < most && (file = neediest(c))) {
		file->threads++;
		files++;
	}
	for (file = c->files; file; file = file->next) {
		file->first_worker = n;
		n += file->threads;
	}
	return n;
}

/* A file's consumers, in the order in which they were added, go to its threads in turn. */
static size_t worker_of(const struct cu_file *file, size_t consumer)
{
	return file->first_worker + consumer % file->threads;
}

/* As many followers as it has at most. */
static size_t room_of(const struct catchup *c, size_t worker)
{
	size_t room = 0;

	for (const struct cu_file *file = c->files; file; file = file->next)
		if (worker >= file->first_worker && worker < file->first_worker + file->threads)
			room += (file->consumers - 1) / file->threads + 1;
	return room;
}

int cu_layout_workers(struct catchup *c, struct catchup_error *error)
{
	size_t n = share_out(c);
	struct cu_worker **all = calloc(n, sizeof(struct cu_worker *));

	if (!all)
		return cu_error_nomem(error);
	for (size_t i = 0; i < n; i++) {
		struct cu_worker *w = cu_worker_create(c, room_of(c, i));

		if (!w) {
			free(all);
			return cu_error_nomem(error);
		}
		w->next = c->workers;
		c->workers = w;
		all[i] = w;
	}
	for (struct cu_file *file = c->files; file; file = file->next)
		file->consumers = 0;
	for (size_t i = 0; i < c->n_followers; i++) {
		struct cu_follower *f = c->followers[i];

		cu_worker_add(all[worker_of(f->file, f->file->consumers++)], f);
	}
	free(all);
	return CATCHUP_OK;
}
