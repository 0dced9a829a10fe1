/* SPDX-License-Identifier: MIT */
/*
 * cut_player.c - makes files as a power cut may leave them. For each file it knows what is on the disk
 * for certain, and which steps have come since the last sync.
 */
#include "cut_inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SECTOR 512

struct content {
	unsigned char *bytes; /* owned */
	size_t n, room;
};

struct disk_file {
	bool exists;       /* for programs */
	bool named;        /* and on the disk */
	struct content durable;
	size_t *pending;   /* owned: steps since the last sync */
	size_t n_pending, pending_room;
	bool has_ghost;    /* a file of this name was deleted, perhaps not on the disk */
	struct content ghost;
};

struct cut_player {
	size_t step;
	int64_t notes[CUT_NOTES_MAX];
	struct disk_file files[CUT_SLOTS_MAX];
};

const char *cut_choice_name(enum cut_choice choice)
{
	static const char *const names[] = {"none", "all", "some", "torn"};

	return names[choice];
}

/* ---- contents -------------------------------------------------------------------------------- */

static void resize(struct content *content, size_t n)
{
	if (n > content->room) {
		content->room = n * 2;
		content->bytes = realloc(content->bytes, content->room);
		assert_non_null(content->bytes);
	}
	if (n > content->n)
		memset(content->bytes + content->n, 0, n - content->n);
	content->n = n;
}

static void put(struct content *content, size_t offset, const unsigned char *bytes, size_t n)
{
	if (offset + n > content->n)
		resize(content, offset + n);
	if (n)
		memcpy(content->bytes + offset, bytes, n);
}

static void copy(struct content *to, const struct content *from)
{
	to->n = 0;
	resize(to, from->n);
	if (from->n)
		memcpy(to->bytes, from->bytes, from->n);
}

static void apply(struct content *content, const struct cut_step *step)
{
	if (step->kind == CUT_WRITE)
		put(content, (size_t)step->offset, step->bytes, step->n);
	else
		resize(content, (size_t)step->offset);
}

/* Sector by sector: the old bytes, the new ones, or rubbish. */
static void apply_torn(
	struct content *content, const struct cut_step *step, struct proof_random *random)
{
	size_t done = 0;

	if (step->kind == CUT_TRUNCATE) {
		if (proof_below(random, 2))
			apply(content, step);
		return;
	}
	while (done < step->n) {
		size_t at = (size_t)step->offset + done;
		size_t n = SECTOR - at % SECTOR;
		unsigned char rubbish[SECTOR];

		if (n > step->n - done)
			n = step->n - done;
		switch (proof_below(random, 8)) {
		case 0:
			for (size_t i = 0; i < n; i++)
				rubbish[i] = (unsigned char)proof_random_next(random);
			put(content, at, rubbish, n);
			break;
		case 1:
		case 2:
		case 3:
			break;
		default:
			put(content, at, step->bytes + done, n);
		}
		done += n;
	}
}

/* ---- going forward --------------------------------------------------------------------------- */

struct cut_player *cut_player_create(void)
{
	const struct cut_recording *r = cut_recording();
	struct cut_player *player = calloc(1, sizeof(*player));

	assert_non_null(player);
	for (int i = 0; i < CUT_NOTES_MAX; i++)
		player->notes[i] = -1;
	for (size_t i = 0; i < r->n_slots; i++) {
		struct disk_file *file = &player->files[i];

		file->exists = file->named = r->slots[i].existed;
		put(&file->durable, 0, r->slots[i].base, r->slots[i].base_bytes);
	}
	return player;
}

void cut_player_destroy(struct cut_player *player)
{
	for (size_t i = 0; i < CUT_SLOTS_MAX; i++) {
		free(player->files[i].durable.bytes);
		free(player->files[i].ghost.bytes);
		free(player->files[i].pending);
	}
	free(player);
}

static void add_pending(struct disk_file *file, size_t step)
{
	if (file->n_pending == file->pending_room) {
		file->pending_room = file->pending_room ? file->pending_room * 2 : 64;
		file->pending = realloc(file->pending, file->pending_room * sizeof(*file->pending));
		assert_non_null(file->pending);
	}
	file->pending[file->n_pending++] = step;
}

static void settle(struct disk_file *file)
{
	for (size_t i = 0; i < file->n_pending; i++)
		apply(&file->durable, &cut_recording()->steps[file->pending[i]]);
	file->n_pending = 0;
}

static void sync_names(struct cut_player *player)
{
	for (size_t i = 0; i < cut_recording()->n_slots; i++) {
		player->files[i].named = player->files[i].exists;
		player->files[i].has_ghost = false;
	}
}

static void remove_file(struct disk_file *file)
{
	/* Until the folder is synced, the file may come back with all it had. */
	settle(file);
	if (file->named) {
		copy(&file->ghost, &file->durable);
		file->has_ghost = true;
	}
	file->exists = file->named = false;
	resize(&file->durable, 0);
}

static void go_one(struct cut_player *player)
{
	const struct cut_step *step = &cut_recording()->steps[player->step];
	struct disk_file *file = step->kind == CUT_NOTE ? NULL : &player->files[step->slot];

	switch (step->kind) {
	case CUT_CREATE:
		file->exists = true;
		break;
	case CUT_WRITE:
	case CUT_TRUNCATE:
		add_pending(file, player->step);
		break;
	case CUT_SYNC:
		settle(file);
		if (step->names)
			sync_names(player);
		break;
	case CUT_DELETE:
		remove_file(file);
		if (step->names)
			sync_names(player);
		break;
	case CUT_NOTE:
		if (step->offset > player->notes[step->note])
			player->notes[step->note] = step->offset;
		break;
	}
	player->step++;
}

void cut_player_go(struct cut_player *player, size_t step)
{
	assert_true(step <= cut_recording()->n_steps);
	while (player->step < step)
		go_one(player);
}

int64_t cut_player_note(const struct cut_player *player, int kind)
{
	return player->notes[kind];
}

/* ---- making the files ------------------------------------------------------------------------ */

/* False when there is no such file after the power cut. */
static bool make_content(const struct disk_file *file, enum cut_choice choice,
	struct proof_random *random, struct content *to)
{
	const struct cut_step *steps = cut_recording()->steps;

	/* Files have luck of their own: one may be all there and the other not at all. */
	if (choice == CUT_SOME && proof_below(random, 2))
		choice = (enum cut_choice)proof_below(random, CUT_SOME);
	if (file->has_ghost && (choice == CUT_NONE || (choice != CUT_ALL && proof_below(random, 2)))) {
		copy(to, &file->ghost);
		return true;
	}
	if (!file->exists)
		return false;
	if (!file->named && (choice == CUT_NONE || (choice != CUT_ALL && proof_below(random, 2))))
		return false;
	copy(to, &file->durable);
	for (size_t i = 0; i < file->n_pending && choice != CUT_NONE; i++) {
		const struct cut_step *step = &steps[file->pending[i]];

		if (choice == CUT_TORN)
			apply_torn(to, step, random);
		else if (choice == CUT_ALL || proof_below(random, 2))
			apply(to, step);
	}
	return true;
}

void cut_player_write(const struct cut_player *player, enum cut_choice choice,
	struct proof_random *random, const char *folder)
{
	const struct cut_recording *r = cut_recording();
	struct content content = {0};
	char path[512];
	FILE *out;

	for (size_t i = 0; i < r->n_slots; i++) {
		snprintf(path, sizeof(path), "%s/%s-shm", folder, r->slots[i].name);
		unlink(path);
		snprintf(path, sizeof(path), "%s/%s", folder, r->slots[i].name);
		unlink(path);
		if (!make_content(&player->files[i], choice, random, &content))
			continue;
		out = fopen(path, "we");
		assert_non_null(out);
		assert_int_equal(fwrite(content.bytes, 1, content.n, out), content.n);
		assert_int_equal(fclose(out), 0);
	}
	free(content.bytes);
}
