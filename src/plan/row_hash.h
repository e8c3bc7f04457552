/*
 * row_hash.h
 *		64 bits that change whenever the record of a row would.
 */
#ifndef SIGNALSMITH_ROW_HASH_H
#define SIGNALSMITH_ROW_HASH_H

#include "postgres.h"

#include "plan/model_query.h"
#include "store/definition.h"

typedef struct RowHasher RowHasher;

/* Lives in CurrentMemoryContext. */
extern RowHasher *row_hasher_create(const SyncDefinition *definition,
									const ModelQuery *query);

/*
 * Hashes a row of the query's result.  Never one of the reserved ROW_HASH_xxx.
 * May leave garbage in CurrentMemoryContext.
 */
extern uint64 row_hash(RowHasher *hasher, const Datum *values, const bool *nulls);

#endif							/* SIGNALSMITH_ROW_HASH_H */
