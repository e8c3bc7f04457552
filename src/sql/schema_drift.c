/*
 * schema_drift.c
 *		Event triggers that tell what a command does to the models.
 *
 * They run for whoever runs the command, and must not be what makes it fail,
 * unless signalsmith.protect_models says so.  So most commands are let pass by
 * their parse tree alone; for the others sql/schema_drift.sql looks at the
 * catalogs, in a scope.  When our own tables are locked, by an upgrade say, the
 * command is let pass too: whoever waits here holds locks of his own.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/settings.h"
#include "store/scope.h"

SQL_FUNCTION(signalsmith_watch_schema);

/* What a command may have taken away. */
typedef struct SchemaChange
{
	const char *event;
	const char *old_schema;		/* of what has another name now; NULL: any */
	const char *old_relation;	/* the same */
	List	   *columns;		/* String: renamed, or of another type; NIL: none */
} SchemaChange;

/* --- is it a command that can hit a model? --- */

static bool
read_alter_table(const AlterTableStmt *statement, SchemaChange *change)
{
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		const AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_AlterColumnType)
			change->columns = lappend(change->columns, makeString(pstrdup(command->name)));
	}
	return change->columns != NIL;
}

static bool
is_relation_type(ObjectType type)
{
	return type == OBJECT_TABLE || type == OBJECT_VIEW ||
		type == OBJECT_MATVIEW || type == OBJECT_FOREIGN_TABLE;
}

static bool
read_rename(const RenameStmt *statement, SchemaChange *change)
{
	if (statement->renameType == OBJECT_SCHEMA)
	{
		change->old_schema = statement->subname;
		return true;
	}
	if (statement->relation == NULL)
		return false;
	if (statement->renameType == OBJECT_COLUMN)
	{
		change->columns = list_make1(makeString(pstrdup(statement->subname)));
		return true;
	}
	change->old_schema = statement->relation->schemaname;
	change->old_relation = statement->relation->relname;
	return is_relation_type(statement->renameType);
}

static bool
read_set_schema(const AlterObjectSchemaStmt *statement, SchemaChange *change)
{
	if (statement->relation == NULL || !is_relation_type(statement->objectType))
		return false;
	change->old_schema = statement->relation->schemaname;
	change->old_relation = statement->relation->relname;
	return true;
}

static bool
read_command(const EventTriggerData *data, SchemaChange *change)
{
	change->event = data->event;
	if (strcmp(data->event, "sql_drop") == 0)
		return true;
	switch (nodeTag(data->parsetree))
	{
		case T_AlterTableStmt:
			return read_alter_table((AlterTableStmt *) data->parsetree, change);
		case T_RenameStmt:
			return read_rename((RenameStmt *) data->parsetree, change);
		case T_AlterObjectSchemaStmt:
			return read_set_schema((AlterObjectSchemaStmt *) data->parsetree, change);
		default:
			return false;
	}
}

/* --- which models does it hit? --- */

static bool
can_read_our_tables(void)
{
	static const char *const tables[] = {"model_input", "model", "sync"};
	Oid			owner;
	Oid			namespace;
	Oid			extension;

	if (creating_extension ||
		!OidIsValid(extension = extension_lookup(&owner, NULL)) ||
		extension_lock(extension, false) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	namespace = get_namespace_oid("signalsmith", true);
	for (int i = 0; i < (int) lengthof(tables); i++)
	{
		Oid			table = get_relname_relid(tables[i], namespace);

		if (!OidIsValid(table) ||
			!ConditionalLockRelationOid(table, AccessShareLock))
			return false;
	}
	return true;
}

static Datum
text_array(const List *strings)
{
	Datum	   *elements = palloc(Max(1, list_length(strings)) * sizeof(Datum));
	ListCell   *cell;
	int			count = 0;

	foreach(cell, strings)
		elements[count++] = CStringGetTextDatum(strVal(lfirst(cell)));
	return PointerGetDatum(construct_array(elements, count, TEXTOID, -1, false, TYPALIGN_INT));
}

static Datum
text_or_null(const char *string)
{
	return string ? CStringGetTextDatum(string) : (Datum) 0;
}

/* How many models are hit; *description says which. */
static int64
find_hits(const SchemaChange *change, char **description)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			caller = GetUserId();
	int64		models;
	Scope		scope;

	scope_enter(&scope);
	scope_execute("SELECT models, description"
				  " FROM signalsmith._find_hits($1::oid::regrole, $2, $3, $4, $5)",
				  "otTTA",
				  ObjectIdGetDatum(caller), CStringGetTextDatum(change->event),
				  change->old_schema == NULL, text_or_null(change->old_schema),
				  change->old_relation == NULL, text_or_null(change->old_relation),
				  change->columns == NIL, text_array(change->columns));
	models = scope_int64(0, 1);
	*description = scope_text(0, 2, context);
	scope_leave(&scope);
	return models;
}

/* --- telling --- */

static void
tell_hits(int64 models, const char *description)
{
	if (setting_protect_models)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg_plural("cannot drop or change what %lld model reads",
							   "cannot drop or change what %lld models read",
							   (unsigned long) models, (long long) models),
				 errdetail_internal("%s", description),
				 errhint("Change the models first with signalsmith.update_model(), or have a superuser set signalsmith.protect_models = off.")));
	ereport(NOTICE,
			(errmsg_plural("this command drops or changes what %lld model reads",
						   "this command drops or changes what %lld models read",
						   (unsigned long) models, (long long) models),
			 errdetail_internal("%s", description),
			 errhint("Put it back, or give the models another query with signalsmith.update_model(); a run whose model cannot do without it fails.")));
}

Datum
signalsmith_watch_schema(PG_FUNCTION_ARGS)
{
	SchemaChange change = {0};
	char	   *description;
	int64		models;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("must be called by an event trigger")));

	if (read_command((EventTriggerData *) fcinfo->context, &change) &&
		can_read_our_tables())
	{
		models = find_hits(&change, &description);
		if (models > 0)
			tell_hits(models, description);
	}
	PG_RETURN_NULL();
}
