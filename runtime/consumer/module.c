/* SPDX-License-Identifier: MIT */
#include "consumer/module.h"
#include "base/error.h"
#include "consumer/table.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

struct cu_loaded_module {
	void *handle;
};

/*
 * A module that is linked with another libsqlite3 than ours would bring a second SQLite into the
 * process, whose closing of a file drops the locks of the first. Functions may have more than one
 * address in a process, but the text that sqlite3_sourceid returns is in each library once.
 */
static int check_one_sqlite(void *handle, struct catchup_error *error)
{
	const char *(*theirs)(void) = NULL;
	void *symbol = dlsym(handle, "sqlite3_sourceid");

	if (!symbol)
		return CATCHUP_OK;
	memcpy(&theirs, &symbol, sizeof(theirs));
	if (theirs() == sqlite3_sourceid())
		return CATCHUP_OK;
	return cu_error_set(error, CATCHUP_CONFIG, 0,
		"is linked with a SQLite of its own (%.40s); a module reaches SQLite through the host, "
		"built with -DCATCHUP_MODULE and without -lsqlite3",
		theirs());
}

static int check_module(const struct catchup_module *module, struct catchup_error *error)
{
	int code = cu_table_check_abi(module->abi_major, module->abi_minor, error);

	if (code != CATCHUP_OK)
		return code;
	if (module->size != sizeof(*module))
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"catchup_module has %zu bytes, in ABI %d.%d it has %zu; define it with "
			"CATCHUP_CONSUMER",
			module->size, CATCHUP_CONSUMER_ABI_MAJOR, CATCHUP_CONSUMER_ABI_MINOR,
			sizeof(*module));
	if (!module->consumer || !module->sqlite_api)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"catchup_module has no %s; define it with CATCHUP_CONSUMER",
			module->consumer ? "sqlite_api" : "consumer");
	return CATCHUP_OK;
}

static int take_module(void *handle, const struct catchup_consumer **table,
	struct catchup_error *error)
{
	const struct catchup_module *module = dlsym(handle, "catchup_module");
	const void *api;
	int code;

	if (!module)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"exports no catchup_module; build it with -DCATCHUP_MODULE and CATCHUP_CONSUMER");
	code = check_one_sqlite(handle, error);
	if (code == CATCHUP_OK)
		code = check_module(module, error);
	if (code != CATCHUP_OK)
		return code;
	api = cu_module_api(error);
	if (!api)
		return error ? error->code : CATCHUP_INTERNAL;
	/* Not written again when the module is loaded already: its functions may be running. */
	if (*module->sqlite_api != api)
		*module->sqlite_api = api;
	*table = module->consumer;
	return CATCHUP_OK;
}

int cu_module_load(struct cu_loaded_module **out, const struct catchup_consumer **table,
	const char *path, struct catchup_error *error)
{
	struct cu_loaded_module *module;
	char *resolved;
	int code = cu_module_file_check(path, &resolved, error);

	*out = NULL;
	if (code != CATCHUP_OK)
		return code;
	module = calloc(1, sizeof(*module));
	if (!module) {
		free(resolved);
		return cu_error_nomem(error);
	}
	/* Everything is resolved now: a function that is missing is found here and not in the middle
	 * of a row. Local: no module sees the symbols of another. */
	module->handle = dlopen(resolved, RTLD_NOW | RTLD_LOCAL);
	free(resolved);
	if (module->handle) {
		code = take_module(module->handle, table, error);
	} else {
		const char *reason = dlerror();

		code = cu_error_set(error, CATCHUP_CONFIG, 0, "cannot be loaded: %.400s",
			reason ? reason : "no reason given");
	}
	if (code == CATCHUP_OK)
		*out = module;
	else
		cu_module_unload(module);
	return code;
}

void cu_module_unload(struct cu_loaded_module *module)
{
	if (!module)
		return;
	if (module->handle)
		dlclose(module->handle);
	free(module);
}
