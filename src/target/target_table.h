/*
 * target_table.h
 *		The table that a sync writes to: what it is, its columns, its key.
 *
 * Read from the catalogs, by name and without a search_path.  Nothing here runs
 * anything of a user's, nor asks who may do what; see target_check.h for that.
 */
#ifndef SIGNALSMITH_TARGET_TABLE_H
#define SIGNALSMITH_TARGET_TABLE_H

#include "postgres.h"

#include "connector/connector.h"
#include "store/definition.h"

typedef struct TargetColumn
{
	char	   *name;
	AttrNumber	number;
	Oid			type;
	char	   *type_text;		/* qualified, with its modifier */
	bool		required;		/* not null, and without a default */
	bool		generated;		/* cannot be written */
} TargetColumn;

typedef struct TargetTable
{
	Oid			relation;
	char		kind;			/* RELKIND_xxx */
	char	   *name;			/* qualified, and quoted where it has to be */
	int			column_count;
	TargetColumn *columns;
	int			key_count;		/* columns that identify a record */
	int		   *key;			/* their places in columns */
	const char **key_members;	/* of a record's key, in UTF-8; NULL: its
								 * identifier is the value */
	bool		has_unique_key; /* ON CONFLICT can find a record by them */
} TargetTable;

/*
 * Reads the table of a sync.  Lives in CurrentMemoryContext.  Raises
 * ERRCODE_UNDEFINED_TABLE, ERRCODE_WRONG_OBJECT_TYPE, ERRCODE_UNDEFINED_COLUMN
 * or ERRCODE_INVALID_OBJECT_DEFINITION, with the way out.
 */
extern TargetTable *target_table_of_sync(const TableSpec *spec,
										 const SyncDefinition *definition);

/*
 * The same for records that somebody makes up: keys are identified by the
 * columns of these names.
 */
extern TargetTable *target_table_open(const TableSpec *spec, int key_count,
									  const char *const *key_columns);

/* The place of a column, or -1. */
extern int	target_column_place(const TargetTable *table, const char *name);

/* The same; ERRCODE_UNDEFINED_COLUMN where there is none. */
extern int	target_column(const TargetTable *table, const char *name);

/* Is the column at that place one of those that identify a row? */
extern bool target_column_is_key(const TargetTable *table, int place);

#endif							/* SIGNALSMITH_TARGET_TABLE_H */
