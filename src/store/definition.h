/*
 * definition.h
 *		A sync with its model, destination and connector, as stored.
 */
#ifndef SIGNALSMITH_DEFINITION_H
#define SIGNALSMITH_DEFINITION_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "base/types.h"

/* Where the value of a destination field comes from. */
typedef enum MappingSource
{
	MAPPING_COLUMN,				/* a column of the model */
	MAPPING_CONSTANT,			/* the same JSON value in every record */
	MAPPING_EXPRESSION			/* SQL over the model's columns */
} MappingSource;

typedef struct FieldMapping
{
	MappingSource source;
	char	   *text;			/* column name, JSON text in the server's
								 * encoding, or SQL text */
	char	   *destination;	/* dots nest */
	bool		identifier;		/* matches the record at the destination */
} FieldMapping;

typedef struct ModelColumn
{
	char	   *name;
	char	   *type;			/* as format_type() says it */
} ModelColumn;

typedef struct SyncDefinition
{
	int64		sync_id;
	char	   *sync_name;
	char	   *mode_name;		/* as the user wrote it: "insert" stays */
	SyncMode	mode;
	Oid			owner;			/* the model's */
	char	   *object;			/* or NULL */
	bool		omit_nulls;		/* option on_null = omit */
	int			batch_size;		/* records; 0: the connector's own */
	int			max_in_flight;	/* requests; 0: the connector's own */
	int			max_attempts;
	int			timeout_ms;		/* of a request */
	int			error_after;	/* failed runs in a row */
	double		max_delete_percent;
	bool		hold_deletes;	/* however few, in this run */

	int64		model_id;
	char	   *model_name;
	char	   *query;
	char	   *search_path;
	int			column_count;
	ModelColumn *columns;		/* as recorded when the model was saved */
	int			key_count;
	char	  **key_columns;

	int			mapping_count;	/* resolved: never 0 for "all columns" */
	FieldMapping *mappings;
	char	   *identifier;		/* the destination field that identifies a
								 * record; NULL: no field does */

	char	   *snapshot_key;	/* what the snapshot was taken with; or NULL */

	int64		destination_id;
	char	   *destination_name;
	int64		breaker_open_ms;	/* so long it is to be left alone; 0: not */
	int64		rest_ms;		/* so long it has asked to be; 0: not */
	char	   *connector;
	Jsonb	   *manifest;
	Jsonb	   *config;
} SyncDefinition;

/*
 * Reads the definition of a sync into the current memory context, with the
 * transaction's own snapshot.  The caller has checked that it may be seen.
 * Raises ERRCODE_UNDEFINED_OBJECT when there is no such sync.
 */
extern SyncDefinition *definition_read(int64 sync_id);

/*
 * Notes for how long a destination is to be left alone, because it cannot be
 * reached and because it has asked for that; 0: it is not.
 */
extern void destination_record_gate(int64 destination_id, int64 open_ms, int64 rest_ms);

#endif							/* SIGNALSMITH_DEFINITION_H */
