/* SPDX-License-Identifier: MIT */
/*
 * module_other_sqlite.c - a library that has a function of SQLite's, as another version of it would.
 */
__attribute__((visibility("default"))) const char *sqlite3_sourceid(void);

const char *sqlite3_sourceid(void)
{
	return "2001-01-01 another build of SQLite";
}
