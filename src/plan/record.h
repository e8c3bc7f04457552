/*
 * record.h
 *		A row as the destination's record.
 */
#ifndef SIGNALSMITH_RECORD_H
#define SIGNALSMITH_RECORD_H

#include "postgres.h"

#include "base/types.h"
#include "plan/model_query.h"
#include "plan/value.h"
#include "store/definition.h"

typedef struct RecordWriter RecordWriter;

/*
 * Compiles keys and mappings; lives in CurrentMemoryContext.  Raises
 * ERRCODE_INVALID_PARAMETER_VALUE for mappings that contradict each other.
 */
extern RecordWriter *record_writer_create(const SyncDefinition *definition,
										  const ModelQuery *query);

/* Why a row cannot be a record. */
typedef struct RecordProblem
{
	ValueStatus status;
	const char *field;			/* destination, or key column */
	bool		in_key;
} RecordProblem;

/*
 * Render parts of a row of the query's result into the writer's own buffers;
 * each part is valid until it is rendered again.  False, with *problem set,
 * when that cannot be.  Leave garbage in CurrentMemoryContext.
 */
extern bool record_write_key(RecordWriter *writer, const Datum *values,
							 const bool *nulls, Slice *key, RecordProblem *problem);
extern bool record_write_identifier(RecordWriter *writer, const Datum *values,
									const bool *nulls, Slice *identifier,
									RecordProblem *problem);
extern bool record_write_data(RecordWriter *writer, const Datum *values,
							  const bool *nulls, Slice *data, RecordProblem *problem);

#endif							/* SIGNALSMITH_RECORD_H */
