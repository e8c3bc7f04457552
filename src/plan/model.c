/*
 * model.c
 *		What is checked of a model when it is saved.
 *
 * The query is parsed, analysed, planned, and started as EXPLAIN would start
 * it: so everything that can be known without running it is known, privileges
 * included, and none of its functions is called.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"

#include "plan/fixed_settings.h"
#include "plan/model_query.h"
#include "plan/plan.h"

/* What the parser calls a column that the query gives no name. */
#define UNNAMED_COLUMN "?column?"

static void
check_column_name(const char *name, List *columns)
{
	ListCell   *cell;

	if (strcmp(name, UNNAMED_COLUMN) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_DEFINITION),
				 errmsg("column %d of the model's query has no name",
						list_length(columns) + 1),
				 errhint("Give it one with AS.")));
	foreach(cell, columns)
	{
		if (strcmp(((ModelColumn *) lfirst(cell))->name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("the model's query has more than one column \"%s\"", name),
					 errhint("Give each a name of its own with AS.")));
	}
}

static List *
read_columns(Query *query)
{
	List	   *columns = NIL;
	ListCell   *cell;

	foreach(cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);
		ModelColumn *column;

		if (entry->resjunk)
			continue;
		check_column_name(entry->resname, columns);
		column = palloc(sizeof(ModelColumn));
		column->name = pstrdup(entry->resname);
		column->type = format_type_be(exprType((Node *) entry->expr));
		columns = lappend(columns, column);
	}
	return columns;
}

List *
model_describe(const char *query, const char *search_path)
{
	int			nest_level = fixed_settings_enter(search_path);
	SourceText *source = source_text_create(1);
	Query	   *analyzed = model_query_analyze(source, query, NULL);
	List	   *columns = read_columns(analyzed);

	model_query_check_startable(analyzed, source);
	fixed_settings_leave(nest_level);

	if (columns == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_DEFINITION),
				 errmsg("the model's query has no columns")));
	return columns;
}
