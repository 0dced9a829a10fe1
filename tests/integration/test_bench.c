/* SPDX-License-Identifier: MIT */
/*
 * test_bench.c - the benchmarks run, and what they measure gives right results. With little work, and
 * nothing is asked of the times.
 */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "scenarios.h"

static char folder[4096];

static int make_folder(void **state)
{
	const char *base = getenv("TMPDIR");

	(void)state;
	snprintf(folder, sizeof(folder), "%s/catchup-test-bench.XXXXXX", base && *base ? base : "/tmp");
	return mkdtemp(folder) ? 0 : -1;
}

/* Every run cleans up behind itself, so what is left here is a failure. */
static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

/* Runs it and returns what it prints on standard output; *code becomes its exit code. */
static char *run(const char *arguments, int *code)
{
	char command[8192];
	size_t used = 0, room = 1 << 20;
	char *text = malloc(room);
	FILE *pipe;
	int status;

	assert_non_null(text);
	snprintf(command, sizeof(command), "'%s' %s", BENCH, arguments);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	used = fread(text, 1, room - 1, pipe);
	assert_true(used < room - 1);
	text[used] = '\0';
	status = pclose(pipe);
	assert_true(WIFEXITED(status));
	*code = WEXITSTATUS(status);
	return text;
}

static const cJSON *member(const cJSON *object, const char *key)
{
	const cJSON *found = cJSON_GetObjectItemCaseSensitive(object, key);

	if (!found)
		fail_msg("no '%s' in the document", key);
	return found;
}

/* One scenario: it ends well, its document can be read, and it checked something. */
static void check_scenario(const char *name, const char *more)
{
	char arguments[8192];
	const cJSON *scenario, *record;
	cJSON *document;
	char *text;
	int code;

	snprintf(arguments, sizeof(arguments), "%s --quick --json --rounds 1 --dir '%s' %s", name,
		folder, more);
	text = run(arguments, &code);
	document = cJSON_Parse(text);
	if (!document)
		fail_msg("'%s' printed no JSON: %.200s", name, text);
	assert_string_equal(
		member(member(document, "environment"), "sqlite")->valuestring, BENCH_SQLITE_VERSION);
	assert_int_equal(cJSON_GetArraySize(member(document, "scenarios")), 1);
	scenario = cJSON_GetArrayItem(member(document, "scenarios"), 0);
	assert_string_equal(member(scenario, "name")->valuestring, name);
	if (!cJSON_IsTrue(member(scenario, "ok")))
		fail_msg("%s: %s", name, member(scenario, "error")->valuestring);
	assert_int_equal(code, 0);
	assert_true(strtoull(member(scenario, "checks")->valuestring, NULL, 10) > 0);
	assert_true(cJSON_GetArraySize(member(scenario, "results")) > 0);
	cJSON_ArrayForEach(record, member(scenario, "results"))
	{
		assert_true(cJSON_IsString(member(record, "kind")));
		assert_true(cJSON_IsString(member(record, "name")));
	}
	cJSON_Delete(document);
	free(text);
}

/* One test a scenario. */
static const char *amount_for(const char *name)
{
	return strcmp(name, "growth") == 0 ? "--amount 10000" : "";
}

#define TEST(name)                                                                                 \
	static void test_##name(void **state)                                                      \
	{                                                                                          \
		(void)state;                                                                       \
		check_scenario(#name, amount_for(#name));                                          \
	}
BENCH_SCENARIOS(TEST)

/* ---- the command line --------------------------------------------------------------------- */

static void test_help_names_all(void **state)
{
	int code;
	char *help = run("--help", &code);

	(void)state;
	assert_int_equal(code, 0);
#define NAMED(name) assert_non_null(strstr(help, "\n  " #name " "));
	BENCH_SCENARIOS(NAMED)
	free(help);
}

static void test_unknown_is_wrong_usage(void **state)
{
	static const char *const wrong[] = {"nosuch 2>/dev/null", "row --rounds 0 2>/dev/null",
		"row --nosuch 2>/dev/null", "2>/dev/null", "row --dir 2>/dev/null",
		"row --dir '' 2>/dev/null", "row --json --markdown 2>/dev/null",
		"row --svg x.svg 2>/dev/null"};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		int code;
		char *text = run(wrong[i], &code);

		assert_int_equal(code, 2);
		assert_string_equal(text, "");
		free(text);
	}
}

static void test_markdown_has_a_table(void **state)
{
	char arguments[8192];
	char *text;
	int code;

	(void)state;
	snprintf(arguments, sizeof(arguments),
		"row --markdown --rounds 1 --amount 2000 --dir '%s'", folder);
	text = run(arguments, &code);
	assert_int_equal(code, 0);
	assert_non_null(strstr(text, "\n| scenario | what |"));
	assert_non_null(strstr(text, "\n| `row` | catchup / hand-written loop |"));
	free(text);
}

static void test_growth_draws(void **state)
{
	char arguments[8192], path[4200], text[64] = "";
	FILE *picture;

	(void)state;
	snprintf(path, sizeof(path), "%s/growth.svg", folder);
	snprintf(arguments, sizeof(arguments), "--amount 10000 --svg '%s'", path);
	check_scenario("growth", arguments);
	picture = fopen(path, "re");
	assert_non_null(picture);
	assert_non_null(fgets(text, sizeof(text), picture));
	assert_memory_equal(text, "<svg ", 5);
	assert_int_equal(fseek(picture, -7, SEEK_END), 0);
	assert_non_null(fgets(text, sizeof(text), picture));
	assert_string_equal(text, "</svg>\n");
	fclose(picture);
	assert_int_equal(remove(path), 0);
}

static void test_picture_that_cannot_be_written_is_said_first(void **state)
{
	char arguments[8192];
	char *text;
	int code;

	(void)state;
	snprintf(arguments, sizeof(arguments), "all --svg '%s/none/growth.svg' 2>&1", folder);
	text = run(arguments, &code);
	assert_int_equal(code, 1);
	assert_memory_equal(text, "catchup-bench: cannot write '", 29);
	assert_string_equal(text + strlen(text) - 28, ": No such file or directory\n");
	free(text);
}

/* ---- a signal ----------------------------------------------------------------------------- */

static bool is_empty(void)
{
	DIR *dir = opendir(folder);
	bool empty = true;

	assert_non_null(dir);
	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
		empty = empty && (strcmp(entry->d_name, ".") == 0 ||
			strcmp(entry->d_name, "..") == 0);
	closedir(dir);
	return empty;
}

static void test_signal_cleans_up(void **state)
{
	static const int signals[] = {SIGINT, SIGTERM};

	(void)state;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			/* So much work that it cannot be done before the signal. */
			execl(BENCH, BENCH, "row", "--amount", "2000000000", "--dir", folder, NULL);
			_exit(127);
		}
		assert_true(pid > 0);
		while (is_empty()) {
			assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
			nanosleep(&(struct timespec){0, 1000000}, NULL);
		}
		assert_int_equal(kill(pid, signals[i]), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), signals[i]);
		assert_true(is_empty());
	}
}

int main(void)
{
#define ENTRY(name) cmocka_unit_test(test_##name),
	const struct CMUnitTest tests[] = {
		BENCH_SCENARIOS(ENTRY)
		cmocka_unit_test(test_help_names_all),
		cmocka_unit_test(test_unknown_is_wrong_usage),
		cmocka_unit_test(test_markdown_has_a_table),
		cmocka_unit_test(test_growth_draws),
		cmocka_unit_test(test_picture_that_cannot_be_written_is_said_first),
		cmocka_unit_test(test_signal_cleans_up),
	};

	return cmocka_run_group_tests_name("bench", tests, make_folder, remove_folder);
}
