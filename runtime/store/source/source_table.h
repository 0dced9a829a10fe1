/* SPDX-License-Identifier: MIT */
/*
 * source_table.h - whether a table or view can be a source; see cu_source_open.
 */
#ifndef CU_STORE_SOURCE_TABLE_H
#define CU_STORE_SOURCE_TABLE_H

#include "store/source/source.h"

struct cu_table_facts {
	unsigned warnings; /* CU_SOURCE_... */
	bool autoincrement;
	bool view;
	bool rowid;        /* the id is the rowid or its alias: an integer, and never NULL */
	bool bare;         /* the id is the rowid, which is not among the table's columns */
};

/* Looks at the schema only. Returns CATCHUP_CONFIG with a message without prefix when it cannot. */
int cu_source_inspect(struct cu_conn *conn, const struct cu_source_spec *spec,
	struct cu_table_facts *facts, struct catchup_error *error);

#endif
