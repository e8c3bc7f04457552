/*
 * target_statement.h
 *		The statements that carry a batch to a table.
 *
 * A batch is one statement with one parameter, its records as a JSON array,
 * which json_to_recordset turns into the table's own types.  Only where records
 * leave out fields (on_null: omit) is it one for each set of fields, since
 * what is left out keeps its value or gets its default.
 */
#ifndef SIGNALSMITH_TARGET_STATEMENT_H
#define SIGNALSMITH_TARGET_STATEMENT_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "connector/connector.h"
#include "target/target_table.h"

typedef enum TargetAction
{
	TARGET_UPSERT,				/* insert, or update what is there */
	TARGET_APPEND,				/* insert what is not there */
	TARGET_UPDATE,				/* update what is there */
	TARGET_DELETE
} TargetAction;

typedef struct TargetStatement
{
	const char *command;		/* "INSERT" ... */
	char	   *text;			/* in the server's encoding */
	Slice		parameter;		/* $1: JSON in UTF-8 */
	int			record_count;
	int		   *records;		/* their indexes in the batch */
} TargetStatement;

/* What a mode does to a table for an operation. */
extern TargetAction target_action(SyncMode mode, Operation operation);

/*
 * The statements of a batch (TargetStatement).  NIL, with *error set (palloc'ed,
 * for people), when a record of it cannot be written at all.  Raises
 * ERRCODE_UNDEFINED_COLUMN for fields that the table does not have.
 *
 * TARGET_APPEND returns the ordinals (int8, from 1, in the parameter) of the
 * records that were there already, TARGET_UPDATE those of the ones that it has
 * found; the others return nothing.
 */
extern List *target_statements(const TargetTable *table, TargetAction action,
							   const Batch *batch, char **error);

#endif							/* SIGNALSMITH_TARGET_STATEMENT_H */
