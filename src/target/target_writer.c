/*
 * target_writer.c
 *		Writing batches to a sync's table.
 *
 * The statements are the owner's own, in a process that is connected as him, so
 * there is no other identity here that a trigger could climb to.  They run under
 * the settings that the records were rendered under, and the search_path that
 * the model was saved with: that is what functions of triggers without a
 * search_path of their own see.  What triggers set ends with the batch.
 *
 * Deferred constraints and triggers are brought forward: they belong to the batch
 * whose rows they may refuse, and not to a commit that has other things in it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "plan/fixed_settings.h"
#include "target/target_statement.h"
#include "target/target_table.h"
#include "target/target_writer.h"

/* Of different sets of fields; further ones are prepared each time. */
#define MAX_PLANS 16

typedef struct PreparedStatement
{
	char	   *text;
	SPIPlanPtr	plan;
} PreparedStatement;

struct TargetWriter
{
	const TableSpec *spec;
	const SyncDefinition *definition;
	MemoryContext context;
	TargetTable *table;			/* NULL: not looked at yet */
	int			plan_count;
	PreparedStatement plans[MAX_PLANS];
};

TargetWriter *
target_writer_create(const TableSpec *spec, const SyncDefinition *definition)
{
	TargetWriter *writer = palloc0(sizeof(TargetWriter));

	writer->spec = spec;
	writer->definition = definition;
	writer->context = CurrentMemoryContext;
	return writer;
}

/*
 * A trigger may have left another role in force, at a commit, say.  An error's
 * abort puts it back as well.
 */
static void
become_owner(const TargetWriter *writer, Oid *user, int *security_context)
{
	Oid			owner = writer->definition->owner;

	if (GetSessionUserId() != owner)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the owner of model \"%s\" has changed since the run was started",
						writer->definition->model_name)));
	GetUserIdAndSecContext(user, security_context);
	SetUserIdAndSecContext(owner, *security_context);
}

static void
open_table(TargetWriter *writer)
{
	MemoryContext old_context;

	if (writer->table != NULL)
		return;
	old_context = MemoryContextSwitchTo(writer->context);
	writer->table = target_table_of_sync(writer->spec, writer->definition);
	MemoryContextSwitchTo(old_context);
}

/*
 * The plan is made anew each time, for a table that grows under it; what is kept
 * is the analysis of the text.
 */
static SPIPlanPtr
prepare(TargetWriter *writer, const TargetStatement *statement)
{
	Oid			type = JSONOID;
	PreparedStatement *prepared;
	SPIPlanPtr	plan;

	for (int i = 0; i < writer->plan_count; i++)
		if (strcmp(writer->plans[i].text, statement->text) == 0)
			return writer->plans[i].plan;

	plan = SPI_prepare_cursor(statement->text, 1, &type, CURSOR_OPT_CUSTOM_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare a statement: %s", SPI_result_code_string(SPI_result));
	if (writer->plan_count == MAX_PLANS || SPI_keepplan(plan) != 0)
		return plan;
	prepared = &writer->plans[writer->plan_count++];
	prepared->text = MemoryContextStrdup(writer->context, statement->text);
	prepared->plan = plan;
	return plan;
}

static Datum
make_parameter(const TargetStatement *statement)
{
	Slice		json = statement->parameter;
	char	   *text = pg_any_to_server(json.data, json.length, PG_UTF8);

	return PointerGetDatum(cstring_to_text_with_len(text,
													text == json.data ? json.length : strlen(text)));
}

/* The statement's result has the ordinals of records. */
static void
mark_returned(const TargetStatement *statement, TargetOutcome *outcomes, TargetOutcome outcome)
{
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;
		int64		ordinal = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[row],
														  SPI_tuptable->tupdesc, 1, &isnull));

		outcomes[statement->records[ordinal - 1]] = outcome;
	}
}

static void
execute(TargetWriter *writer, TargetAction action, const TargetStatement *statement,
		TargetOutcome *outcomes)
{
	Datum		parameter = make_parameter(statement);
	int			result;

	pgstat_report_activity(STATE_RUNNING, statement->text);
	for (int i = 0; i < statement->record_count; i++)
		outcomes[statement->records[i]] = action == TARGET_UPDATE ? TARGET_ABSENT : TARGET_WRITTEN;

	SPI_connect();
	result = SPI_execute_plan(prepare(writer, statement), &parameter, NULL, false, 0);
	if (result < 0)
		elog(ERROR, "could not execute a statement: %s", SPI_result_code_string(result));
	if (action == TARGET_APPEND)
		mark_returned(statement, outcomes, TARGET_PRESENT);
	else if (action == TARGET_UPDATE)
		mark_returned(statement, outcomes, TARGET_WRITTEN);
	SPI_finish();
}

static void
fire_deferred_triggers(void)
{
	SPI_connect();
	(void) SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0);
	SPI_finish();
}

int64
target_writer_write(TargetWriter *writer, const Batch *batch, TargetOutcome *outcomes)
{
	TargetAction action = target_action(writer->definition->mode, batch->operation);
	int			nest_level;
	int			security_context;
	Oid			user;
	int64		bytes = 0;
	char	   *error = NULL;
	List	   *statements;
	ListCell   *cell;

	open_table(writer);
	statements = target_statements(writer->table, action, batch, &error);
	if (error != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION), errmsg("%s", error)));

	nest_level = fixed_settings_enter(writer->definition->search_path);
	become_owner(writer, &user, &security_context);
	foreach(cell, statements)
	{
		const TargetStatement *statement = lfirst(cell);

		execute(writer, action, statement, outcomes);
		bytes += statement->parameter.length;
	}
	fire_deferred_triggers();
	fixed_settings_leave(nest_level);
	SetUserIdAndSecContext(user, security_context);
	return bytes;
}
