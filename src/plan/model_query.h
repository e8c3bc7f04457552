/*
 * model_query.h
 *		The one query that a plan runs: the model with a sync's mappings on top.
 */
#ifndef SIGNALSMITH_MODEL_QUERY_H
#define SIGNALSMITH_MODEL_QUERY_H

#include "postgres.h"

#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"

#include "plan/source_text.h"
#include "store/definition.h"

/* The name under which mapping expressions may refer to the model's row. */
#define MODEL_ALIAS "model"

typedef struct ModelQuery
{
	SourceText *source;
	Query	   *query;			/* analysed, not rewritten yet */
	int			column_count;	/* of its result */
	int		   *key_columns;	/* for each key column, its place (from 0) */
	int		   *mapping_columns;	/* for each mapping, its place; -1: none */
} ModelQuery;

/*
 * Parses and analyses a model's query alone, and refuses what no model may do.
 * *parsed, unless NULL, receives a raw tree that has not been analysed.
 */
extern Query *model_query_analyze(SourceText *source, const char *text,
								  SelectStmt **parsed);

/*
 * Builds a sync's query over its model.  Raises what is wrong with columns,
 * types and expressions.
 */
extern ModelQuery *model_query_build(const SyncDefinition *definition);

/*
 * Plans a query and starts it as EXPLAIN would: checks privileges, and calls
 * none of its functions but those that planning evaluates.
 */
extern void model_query_check_startable(Query *query, SourceText *source);

#endif							/* SIGNALSMITH_MODEL_QUERY_H */
