/* SPDX-License-Identifier: MIT */
/*
 * Every call to the machine that a command of the program makes fails once at each place where it is made.
 * A command that says it has done its work has printed all of it; one that has not says why, and no text is
 * cut off in silence where memory ran out.
 */
#include "fault_sites.h"
#include "fault_story.h"

#include <sys/mman.h>

int program_main(int argc, char **argv);

#define WORDS_MAX 8
#define BYTES_MAX 65536

struct said {
	int code;
	char out[BYTES_MAX], err[BYTES_MAX];
};

static void take(int fd, char *to)
{
	ssize_t n = pread(fd, to, BYTES_MAX - 1, 0);

	assert_in_range(n, 0, BYTES_MAX - 2);
	to[n] = '\0';
	close(fd);
}

/* Runs a command in this process, its output kept. Calls fail from place on, or none do. */
static void command(char *const *words, const size_t *place, struct said *said)
{
	int out = memfd_create("out", 0), err = memfd_create("err", 0);
	const int kept[] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)};
	char *argv[WORDS_MAX + 2] = {"catchup"};
	int argc = 1;

	assert_true(out >= 0 && err >= 0 && kept[0] >= 0 && kept[1] >= 0);
	while (argc <= WORDS_MAX && words[argc - 1]) {
		argv[argc] = words[argc - 1];
		argc++;
	}
	fflush(stdout);
	fflush(stderr);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	if (place)
		fault_at(*place);
	said->code = program_main(argc, argv);
	fault_off();
	dup2(kept[0], STDOUT_FILENO);
	dup2(kept[1], STDERR_FILENO);
	close(kept[0]);
	close(kept[1]);
	take(out, said->out);
	take(err, said->err);
}

/* dated: what it prints has the time in it, so only that it is whole can be told. */
static void fail_everywhere(struct story *story, bool dated, char *const *words)
{
	static struct said good, said;
	size_t first, n;

	fault_collect();
	command(words, NULL, &good);
	n = fault_collected(&first);
	for (size_t i = first; i < n; i++) {
		command(words, &i, &said);
		if (said.code == good.code && !dated && strcmp(said.out, good.out) != 0)
			fail_msg("%s: '%s' says it is done and printed: %s", fault_name(i), words[0], said.out);
		if (said.code == good.code && good.out[0] && !strchr(said.out, '\n'))
			fail_msg("%s: '%s' printed no whole line: %s", fault_name(i), words[0], said.out);
		/* Who cannot write cannot say so; what is wrong may also be what was asked for (verify). */
		if (said.code != good.code && !said.err[0] && !strstr(fault_name(i), ": write at") &&
			(!said.out[0] || strcmp(said.out, good.out) == 0))
			fail_msg("%s: '%s' ended with %d and did not say why", fault_name(i), words[0],
				said.code);
		story_expect_done(story, i);
	}
	command(words, NULL, &said);
	assert_int_equal(said.code, good.code);
}

#define COMMAND(dated, ...) fail_everywhere(&story, dated, (char *[]){__VA_ARGS__, NULL})

static void every_command_fails_everywhere(void **state)
{
	static struct said said;
	char *database, *sets, *queries;
	struct story story;

	story_begin(&story, *state);
	story_fresh_database(story.s);
	database = story.s->database;
	sets = story.files[0];
	queries = story.files[1];
	story.consumers[story.n_consumers++] = sets;
	story.consumers[story.n_consumers++] = queries;
	command((char *[]){"run", database, sets, queries, "--until-caught-up", NULL}, NULL, &said);
	if (said.code != 0)
		fail_msg("run: %s", said.err);
	COMMAND(false, "version");
	COMMAND(false, "help");
	COMMAND(false, "help", "run");
	COMMAND(false, "dead", "retry", "--help");
	COMMAND(false, "stat", "us");
	COMMAND(false, "changelog", "folow");
	COMMAND(false, "verify", database, "--jsn");
	COMMAND(false, "wait", database, "--consumer", "sets", "--until", "12x");
	COMMAND(true, "status", database);
	COMMAND(true, "status", database, "--json");
	COMMAND(false, "wait", database, "--consumer", "sets", "--until", "12");
	COMMAND(false, "consumers");
	COMMAND(false, "consumers", "--json");
	COMMAND(false, "check", sets, "--database", database);
	COMMAND(false, "dead", "list", database);
	COMMAND(false, "dead", "list", database, "--json");
	COMMAND(false, "dead", "show", database, "--consumer", "sets", "--id", "5");
	COMMAND(false, "verify", database);
	COMMAND(false, "verify", database, "--json");
	COMMAND(true, "run", database, sets, queries, "--until-caught-up", "--on-error", "sets=park");
	COMMAND(true, "changelog", "follow", story.changelog, "--count", "3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(every_command_fails_everywhere),
	};

	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	return cmocka_run_group_tests_name("faults_cli", tests, NULL, NULL);
}
