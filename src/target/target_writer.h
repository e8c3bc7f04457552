/*
 * target_writer.h
 *		Writing batches to a sync's table.
 */
#ifndef SIGNALSMITH_TARGET_WRITER_H
#define SIGNALSMITH_TARGET_WRITER_H

#include "postgres.h"

#include "connector/connector.h"
#include "store/definition.h"

typedef struct TargetWriter TargetWriter;

/* What a table made of a record. */
typedef enum TargetOutcome
{
	TARGET_WRITTEN,
	TARGET_PRESENT,				/* append: the row was there, and stays as it is */
	TARGET_ABSENT				/* update: there is no such row */
} TargetOutcome;

/*
 * Lives in CurrentMemoryContext; looks at the table at the first batch.  spec and
 * definition must live as long.
 */
extern TargetWriter *target_writer_create(const TableSpec *spec,
										  const SyncDefinition *definition);

/*
 * Writes a batch in the caller's transaction, as the sync's owner, who must be the
 * session's user.  Sets the outcome of each record and returns the bytes of
 * the parameters.  Whatever triggers there are, deferred ones too, have run when
 * this returns, and what they have set is undone.  Raises what they and the
 * statement raise.
 */
extern int64 target_writer_write(TargetWriter *writer, const Batch *batch,
								 TargetOutcome *outcomes);

#endif							/* SIGNALSMITH_TARGET_WRITER_H */
