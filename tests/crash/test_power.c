/* SPDX-License-Identifier: MIT */
/*
 * The power goes, thousands of times: what an application and a runtime write is recorded, and files as
 * a power cut may leave them at any step are made, opened and checked.
 *
 * With synchronous=FULL nothing that was acknowledged is lost. With NORMAL the newest commits may be, and
 * then results and watermark go together: results are always what a plain query makes of the source up
 * to the watermark. Where results are in a file of their own, they may be ahead of a source that lost its
 * newest rows; then the consumer says so and stops.
 *
 * The harness is proven as well: what is known to be unsafe must be seen to break.
 */
#include "cut.h"
#include "inside.h"
#include "program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NOTE_SOURCE WORLD_CLAIMS /* after those of the consumers */

#define STEPS_OF_THE_APPLICATION 40
#define IMAGES_PER_RECORDING 1250
/* What must be seen once may not be in the first: which commits a checkpoint has saved is chance. */
#define RECORDINGS_MOST 50
#define RUN_AGAIN_EVERY 50
#define CUT_BACK_TRIED_MOST 10

/* ---- recording ------------------------------------------------------------------------------- */

struct scene {
	char *folder; /* where things are recorded */
	char *image;  /* where the power has been cut */
	struct proof_random random;
	long images, run_again, cut_back, behind;
	long wrong, damaged; /* of the controls */
	const struct proof_claim *claim;
};

static const char *const pragmas[] = {
	[CATCHUP_SYNCHRONOUS_OFF] = "PRAGMA synchronous=OFF",
	[CATCHUP_SYNCHRONOUS_NORMAL] = "PRAGMA synchronous=NORMAL",
	[CATCHUP_SYNCHRONOUS_FULL] = "PRAGMA synchronous=FULL",
};

static char *fresh_folder(char *old)
{
	char *folder;

	if (old)
		test_folder_remove(old);
	folder = test_folder_make();
	world_write_consumers(folder);
	return folder;
}

static sqlite3 *open_application(const char *folder, enum catchup_synchronous synchronous)
{
	char *path = test_path(folder, "app.db");
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, PATIENCE_MS);
	assert_int_equal(sqlite3_exec(db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, pragmas[synchronous], NULL, NULL, NULL), SQLITE_OK);
	/* An older SQLite may damage a file by a checkpoint beside another writer; see the manual. */
	sqlite3_wal_autocheckpoint(db, catchup_sqlite_has_wal_reset_bug() ? 0 : 100);
	free(path);
	return db;
}

static void must(int code, const struct catchup_error *error)
{
	if (code != CATCHUP_OK)
		fail_msg("%s; it said: %s", error->message, inside_log());
}

/* An application inserts while a runtime works, which is stopped and started once. */
static void record(struct scene *s, enum catchup_synchronous synchronous)
{
	const struct catchup_options options = {
		.synchronous = synchronous, .batch_rows = 16, .wal_mib = 1};
	struct catchup_error error = {0};
	struct catchup *c = NULL;
	sqlite3 *db;

	s->folder = fresh_folder(s->folder);
	world_insert(s->folder, 3, "first ", 100);
	cut_start(s->folder);
	db = open_application(s->folder, synchronous);
	for (int i = 0; i < STEPS_OF_THE_APPLICATION; i++) {
		if (i == 1 || i == STEPS_OF_THE_APPLICATION / 2) {
			catchup_close(c);
			must(inside_open(s->folder, &options, &c, &error), &error);
			must(catchup_start(c, &error), &error);
		}
		world_insert_on(db, 1 + (int)proof_below(&s->random, 12), "in between ",
			(int)proof_below(&s->random, 600));
		cut_note(NOTE_SOURCE, sqlite3_last_insert_rowid(db));
		if (i > 0 && proof_below(&s->random, 3) == 0)
			must(catchup_wait(c, PATIENCE_MS, &error), &error);
	}
	must(catchup_wait(c, PATIENCE_MS, &error), &error);
	catchup_close(c);
	sqlite3_close(db);
	cut_stop();
}

/* ---- checking -------------------------------------------------------------------------------- */

struct cut {
	const struct cut_player *player;
	size_t step;
	enum cut_choice choice;
	bool full; /* what is acknowledged must be there */
};

static sqlite3 *open_image(const char *folder, const char *name, const char *attached)
{
	char *path = test_path(folder, name), *sql;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_exec(db, "PRAGMA synchronous=OFF", NULL, NULL, NULL); /* nobody needs the image later */
	free(path);
	if (attached) {
		path = test_path(folder, attached);
		sql = sqlite3_mprintf("ATTACH %Q AS source", path);
		/* What cannot be attached is found by the check that follows. */
		sqlite3_exec(db, sql, NULL, NULL, NULL);
		sqlite3_free(sql);
		free(path);
	}
	return db;
}

/* Whether a claim holds on the image. *ahead: it would, but for results that are ahead. */
static bool check_claim(const struct cut *cut, sqlite3 *db, int claim, bool *ahead,
	struct proof_verdict *verdict)
{
	int64_t acknowledged = cut_player_note(cut->player, claim);
	int64_t inserted = cut_player_note(cut->player, NOTE_SOURCE);

	*ahead = false;
	if (!proof_compare(db, &world_claims[claim], verdict)) {
		*ahead = claim == WORLD_INTO && !verdict->damaged &&
			verdict->watermark > verdict->newest;
		return false;
	}
	if (!cut->full)
		return true;
	if (verdict->watermark < acknowledged || verdict->newest < inserted) {
		snprintf(verdict->message, sizeof(verdict->message),
			"%s: acknowledged were watermark %lld and row %lld; there are %lld and %lld",
			world_claims[claim].consumer, (long long)acknowledged, (long long)inserted,
			(long long)verdict->watermark, (long long)verdict->newest);
		return false;
	}
	return true;
}

/* Whether the image in the folder is as it must be. */
static bool check_image(struct scene *s, const struct cut *cut, struct proof_verdict *verdict,
	bool *cut_back)
{
	sqlite3 *db = open_image(s->image, "app.db", NULL);
	char *results = test_path(s->image, "results.db");
	bool there = access(results, F_OK) == 0, ahead;
	bool ok;

	*verdict = (struct proof_verdict){0};
	*cut_back = false;
	ok = proof_is_sound(db, "main", verdict);
	for (int i = 0; i < WORLD_CLAIMS && ok; i++)
		if (i != WORLD_INTO)
			ok = check_claim(cut, db, i, &ahead, verdict);
	if (ok)
		s->behind += verdict->watermark < cut_player_note(cut->player, WORLD_TABLE);
	sqlite3_close(db);
	if (ok && there) {
		db = open_image(s->image, "results.db", "app.db");
		ok = proof_is_sound(db, "main", verdict) &&
			check_claim(cut, db, WORLD_INTO, cut_back, verdict);
		ok = ok || (*cut_back && !cut->full);
		sqlite3_close(db);
	} else if (ok && cut->full && cut_player_note(cut->player, WORLD_INTO) > 0) {
		snprintf(verdict->message, sizeof(verdict->message), "results.db is not there");
		ok = false;
	}
	free(results);
	return ok;
}

/* No process outlives a power cut, and the machine's next boot has another name. */
static void boot_anew(const char *folder)
{
	static const char *const names[] = {"app.db", "results.db"};

	for (size_t i = 0; i < 2; i++) {
		char *path = test_path(folder, names[i]);

		if (access(path, F_OK) == 0 &&
			test_number(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'catchup_lease'"))
			test_sql(path, "UPDATE catchup_lease SET boot = 'an earlier one'");
		free(path);
	}
}

/* The program goes on from the image, with new rows, and everything is done. */
static void run_again(struct scene *s)
{
	struct catchup_error error = {0};
	char why[600] = "";

	boot_anew(s->image);
	world_insert(s->image, 5, "after ", 100);
	must(inside_run(s->image, NULL, &error), &error);
	if (!world_verify(s->image, WORLD_CLAIMS, true, why, sizeof(why)))
		fail_msg("after another run: %s", why);
	s->run_again++;
}

/* Results that are ahead of their source: told at once, and also when the ids have come again. */
static void run_cut_back(struct scene *s, int64_t watermark)
{
	struct catchup_error error = {0};
	char *app;
	int64_t newest;

	boot_anew(s->image);
	assert_int_equal(inside_run(s->image, NULL, &error), CATCHUP_BACKWARDS);
	app = test_path(s->image, "app.db");
	newest = test_number(app, "SELECT max(id) FROM events");
	free(app);
	world_insert(s->image, (int)(watermark - newest) + 3, "others ", 100);
	assert_int_equal(inside_run(s->image, NULL, &error), CATCHUP_BACKWARDS);
	if (!strstr(error.message, "is not the row that was processed"))
		fail_msg("other rows under the same ids, and it said: %s", error.message);
}

static void look_at_cut(struct scene *s, const struct cut *cut)
{
	struct proof_verdict verdict;
	bool cut_back;

	if (!check_image(s, cut, &verdict, &cut_back)) {
		char *kept = s->image;

		/* The image as it was, before it was opened, is worth more than the folder. */
		s->image = NULL;
		fail_msg("power cut after step %zu of %zu, unsynced writes: %s: %s; the files are in %s",
			cut->step, cut_steps(), cut_choice_name(cut->choice), verdict.message, kept);
	}
	s->images++;
	if (cut_back) {
		if (s->cut_back++ < CUT_BACK_TRIED_MOST)
			run_cut_back(s, verdict.watermark);
	} else if (s->images % RUN_AGAIN_EVERY == 0) {
		run_again(s);
	}
}

/* Cuts the power at random steps of the recording, in order, and looks at each image. */
static void cut_everywhere(struct scene *s, bool full, long images,
	void (*look)(struct scene *s, const struct cut *cut))
{
	struct cut_player *player = cut_player_create();
	size_t steps = cut_steps();
	long moments = images / CUT_CHOICES + 1;

	s->image = fresh_folder(s->image);
	for (long i = 0; i < moments && proof_goes_on(); i++) {
		/* One at random out of each stretch of equal length; the last is the end. */
		size_t from = steps * (size_t)i / (size_t)moments;
		size_t to = steps * (size_t)(i + 1) / (size_t)moments;
		struct cut cut = {.player = player, .full = full};

		cut.step = i == moments - 1 ? steps : from + proof_below(&s->random, to - from + 1);
		cut_player_go(player, cut.step);
		for (cut.choice = CUT_NONE; cut.choice < CUT_CHOICES; cut.choice++) {
			cut_player_write(cut.player, cut.choice, &s->random, s->image);
			look(s, &cut);
		}
	}
	cut_player_destroy(player);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static int set_up(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	proof_use_memory();
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct scene *s = *state;

	if (s->folder)
		test_folder_remove(s->folder);
	if (s->image)
		test_folder_remove(s->image);
	cut_forget();
	free(s);
	return 0;
}

static void prove(struct scene *s, const char *name, enum catchup_synchronous synchronous)
{
	long images = proof_count(2500, 500000), most = RECORDINGS_MOST * images;
	bool full = synchronous == CATCHUP_SYNCHRONOUS_FULL;

	s->random = proof_random_start(name);
	while (proof_goes_on() && (s->images < images ||
		(!full && s->images < most && (s->behind == 0 || s->cut_back == 0)))) {
		record(s, synchronous);
		cut_everywhere(
			s, full, images < IMAGES_PER_RECORDING ? images : IMAGES_PER_RECORDING, look_at_cut);
	}
	proof_result("%s: %ld power cuts; %ld took commits back, %ld had results ahead of their source; "
		     "%ld went on and caught up",
		name, s->images, s->behind, s->cut_back, s->run_again);
}

static void test_full_loses_nothing_acknowledged(void **state)
{
	struct scene *s = *state;

	prove(s, "power cut, FULL", CATCHUP_SYNCHRONOUS_FULL);
	assert_int_equal(s->behind, 0);
	assert_int_equal(s->cut_back, 0);
}

static void test_normal_takes_back_results_and_watermark_together(void **state)
{
	struct scene *s = *state;

	prove(s, "power cut, NORMAL", CATCHUP_SYNCHRONOUS_NORMAL);
	/* A disk that takes nothing back would prove nothing. */
	assert_true(s->behind > 0);
	assert_true(s->cut_back > 0);
}

/* ---- controls: what must be seen to break ----------------------------------------------------- */

static void count_wrong(struct scene *s, const struct cut *cut)
{
	struct proof_verdict verdict;
	bool cut_back;

	s->images++;
	if (!check_image(s, cut, &verdict, &cut_back) && !cut_back) {
		s->wrong++;
		s->damaged += verdict.damaged;
	}
}

static void break_it(struct scene *s, const char *name, enum catchup_synchronous synchronous, const long *broken)
{
	s->random = proof_random_start(name);
	for (int i = 0; i < RECORDINGS_MOST && *broken == 0; i++) {
		record(s, synchronous);
		cut_everywhere(s, synchronous == CATCHUP_SYNCHRONOUS_NORMAL, proof_count(400, 4000), count_wrong);
	}
}

static void test_control_off_is_damaged(void **state)
{
	struct scene *s = *state;

	break_it(s, "power cut, OFF", CATCHUP_SYNCHRONOUS_OFF, &s->damaged);
	proof_result("power cut, OFF: %ld of %ld are wrong, %ld of these damaged", s->wrong, s->images,
		s->damaged);
	assert_true(s->damaged > 0);
}

static void test_control_normal_loses_what_was_acknowledged(void **state)
{
	struct scene *s = *state;

	break_it(s, "power cut, NORMAL taken for FULL", CATCHUP_SYNCHRONOUS_NORMAL, &s->wrong);
	assert_true(s->wrong > 0);
	assert_int_equal(s->damaged, 0);
}

/*
 * A loop as one writes it by hand: results in app.db, and the watermark in a schema, which is the same
 * file or another one. SQLite commits two files one after the other.
 */
static void record_by_hand(struct scene *s, const char *schema)
{
	char *path, *sql;
	sqlite3 *db;

	s->folder = fresh_folder(s->folder);
	world_insert(s->folder, 3, "first ", 100);
	cut_start(s->folder);
	db = open_application(s->folder, CATCHUP_SYNCHRONOUS_FULL);
	path = test_path(s->folder, "results.db");
	sql = sqlite3_mprintf("ATTACH %Q AS other; PRAGMA other.journal_mode=WAL;"
		" CREATE TABLE applied(line TEXT NOT NULL); CREATE TABLE %s.catchup(name, last);"
		" INSERT INTO %s.catchup VALUES ('apply', 0);", path, schema, schema);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_free(sql);
	free(path);
	sql = sqlite3_mprintf("BEGIN IMMEDIATE; INSERT INTO applied SELECT id || ' ' || v FROM events"
		" WHERE id > (SELECT last FROM %s.catchup); UPDATE %s.catchup SET last ="
		" (SELECT max(id) FROM events); COMMIT", schema, schema);
	for (int i = 0; i < STEPS_OF_THE_APPLICATION; i++) {
		world_insert_on(db, 1 + (int)proof_below(&s->random, 12), "in between ", 200);
		assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	}
	sqlite3_free(sql);
	sqlite3_close(db);
	cut_stop();
}

static void count_torn(struct scene *s, const struct cut *cut)
{
	bool apart = s->claim->newest != world_claims[WORLD_APPLY].newest;
	sqlite3 *db = open_image(
		s->image, apart ? "results.db" : "app.db", apart ? "app.db" : NULL);
	struct proof_verdict verdict;

	(void)cut;
	s->images++;
	if (!proof_compare(db, s->claim, &verdict)) {
		s->wrong++;
		s->damaged += verdict.damaged;
	}
	sqlite3_close(db);
}

static void test_control_two_files_tear_apart(void **state)
{
	static const struct proof_claim apart = {"apply", "SELECT max(id) FROM source.events",
		"SELECT id || ' ' || v AS line FROM source.events WHERE id <= ?1",
		"SELECT line FROM source.applied"};
	struct scene *s = *state;

	s->random = proof_random_start("power cut, by hand");
	record_by_hand(s, "main");
	s->claim = &world_claims[WORLD_APPLY];
	cut_everywhere(s, true, proof_count(400, 4000), count_torn);
	assert_int_equal(s->wrong, 0);

	record_by_hand(s, "other");
	s->claim = &apart;
	cut_everywhere(s, true, proof_count(400, 4000), count_torn);
	proof_result("power cut, watermark in another file: %ld of %ld are torn apart", s->wrong,
		s->images / 2);
	assert_true(s->wrong > 0);
	assert_int_equal(s->damaged, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_full_loses_nothing_acknowledged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_normal_takes_back_results_and_watermark_together, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_control_off_is_damaged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_control_normal_loses_what_was_acknowledged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_control_two_files_tear_apart, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
