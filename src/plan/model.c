/*
 * model.c
 *		What is checked of a model when it is saved.
 *
 * The query is parsed, analysed, planned, and started as EXPLAIN would start
 * it: so everything that can be known without running it is known, privileges
 * included, and none of its functions is called.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"

#include "base/compat.h"
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
				 errmsg("the model's query has no columns"),
				 errhint("Select at least the column that identifies a row.")));
	return columns;
}

/* --- what a query reads --- */

static Bitmapset *
columns_read(Query *query, RangeTblEntry *entry)
{
	Bitmapset  *selected = selected_columns(query, entry);
	Bitmapset  *columns = NULL;
	int			member = -1;

	while ((member = bms_next_member(selected, member)) >= 0)
	{
		int			number = member + FirstLowInvalidHeapAttributeNumber;

		if (number >= 0)
			columns = bms_add_member(columns, number);
	}
	return columns;
}

static bool
input_walker(Node *node, List **inputs)
{
	ListCell   *cell;
	Query	   *query;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, input_walker, inputs);

	query = (Query *) node;
	foreach(cell, query->rtable)
	{
		RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);
		ModelInput *input;

		if (entry->rtekind != RTE_RELATION)
			continue;
		input = palloc(sizeof(ModelInput));
		input->relation = entry->relid;
		input->columns = columns_read(query, entry);
		*inputs = lappend(*inputs, input);
	}
	return query_tree_walker(query, input_walker, inputs, 0);
}

List *
model_inputs(const char *query, const char *search_path)
{
	int			nest_level = fixed_settings_enter(search_path);
	SourceText *source = source_text_create(1);
	Query	   *analyzed = model_query_analyze(source, query, NULL);
	List	   *inputs = NIL;

	input_walker((Node *) analyzed, &inputs);
	fixed_settings_leave(nest_level);
	return inputs;
}
