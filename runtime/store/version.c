/* SPDX-License-Identifier: MIT */
/*
 * version.c - the SQLite library in this process.
 */
#include <catchup/catchup.h>
#include <sqlite3.h>

const char *catchup_sqlite_version(void)
{
	return sqlite3_libversion();
}

int catchup_sqlite_has_wal_reset_bug(void)
{
	int version = sqlite3_libversion_number();

	return version >= 3007000 && version < 3051003;
}
