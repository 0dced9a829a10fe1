/* SPDX-License-Identifier: MIT */
#include "consumer/sql_file.h"
#include "base/error.h"
#include "base/os.h"
#include "consumer/suggest.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define X(id, text) text,
static const char *const key_names[] = {CU_SQL_KEY_MAP(X) NULL};
static const char *const section_names[] = {CU_SQL_SECTION_MAP(X) NULL};
#undef X

#define WORD_BYTES 64 /* of a comment's first word, as far as it matters */

struct parser {
	struct cu_sql_file *file;
	const char *at, *end;
	int line; /* of the line in hand, from 1 */
	int section; /* enum cu_sql_section in hand, -1 in the header */
	const char *section_start;
	int section_line;
	struct catchup_error *error;
};

/* A line of the file, or a comment's text, without blanks at its ends. */
struct span {
	const char *text;
	size_t bytes;
};

const char *cu_sql_file_key(enum cu_sql_key key)
{
	return key_names[key];
}

const char *cu_sql_file_section(enum cu_sql_section section)
{
	return section_names[section];
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

static struct span trim(const char *text, const char *end)
{
	while (text < end && is_blank(*text))
		text++;
	while (end > text && is_blank(end[-1]))
		end--;
	return (struct span){text, (size_t)(end - text)};
}

const char *cu_sql_file_skip_blank(const char *sql)
{
	for (;;) {
		if (is_blank(*sql) || *sql == ';') {
			sql++;
		} else if (sql[0] == '-' && sql[1] == '-') {
			sql += strcspn(sql, "\n");
		} else if (sql[0] == '/' && sql[1] == '*') {
			const char *end = strstr(sql + 2, "*/");

			sql = end ? end + 2 : sql + strlen(sql);
		} else {
			return sql;
		}
	}
}

int cu_sql_file_line(const struct cu_sql_text *section, const char *at)
{
	int line = section->line;

	for (const char *p = section->text; p < at; p++)
		line += *p == '\n';
	return line;
}

static int index_of(const char *const *names, const char *word)
{
	for (int i = 0; names[i]; i++)
		if (strcmp(names[i], word) == 0)
			return i;
	return -1;
}

#define FAIL(parser, ...) fail_at((parser)->error, (parser)->file->path, (parser)->line, __VA_ARGS__)

static int CATCHUP_PRINTF(4, 5)
	fail_at(struct catchup_error *error, const char *path, int line, const char *fmt, ...)
{
	char text[CATCHUP_MESSAGE_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (line > 0)
		return cu_error_set(error, CATCHUP_CONFIG, 0, "%.200s:%d: %s", path, line, text);
	return cu_error_set(error, CATCHUP_CONFIG, 0, "%.200s: %s", path, text);
}

static char *copy(const char *text, size_t bytes)
{
	char *to = malloc(bytes + 1);

	if (!to)
		return NULL;
	memcpy(to, text, bytes);
	to[bytes] = '\0';
	return to;
}

/* ---- lines -------------------------------------------------------------------------------- */

/*
 * A comment at a line's start, by its shape. `word` is what may be a section (the comment's only
 * word) or a key (a first word with a colon behind it).
 */
struct comment {
	enum { COMMENT_PLAIN, COMMENT_WORD, COMMENT_KEY } shape;
	char word[WORD_BYTES];
	struct span value; /* KEY: what is behind the colon */
};

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '-' || c == '_';
}

static struct comment look_at_comment(const char *text, const char *end)
{
	struct comment comment = {.shape = COMMENT_PLAIN};
	struct span all = trim(text, end);
	size_t n = 0;

	while (n < all.bytes && is_word(all.text[n]))
		n++;
	if (n == 0 || n >= sizeof(comment.word))
		return comment;
	memcpy(comment.word, all.text, n);
	comment.word[n] = '\0';
	if (n == all.bytes) {
		comment.shape = COMMENT_WORD;
	} else if (all.text[n] == ':') {
		comment.shape = COMMENT_KEY;
		comment.value = trim(all.text + n + 1, all.text + all.bytes);
	}
	return comment;
}

static int end_section(struct parser *p, const char *end)
{
	struct cu_sql_text *section;

	if (p->section < 0)
		return CATCHUP_OK;
	section = &p->file->sections[p->section];
	section->line = p->section_line + 1;
	/* `status` shows a query where there is no table's name. */
	while (end > p->section_start && is_blank(end[-1]))
		end--;
	section->text = copy(p->section_start, (size_t)(end - p->section_start));
	if (!section->text)
		return cu_error_nomem(p->error);
	if (*cu_sql_file_skip_blank(section->text) == '\0')
		return fail_at(p->error, p->file->path, p->section_line, "section '%s' is empty",
			section_names[p->section]);
	return CATCHUP_OK;
}

static int begin_section(struct parser *p, int section, const char *line, const char *next)
{
	int code = end_section(p, line);

	if (code != CATCHUP_OK)
		return code;
	if (p->file->sections[section].text)
		return FAIL(p, "section '%s' stands in line %d already", section_names[section],
			p->file->sections[section].line - 1);
	p->section = section;
	p->section_start = next;
	p->section_line = p->line;
	return CATCHUP_OK;
}

/* A first word with a colon, before the first section. */
static int take_key(struct parser *p, const struct comment *comment)
{
	char suggestion[CU_SUGGEST_TEXT_BYTES];
	int key = index_of(key_names, comment->word);
	struct cu_sql_text *to;

	if (key < 0) {
		/*
		 * Every key is lower case, so a word with capitals ("SPDX-License-Identifier:",
		 * "Note:") is prose unless it is a key but for its case, and so is one whose colon
		 * is followed by something else than a blank ("https://...").
		 */
		const char *near = cu_suggest_nearest(comment->word, key_names);
		bool capitals = comment->word[strcspn(comment->word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")];
		bool glued = comment->value.bytes > 0 &&
			!is_blank(comment->value.text[-1]);

		if (capitals ? !near || strcasecmp(near, comment->word) != 0 : glued && !near)
			return CATCHUP_OK;
		return FAIL(p, "unknown header key '%s'%s", comment->word,
			near ? cu_suggest_text(suggestion, comment->word, key_names)
			     : "; a plain comment has no colon behind its first word");
	}
	to = &p->file->keys[key];
	if (to->text)
		return FAIL(p, "header key '%s' stands in line %d already", key_names[key], to->line);
	if (comment->value.bytes == 0)
		return FAIL(p, "header key '%s' has no value", key_names[key]);
	to->line = p->line;
	to->text = copy(comment->value.text, comment->value.bytes);
	return to->text ? CATCHUP_OK : cu_error_nomem(p->error);
}

static int take_line(struct parser *p, const char *line, const char *end, const char *next)
{
	struct comment comment;
	const char *near;
	int section;

	if (end - line < 2 || line[0] != '-' || line[1] != '-') {
		struct span all = trim(line, end);

		if (p->section < 0 && all.bytes > 0 && !(all.bytes >= 2 && all.text[0] == '-' &&
							 all.text[1] == '-'))
			return FAIL(p, "SQL before the first section; sections begin with "
				       "'-- setup', '-- apply', '-- next', '-- row', '-- max' or '-- reset'");
		return CATCHUP_OK;
	}
	comment = look_at_comment(line + 2, end);
	switch (comment.shape) {
	case COMMENT_WORD:
		section = index_of(section_names, comment.word);
		if (section >= 0)
			return begin_section(p, section, line, next);
		near = cu_suggest_nearest(comment.word, section_names);
		if (near)
			return FAIL(p, "unknown section '%s', did you mean '%s'? (a comment that is "
				       "meant as such has more than one word)",
				comment.word, near);
		near = p->section < 0 ? cu_suggest_nearest(comment.word, key_names) : NULL;
		if (near)
			return FAIL(p, "header key '%s' has no colon and no value", near);
		return CATCHUP_OK;
	case COMMENT_KEY:
		if (p->section < 0)
			return take_key(p, &comment);
		if (index_of(key_names, comment.word) >= 0)
			return FAIL(p, "header key '%s' stands behind the section '%s' that begins in "
				       "line %d; header lines come first (indent the line if it is a "
				       "comment)",
				comment.word, section_names[p->section], p->section_line);
		return CATCHUP_OK;
	default:
		return CATCHUP_OK;
	}
}

/* ---- the whole ---------------------------------------------------------------------------- */

static const char *key_of(const struct cu_sql_file *file, enum cu_sql_key key)
{
	return file->keys[key].text;
}

static const struct cu_sql_text *section_of(
	const struct cu_sql_file *file, enum cu_sql_section section)
{
	const struct cu_sql_text *text = &file->sections[section];

	return text->text ? text : NULL;
}

/* What sections and keys go together. Lines named are those of the sections' names. */
static int check_whole(struct parser *p)
{
	const struct cu_sql_file *file = p->file;
	const struct cu_sql_text *apply = section_of(file, CU_SQL_SECTION_APPLY);
	const struct cu_sql_text *next = section_of(file, CU_SQL_SECTION_NEXT);
	const struct cu_sql_text *row = section_of(file, CU_SQL_SECTION_ROW);
	const struct cu_sql_text *max = section_of(file, CU_SQL_SECTION_MAX);
	const char *source = key_of(file, CU_SQL_KEY_SOURCE);

	p->line = 0;
	if (!key_of(file, CU_SQL_KEY_NAME))
		return FAIL(p, "no name; the header needs a line '-- name: NAME'");
	if (!apply && !row)
		return FAIL(p, "no section 'apply' or 'row'; it would do nothing");
	if (apply && (row || next)) {
		p->line = apply->line - 1;
		return FAIL(p, "section 'apply' beside '%s' (line %d); a consumer has either 'apply' "
			       "or 'row'",
			row ? "row" : "next", (row ? row : next)->line - 1);
	}
	if (apply && !source) {
		p->line = apply->line - 1;
		return FAIL(p, "section 'apply' without a source; the header needs a line "
			       "'-- source: TABLE'");
	}
	if (row && !source && !(next && max))
		return FAIL(p, "no source; the header needs a line '-- source: TABLE', or the file "
			       "the sections 'max' and 'next'");
	if (file->keys[CU_SQL_KEY_ID].text && !source) {
		p->line = file->keys[CU_SQL_KEY_ID].line;
		return FAIL(p, "header key 'id' without 'source'; it names a column of the source "
			       "table");
	}
	return CATCHUP_OK;
}

/* A byte that no text has; a hint where it looks like the other common kinds of text. */
static int check_text(struct parser *p)
{
	size_t bytes = (size_t)(p->end - p->at);
	const unsigned char *head = (const unsigned char *)p->at;
	const char *nul;

	if (bytes == 0)
		return FAIL(p, "the file is empty");
	if (bytes > CU_SQL_FILE_BYTES_MAX)
		return FAIL(p, "%zu bytes are above the maximum %d of a SQL consumer file", bytes,
			CU_SQL_FILE_BYTES_MAX);
	if (bytes >= 2 && ((head[0] == 0xff && head[1] == 0xfe) || (head[0] == 0xfe && head[1] == 0xff)))
		return FAIL(p, "the file is UTF-16; a SQL consumer file is UTF-8");
	nul = memchr(p->at, '\0', bytes);
	if (nul)
		return FAIL(p, "the file is binary (byte 0 at offset %zu); a SQL consumer file is text",
			(size_t)(nul - p->at));
	return CATCHUP_OK;
}

static int parse(struct parser *p)
{
	int code = check_text(p);

	if (code != CATCHUP_OK)
		return code;
	if (p->end - p->at >= 3 && memcmp(p->at, "\xef\xbb\xbf", 3) == 0)
		p->at += 3;
	while (p->at < p->end) {
		const char *line = p->at;
		const char *end = memchr(line, '\n', (size_t)(p->end - line));
		const char *next = end ? end + 1 : p->end;

		p->line++;
		code = take_line(p, line, end ? end : p->end, next);
		if (code != CATCHUP_OK)
			return code;
		p->at = next;
	}
	code = end_section(p, p->end);
	return code != CATCHUP_OK ? code : check_whole(p);
}

int cu_sql_file_parse(struct cu_sql_file **out, const char *path, const char *text, size_t bytes,
	struct catchup_error *error)
{
	struct parser p = {.at = text, .end = text + bytes, .section = -1, .error = error};
	int code;

	*out = NULL;
	p.file = calloc(1, sizeof(*p.file));
	if (!p.file)
		return cu_error_nomem(error);
	p.file->path = strdup(path);
	code = p.file->path ? parse(&p) : cu_error_nomem(error);
	if (code != CATCHUP_OK) {
		cu_sql_file_free(p.file);
		return code;
	}
	*out = p.file;
	return CATCHUP_OK;
}

/* ---- reading ------------------------------------------------------------------------------ */

static int check_kind(const struct cu_file_stat *stat, const char *path, struct catchup_error *error)
{
	const char *kind = S_ISDIR(stat->mode)    ? "a folder"
			   : S_ISFIFO(stat->mode) ? "a FIFO"
			   : S_ISSOCK(stat->mode) ? "a socket"
			   : S_ISREG(stat->mode)  ? NULL
						  : "a device";

	if (kind)
		return fail_at(error, path, 0, "is %s; a SQL consumer is a regular file", kind);
	if (stat->size > CU_SQL_FILE_BYTES_MAX)
		return fail_at(error, path, 0,
			"%lld bytes are above the maximum %d of a SQL consumer file",
			(long long)stat->size, CU_SQL_FILE_BYTES_MAX);
	return CATCHUP_OK;
}

/* Fills *text with the file. One that grows meanwhile is read until it is surely too large. */
static int read_all(int fd, const char *path, char **text, size_t *bytes, struct catchup_error *error)
{
	size_t room = 0;

	*text = NULL;
	*bytes = 0;
	for (;;) {
		ssize_t n;

		if (*bytes == room) {
			char *larger;

			if (*bytes > CU_SQL_FILE_BYTES_MAX)
				return CATCHUP_OK;
			room = room ? room * 4 : 16384;
			larger = realloc(*text, room);
			if (!larger)
				return cu_error_nomem(error);
			*text = larger;
		}
		n = cu_file_read_at(fd, *text + *bytes, room - *bytes, (int64_t)*bytes);
		if (n < 0)
			return cu_error_errno(error, CATCHUP_IO, (int)-n, "%.200s: cannot read", path);
		if (n == 0)
			return CATCHUP_OK;
		*bytes += (size_t)n;
	}
}

/* A file that is there and cannot be opened for want of descriptors or memory is not written wrongly. */
static int cannot_open(struct catchup_error *error, const char *path, int errnum)
{
	bool machine = errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM || errnum == EIO;

	return cu_error_errno(error, machine ? CATCHUP_IO : CATCHUP_CONFIG, errnum,
		"%.200s: cannot open", path);
}

int cu_sql_file_read(struct cu_sql_file **out, const char *path, struct catchup_error *error)
{
	struct cu_file_stat stat;
	char *text = NULL;
	size_t bytes;
	int fd, rc, code;

	*out = NULL;
	/* Asked before opening, since opening a device may do something, and again of what was
	 * opened, since the path may have changed its meaning. */
	rc = cu_file_stat_path(path, &stat);
	if (rc < 0)
		return cannot_open(error, path, -rc);
	code = check_kind(&stat, path, error);
	if (code != CATCHUP_OK)
		return code;
	fd = cu_file_open(path, CU_OPEN_READ);
	if (fd < 0)
		return cannot_open(error, path, -fd);
	rc = cu_file_stat_fd(fd, &stat);
	code = rc < 0 ? cu_error_errno(error, CATCHUP_IO, -rc, "%.200s: cannot look at", path)
		      : check_kind(&stat, path, error);
	if (code == CATCHUP_OK)
		code = read_all(fd, path, &text, &bytes, error);
	cu_file_close(fd);
	if (code == CATCHUP_OK)
		code = cu_sql_file_parse(out, path, text, bytes, error);
	free(text);
	return code;
}

void cu_sql_file_free(struct cu_sql_file *file)
{
	if (!file)
		return;
	for (int i = 0; i < CU_SQL_KEYS; i++)
		free(file->keys[i].text);
	for (int i = 0; i < CU_SQL_SECTIONS; i++)
		free(file->sections[i].text);
	free(file->path);
	free(file);
}
