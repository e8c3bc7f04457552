/*
 * module.c
 *		Loading the library.
 *
 * Preloaded, it has shared memory and a launcher.  Loaded by the first call of
 * one of its functions, it has neither: triggers still start runs, but nothing
 * happens by itself; check_installation() says so.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "base/settings.h"
#include "run/destination_gate.h"
#include "workers/shared_state.h"
#include "workers/start.h"
#include "workers/wake.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	settings_define();
	wake_register();

	/* pg_upgrade starts servers in which nothing of ours may run. */
	if (process_shared_preload_libraries_in_progress && !IsBinaryUpgrade)
	{
		shared_state_request();
		destination_gate_request_memory();
		launcher_register();
	}
}
