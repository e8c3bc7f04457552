/*
 * probe_table_function.c
 *		The part of test_destination for a table: can a sync write to it?
 *
 * It asks what is asked before each run, and connects to the foreign server, if
 * there is one, as the sync's owner: with that role's user mapping.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "connector/connector.h"
#include "store/definition.h"
#include "store/scope.h"
#include "target/target_check.h"
#include "target/target_table.h"

SQL_FUNCTION(signalsmith_probe_table);

/* Beginning a scan connects; nothing is read. */
static void
connect_to_server(const TargetTable *table, Oid owner)
{
	char	   *query = psprintf("SELECT FROM %s LIMIT 0", table->name);
	Scope		scope;

	if (table->kind != RELKIND_FOREIGN_TABLE)
		return;
	owner_scope_enter(&scope, owner);
	SPI_connect();
	(void) SPI_execute(query, true, 0);
	SPI_finish();
	owner_scope_leave(&scope);
}

/* _probe_table(sync_id bigint) returns text */
Datum
signalsmith_probe_table(PG_FUNCTION_ARGS)
{
	SyncDefinition *definition = definition_read(PG_GETARG_INT64(0));
	const TableSpec *spec = connector_table(connector_of_sync(definition));
	TargetTable *table;

	if (spec == NULL)
		elog(ERROR, "sync \"%s\" has no table", definition->sync_name);
	target_check(spec, definition);
	table = target_table_of_sync(spec, definition);
	connect_to_server(table, definition->owner);
	PG_RETURN_TEXT_P(cstring_to_text(table->name));
}
