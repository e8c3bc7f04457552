/*
 * model_query.c
 *		The one query that a plan runs: the model with a sync's mappings on top.
 *
 *		SELECT <columns in use>, <expressions> FROM (<the model>) AS model
 *
 * is put together as a raw parse tree and analysed as a whole.  Each column in
 * use appears once, in the model's own order: where a sync uses all columns,
 * the outer SELECT then costs nothing at all, since the planner sees that the
 * scan's rows already have its shape.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "parser/analyze.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "base/nearest.h"
#include "plan/model_query.h"

/* What model_query_build() works on. */
typedef struct Builder
{
	const SyncDefinition *definition;
	ModelQuery *result;
	int			column_count;	/* of the model, now */
	const char **names;			/* of its columns */
	Oid		   *types;			/* of its columns */
	int		   *places;			/* in the outer result; -1: not in use */
	bool	   *referenced;		/* by the outer query, expressions included */
} Builder;

/* Refuses, in a query and all its parts, what a model must not do. */
static bool
check_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *entry = (RangeTblEntry *) node;

		if (entry->rtekind == RTE_RELATION &&
			get_rel_persistence(entry->relid) == RELPERSISTENCE_TEMP)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("a model cannot read the temporary table \"%s\"",
							get_rel_name(entry->relid)),
					 errdetail("Runs have sessions of their own, where it does not exist.")));
		return false;
	}
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;

		if (query->hasModifyingCTE)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("the model's query must not change data"),
					 errdetail("It has an INSERT, UPDATE, DELETE or MERGE in WITH.")));
		if (query->rowMarks != NIL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("the model's query must not lock rows"),
					 errdetail("It has a FOR UPDATE or FOR SHARE clause.")));
		return query_tree_walker(query, check_walker, context,
								 QTW_EXAMINE_RTES_BEFORE);
	}
	return expression_tree_walker(node, check_walker, context);
}

static Query *
analyze(SourceText *source, SelectStmt *select)
{
	RawStmt    *statement = makeNode(RawStmt);
	Query	   *query;

	statement->stmt = (Node *) select;
	source_text_enter(source);
	query = parse_analyze_fixedparams(statement, source->joined.data, NULL, 0, NULL);
	source_text_leave(source);
	return query;
}

Query *
model_query_analyze(SourceText *source, const char *text, SelectStmt **parsed)
{
	SelectStmt *select = source_text_parse_query(source, text);
	Query	   *query;

	if (parsed != NULL)
		*parsed = (SelectStmt *) copyObjectImpl(select);
	query = analyze(source, select);
	check_walker((Node *) query, NULL);
	return query;
}

static void
read_model_columns(Builder *builder, Query *query)
{
	int			limit = list_length(query->targetList);
	ListCell   *cell;

	builder->names = palloc(limit * sizeof(char *));
	builder->types = palloc(limit * sizeof(Oid));
	builder->places = palloc(limit * sizeof(int));
	builder->referenced = palloc0(limit * sizeof(bool));
	foreach(cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (entry->resjunk)
			continue;
		builder->names[builder->column_count] = entry->resname;
		builder->types[builder->column_count] = exprType((Node *) entry->expr);
		builder->places[builder->column_count] = -1;
		builder->column_count++;
	}
}

static const ModelColumn *
recorded_column(const SyncDefinition *definition, const char *name)
{
	for (int i = 0; i < definition->column_count; i++)
		if (strcmp(definition->columns[i].name, name) == 0)
			return &definition->columns[i];
	return NULL;
}

static void
report_missing_column(Builder *builder, const char *name)
{
	const char *nearest;

	if (recorded_column(builder->definition, name) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("model \"%s\" no longer has a column \"%s\"",
						builder->definition->model_name, name),
				 errhint("Update the model, or the mappings that use the column.")));

	nearest = nearest_name(name, builder->names, builder->column_count);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("model \"%s\" has no column \"%s\"",
					builder->definition->model_name, name),
			 nearest != NULL ? errhint("Perhaps you meant \"%s\".", nearest) : 0));
}

static int
find_model_column(Builder *builder, const char *name)
{
	int			found = -1;

	for (int i = 0; i < builder->column_count; i++)
	{
		if (strcmp(builder->names[i], name) != 0)
			continue;
		if (found >= 0)
			ereport(ERROR,
					(errcode(ERRCODE_AMBIGUOUS_COLUMN),
					 errmsg("model \"%s\" has several columns \"%s\"",
							builder->definition->model_name, name),
					 errhint("Give each a name of its own with AS.")));
		found = i;
	}
	if (found < 0)
		report_missing_column(builder, name);
	return found;
}

static void
add_target(SelectStmt *select, Node *value)
{
	ResTarget  *target = makeNode(ResTarget);

	target->val = value;
	target->location = -1;
	select->targetList = lappend(select->targetList, target);
}

static Node *
make_column_reference(const char *name)
{
	ColumnRef  *reference = makeNode(ColumnRef);

	reference->fields = list_make2(makeString(pstrdup(MODEL_ALIAS)),
								   makeString(pstrdup(name)));
	reference->location = -1;
	return (Node *) reference;
}

/* The columns that keys and mappings name, each once, in the model's order. */
static void
add_columns(Builder *builder, SelectStmt *select)
{
	const SyncDefinition *definition = builder->definition;
	ModelQuery *result = builder->result;
	int		   *key_indexes = palloc(definition->key_count * sizeof(int));
	int		   *mapping_indexes = palloc(definition->mapping_count * sizeof(int));

	for (int i = 0; i < definition->key_count; i++)
	{
		key_indexes[i] = find_model_column(builder, definition->key_columns[i]);
		builder->places[key_indexes[i]] = 0;
	}
	for (int i = 0; i < definition->mapping_count; i++)
	{
		if (definition->mappings[i].source != MAPPING_COLUMN)
			continue;
		mapping_indexes[i] = find_model_column(builder, definition->mappings[i].text);
		builder->places[mapping_indexes[i]] = 0;
	}

	for (int i = 0; i < builder->column_count; i++)
	{
		if (builder->places[i] < 0)
			continue;
		builder->places[i] = result->column_count++;
		add_target(select, make_column_reference(builder->names[i]));
	}

	for (int i = 0; i < definition->key_count; i++)
		result->key_columns[i] = builder->places[key_indexes[i]];
	for (int i = 0; i < definition->mapping_count; i++)
		if (definition->mappings[i].source == MAPPING_COLUMN)
			result->mapping_columns[i] = builder->places[mapping_indexes[i]];
}

static void
add_expressions(Builder *builder, SelectStmt *select)
{
	const SyncDefinition *definition = builder->definition;
	ModelQuery *result = builder->result;

	for (int i = 0; i < definition->mapping_count; i++)
	{
		const FieldMapping *mapping = &definition->mappings[i];

		if (mapping->source != MAPPING_EXPRESSION)
			continue;
		add_target(select,
				   source_text_parse_expression(result->source, mapping->text,
												mapping->destination));
		result->mapping_columns[i] = result->column_count++;
	}
}

static void
check_expressions(Builder *builder)
{
	const SyncDefinition *definition = builder->definition;

	for (int i = 0; i < definition->mapping_count; i++)
	{
		TargetEntry *entry;

		if (definition->mappings[i].source != MAPPING_EXPRESSION)
			continue;
		entry = list_nth_node(TargetEntry, builder->result->query->targetList,
							  builder->result->mapping_columns[i]);
		if (contain_window_function((Node *) entry->expr) ||
			expression_returns_set((Node *) entry->expr))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("mapping expression for \"%s\" cannot use window or set-returning functions",
							definition->mappings[i].destination),
					 errhint("Compute it in the model's query.")));
	}
}

/*
 * The model has been analysed already, so a complaint about grouping must come
 * from an aggregate in an expression, whatever column it names.
 */
static void
explain_grouping_error(void *arg)
{
	if (geterrcode() == ERRCODE_GROUPING_ERROR)
		errhint("A mapping expression cannot use aggregate functions; compute them in the model's query.");
}

/* Marks the columns of the model that the outer query refers to. */
typedef struct ReferenceContext
{
	Builder    *builder;
	Index		depth;
} ReferenceContext;

static bool
reference_walker(Node *node, ReferenceContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		if (var->varlevelsup == context->depth && var->varno == 1)
			for (int i = 0; i < context->builder->column_count; i++)
				if (var->varattno == 0 || var->varattno == i + 1)
					context->builder->referenced[i] = true;
		return false;
	}
	if (IsA(node, Query))
	{
		bool		result;

		context->depth++;
		result = query_tree_walker((Query *) node, reference_walker, context, 0);
		context->depth--;
		return result;
	}
	return expression_tree_walker(node, reference_walker, context);
}

/*
 * Columns in use must have the types that were recorded with the model.  Those
 * that the model has got since are nobody's concern.
 */
static void
check_recorded_types(Builder *builder)
{
	const SyncDefinition *definition = builder->definition;
	ReferenceContext context = {builder, 0};

	reference_walker((Node *) builder->result->query->targetList, &context);

	for (int i = 0; i < builder->column_count; i++)
	{
		const ModelColumn *column;
		char	   *type;

		if (!builder->referenced[i])
			continue;
		column = recorded_column(definition, builder->names[i]);
		if (column == NULL)
			continue;
		type = format_type_be(builder->types[i]);
		if (strcmp(type, column->type) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of model \"%s\" has changed its type from %s to %s",
							column->name, definition->model_name,
							column->type, type),
					 errhint("Update the model to accept the new type.")));
	}
}

ModelQuery *
model_query_build(const SyncDefinition *definition)
{
	ModelQuery *result = palloc0(sizeof(ModelQuery));
	Builder		builder = {.definition = definition,.result = result};
	SelectStmt *outer = makeNode(SelectStmt);
	RangeSubselect *subselect = makeNode(RangeSubselect);
	SelectStmt *model;
	ErrorContextCallback callback;

	result->source = source_text_create(definition->mapping_count + 1);
	result->key_columns = palloc(definition->key_count * sizeof(int));
	result->mapping_columns = palloc(definition->mapping_count * sizeof(int));
	for (int i = 0; i < definition->mapping_count; i++)
		result->mapping_columns[i] = -1;

	read_model_columns(&builder,
					   model_query_analyze(result->source, definition->query, &model));

	subselect->subquery = (Node *) model;
	subselect->alias = makeAlias(MODEL_ALIAS, NIL);
	outer->fromClause = list_make1(subselect);
	add_columns(&builder, outer);
	add_expressions(&builder, outer);

	callback.callback = explain_grouping_error;
	callback.arg = NULL;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	result->query = analyze(result->source, outer);
	error_context_stack = callback.previous;

	check_walker((Node *) result->query, NULL);
	check_expressions(&builder);
	check_recorded_types(&builder);
	return result;
}

void
model_query_check_startable(Query *query, SourceText *source)
{
	List	   *rewritten = pg_rewrite_query(query);
	PlannedStmt *plan;
	QueryDesc  *description;

	PushActiveSnapshot(GetTransactionSnapshot());
	plan = pg_plan_query(linitial_node(Query, rewritten), source->joined.data,
						 CURSOR_OPT_PARALLEL_OK, NULL);
	description = CreateQueryDesc(plan, source->joined.data, GetActiveSnapshot(),
								  InvalidSnapshot, None_Receiver, NULL, NULL, 0);
	ExecutorStart(description, EXEC_FLAG_EXPLAIN_ONLY);
	ExecutorEnd(description);
	FreeQueryDesc(description);
	PopActiveSnapshot();
}
