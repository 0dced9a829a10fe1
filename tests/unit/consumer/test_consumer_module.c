/* SPDX-License-Identifier: MIT */
/*
 * Modules: one that works and cannot break the connection, and every kind of file that is refused.
 * MODULE_FOLDER is where the modules are that module_sample.c was built into.
 */
#include "consumer/definition.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../skip.h"

static char folder[] = "/tmp/catchup-test-XXXXXX";
static char path[256]; /* of the module in hand */

/* Copies a built module into the test's folder as x.so; at most `most` bytes of it. */
static void put(const char *name, size_t most)
{
	char from[512];
	FILE *in, *out;
	int c;

	snprintf(from, sizeof(from), "%s/module_%s.so", MODULE_FOLDER, name);
	snprintf(path, sizeof(path), "%s/x.so", folder);
	unlink(path);
	in = fopen(from, "rb");
	out = fopen(path, "wb");
	if (!in || !out)
		fail_msg("cannot copy %s", from);
	while (most-- > 0 && (c = getc(in)) != EOF)
		putc(c, out);
	fclose(in);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(chmod(path, 0644), 0);
}

#define WHOLE ((size_t)-1)

static void poke(long offset, unsigned char byte)
{
	FILE *f = fopen(path, "r+b");

	assert_non_null(f);
	assert_int_equal(fseek(f, offset, SEEK_SET), 0);
	putc(byte, f);
	assert_int_equal(fclose(f), 0);
}

static void refuses_path(const char *consumer, const char *message)
{
	struct cu_definition *d;
	struct catchup_error error = {0};
	char whole[CATCHUP_MESSAGE_BYTES];

	snprintf(whole, sizeof(whole), "module '%s': %s", consumer, message);
	assert_int_equal(cu_definition_make(&d, consumer, NULL, NULL, &error), CATCHUP_CONFIG);
	assert_null(d);
	assert_string_equal(error.message, whole);
	assert_int_not_equal(cu_definition_make(&d, consumer, NULL, NULL, NULL), CATCHUP_OK);
}

static void refuses(const char *message)
{
	refuses_path(path, message);
}

/* ---- one that works ----------------------------------------------------------------------- */

struct running {
	struct cu_definition *definition;
	struct cu_context context;
	void *state;
};

static void start(struct running *r, sqlite3 *db, const char *options)
{
	struct catchup_error error = {0};
	char spec[300];

	snprintf(spec, sizeof(spec), "%s%s", path, options);
	if (cu_definition_make(&r->definition, spec, NULL, NULL, &error) != CATCHUP_OK)
		fail_msg("%s", error.message);
	cu_context_init(&r->context, r->definition, NULL, NULL, db, 0);
	if (r->definition->table.open(&r->context.public, &r->state) != CATCHUP_ROW_APPLIED)
		fail_msg("%s", r->context.fail_text);
}

static void run(struct running *r, sqlite3 *db)
{
	sqlite3_stmt *rows = NULL;

	assert_int_equal(sqlite3_prepare_v2(db, "SELECT 1 UNION SELECT 2", -1, &rows, NULL), SQLITE_OK);
	while (sqlite3_step(rows) == SQLITE_ROW)
		assert_int_equal(r->definition->table.row(&r->context.public, r->state, rows),
			CATCHUP_ROW_APPLIED);
	sqlite3_finalize(rows);
}

static void stop(struct running *r)
{
	r->definition->table.close(&r->context.public, r->state);
	cu_definition_free(r->definition);
}

static void assert_ids(sqlite3 *db, const char *ids)
{
	sqlite3_stmt *stmt = NULL;

	assert_int_equal(sqlite3_prepare_v2(db, "SELECT group_concat(id) FROM copy", -1, &stmt, NULL),
		SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(stmt, 0), ids);
	sqlite3_finalize(stmt);
}

static sqlite3 *open_database(void)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE copy(id)", NULL, NULL, NULL), SQLITE_OK);
	return db;
}

static void runs_and_cannot_break_the_connection(void **state)
{
	sqlite3 *db = open_database();
	struct running r;

	(void)state;
	put("good", WHOLE);
	start(&r, db, ":step=10,name=ten");
	assert_string_equal(r.definition->name, "ten");
	assert_string_equal(r.definition->origin, path);
	assert_string_equal(r.definition->source, "events");
	/* Its hooks and handlers would stop the statement and the commit. */
	assert_int_equal(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
	run(&r, db);
	assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	assert_ids(db, "10,20");
	stop(&r);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void runs_twice_under_two_names(void **state)
{
	sqlite3 *db = open_database();
	struct running a, b;

	(void)state;
	put("good", WHOLE);
	start(&a, db, ":name=a");
	start(&b, db, ":name=b,step=100");
	run(&a, db);
	stop(&a);
	run(&b, db);
	stop(&b);
	assert_ids(db, "1,2,100,200");
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* ---- files that are no module ------------------------------------------------------------- */

/* "relative name without a slash" */
static void refuses_what_is_no_file(void **state)
{
	char link[256];

	(void)state;
	refuses_path("x.so", "a module's path has a slash in it; write './x.so'");
	put("good", WHOLE);
	unlink(path);
	refuses("cannot open: No such file or directory");
	assert_int_equal(mkdir(path, 0755), 0);
	refuses("is a folder; a module is a regular file");
	rmdir(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	refuses("is a FIFO; a module is a regular file");
	unlink(path);
	snprintf(link, sizeof(link), "%s/x.so", folder);
	assert_int_equal(symlink("/dev/zero", link), 0);
	refuses("is a device; a module is a regular file");
	unlink(link);
}

/* "not ELF" */
static void refuses_what_is_no_shared_object(void **state)
{
	(void)state;
	put("good", 0);
	refuses("the file is empty");
	put("good", 2);
	refuses("not an ELF shared object");
	put("good", WHOLE);
	poke(1, 'X');
	refuses("not an ELF shared object");
	put("good", 20);
	refuses("truncated: the file ends inside its headers");
	put("good", 100);
	refuses("truncated: the file ends inside its headers");
	put("good", WHOLE);
	poke(EI_DATA, ELFDATA2MSB);
	refuses("built for another machine: its byte order is another one");
	put("good", WHOLE);
	poke(offsetof(Elf64_Ehdr, e_type), ET_EXEC);
	refuses("not a shared object; build it with -shared -fPIC");
	put("good", WHOLE);
	poke(offsetof(Elf64_Ehdr, e_phentsize), 1);
	refuses("not a shared object that can be loaded: no program headers");
}

/* "other machine" */
static void refuses_another_machine(void **state)
{
	(void)state;
#ifndef __x86_64__
	SKIP_BECAUSE("the messages are those of x86-64");
#endif
	put("good", WHOLE);
	poke(offsetof(Elf64_Ehdr, e_machine), EM_AARCH64);
	refuses("built for another machine: ELF machine 183, this program is 62");
	put("good", WHOLE);
	poke(EI_CLASS, ELFCLASS32);
	refuses("built for another machine: a 32-bit shared object, this program has 64 bits");
}

/* "truncated". The loader would be killed by a signal. */
static void refuses_a_module_that_was_cut_off(void **state)
{
	struct catchup_error error = {0};
	struct cu_definition *d;
	struct stat st;

	(void)state;
	put("good", WHOLE);
	assert_int_equal(stat(path, &st), 0);
	for (off_t size = 64; size < st.st_size; size += 509) {
		put("good", (size_t)size);
		/* Behind its last segment a file has only what the loader does not need. */
		if (cu_definition_make(&d, path, NULL, NULL, &error) == CATCHUP_OK)
			cu_definition_free(d);
		else
			assert_non_null(strstr(error.message, "truncated"));
	}
	put("good", 4096);
	refuses("truncated: the file has 4096 bytes, its headers speak of more");
}

/* "file or folder writable by others (refused with the permission shown)" */
static void refuses_what_others_can_write(void **state)
{
	char message[400];

	(void)state;
	put("good", WHOLE);
	for (int mode = 0664; mode <= 0666; mode += 2) {
		assert_int_equal(chmod(path, (mode_t)mode), 0);
		snprintf(message, sizeof(message),
			"file '%s' can be written by others (permission %04o); take that away with chmod "
			"go-w",
			path, mode);
		refuses(message);
	}
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(chmod(folder, 0775), 0);
	snprintf(message, sizeof(message),
		"folder '%s' can be written by others (permission 0775); take that away with chmod go-w",
		folder);
	refuses(message);
	assert_int_equal(chmod(folder, 0700), 0);
}

static void refuses_a_link_in_a_folder_of_others(void **state)
{
	char inner[256], link[300], message[700];

	(void)state;
	put("good", WHOLE);
	snprintf(inner, sizeof(inner), "%s/open", folder);
	snprintf(link, sizeof(link), "%s/l.so", inner);
	assert_int_equal(mkdir(inner, 0700), 0);
	assert_int_equal(chmod(inner, 0777), 0);
	assert_int_equal(symlink(path, link), 0);
	snprintf(message, sizeof(message),
		"folder '%s' can be written by others (permission 0777); take that away with chmod go-w",
		inner);
	refuses_path(link, message);
	unlink(link);
	rmdir(inner);
}

static void refuses_files_of_other_users(void **state)
{
	char message[400];

	(void)state;
	if (geteuid() != 0)
		SKIP_BECAUSE("only root can give a file away");
	put("good", WHOLE);
	assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
	snprintf(message, sizeof(message),
		"file '%s' belongs to user 12345; a module is loaded only from root or the user who runs "
		"it (0)",
		path);
	refuses(message);
}

/* ---- modules that are wrong --------------------------------------------------------------- */

/* "ABI major or size wrong, minor newer than the host" */
static void refuses_modules_of_another_abi(void **state)
{
	char message[200];

	(void)state;
	put("wrong_major", WHOLE);
	refuses("built for ABI 2.2, this runtime speaks 1.2");
	put("wrong_minor", WHOLE);
	refuses("built for ABI 1.3, this runtime speaks 1.2");
	put("wrong_size", WHOLE);
	snprintf(message, sizeof(message),
		"catchup_module has 8 bytes, in ABI 1.2 it has %zu; define it with CATCHUP_CONSUMER",
		sizeof(struct catchup_module));
	refuses(message);
	put("wrong_pointers", WHOLE);
	refuses("catchup_module has no consumer; define it with CATCHUP_CONSUMER");
	put("wrong_table", WHOLE);
	refuses("no 'source'; it or both 'max' and 'next' say where rows come from");
	put("no_export", WHOLE);
	refuses("exports no catchup_module; build it with -DCATCHUP_MODULE and CATCHUP_CONSUMER");
}

static void refuses_a_module_with_a_missing_function(void **state)
{
	struct catchup_error error = {0};
	struct cu_definition *d;

	(void)state;
	put("missing_symbol", WHOLE);
	assert_int_equal(cu_definition_make(&d, path, NULL, NULL, &error), CATCHUP_CONFIG);
	assert_non_null(strstr(error.message, "cannot be loaded: "));
	assert_non_null(strstr(error.message, "nobody_has_this_function"));
}

static void refuses_a_second_sqlite(void **state)
{
	(void)state;
	put("own_sqlite", WHOLE);
	refuses("brings a copy of SQLite (it holds the text \"SQLite format 3\"); a module reaches SQLite "
		"through the host, built with -DCATCHUP_MODULE and without sqlite3.c or libsqlite3.a");
	put("other_sqlite", WHOLE);
	refuses("is linked with a SQLite of its own (2001-01-01 another build of SQLite); a module "
		"reaches SQLite through the host, built with -DCATCHUP_MODULE and without -lsqlite3");
}

static void finds_sqlite_across_two_blocks(void **state)
{
	(void)state;
	/* Behind the sections the loader ignores what is there; the search does not. */
	for (long at = 65536 * 4 - 16; at <= 65536 * 4; at++) {
		FILE *f;

		put("good", WHOLE);
		f = fopen(path, "r+b");
		assert_non_null(f);
		assert_int_equal(fseek(f, at, SEEK_SET), 0);
		fputs("SQLite format 3", f);
		fclose(f);
		refuses("brings a copy of SQLite (it holds the text \"SQLite format 3\"); a module "
			"reaches SQLite through the host, built with -DCATCHUP_MODULE and without "
			"sqlite3.c or libsqlite3.a");
	}
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_and_cannot_break_the_connection),
		cmocka_unit_test(runs_twice_under_two_names),
		cmocka_unit_test(refuses_what_is_no_file),
		cmocka_unit_test(refuses_what_is_no_shared_object),
		cmocka_unit_test(refuses_another_machine),
		cmocka_unit_test(refuses_a_module_that_was_cut_off),
		cmocka_unit_test(refuses_what_others_can_write),
		cmocka_unit_test(refuses_a_link_in_a_folder_of_others),
		cmocka_unit_test(refuses_files_of_other_users),
		cmocka_unit_test(refuses_modules_of_another_abi),
		cmocka_unit_test(refuses_a_module_with_a_missing_function),
		cmocka_unit_test(refuses_a_second_sqlite),
		cmocka_unit_test(finds_sqlite_across_two_blocks),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
