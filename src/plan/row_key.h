/*
 * row_key.h
 *		The packed key of a row: exact, or 128 bits that agree with the equality
 *		of the key columns' types.
 */
#ifndef SIGNALSMITH_ROW_KEY_H
#define SIGNALSMITH_ROW_KEY_H

#include "postgres.h"

#include "base/types.h"
#include "plan/datum_bytes.h"
#include "plan/model_query.h"
#include "store/definition.h"

typedef struct KeyColumn KeyColumn;

typedef struct RowKeyer
{
	int			width;			/* KEY_WIDTH_xxx */
	int			column_count;
	KeyColumn  *columns;
	bool		single_integer; /* the common case, done inline */
	int			integer_column;
	DatumLayout integer_layout;
	char	   *buffer;
} RowKeyer;

/*
 * Raises ERRCODE_UNDEFINED_FUNCTION when a key column's type has no notion of
 * equality that can be hashed.  Lives in CurrentMemoryContext.
 */
extern RowKeyer *row_keyer_create(const SyncDefinition *definition,
								  const ModelQuery *query);

extern bool row_key_hashed(RowKeyer *keyer, const Datum *values,
						   const bool *nulls, RecordKey *key);

/*
 * Packs the key of a row; false when a key column is NULL.  May leave garbage
 * in CurrentMemoryContext.
 */
static inline bool
row_key(RowKeyer *keyer, const Datum *values, const bool *nulls, RecordKey *key)
{
	if (likely(keyer->single_integer))
	{
		if (unlikely(nulls[keyer->integer_column]))
			return false;
		key->low = datum_word(keyer->integer_layout, values[keyer->integer_column]);
		key->high = 0;
		return true;
	}
	return row_key_hashed(keyer, values, nulls, key);
}

#endif							/* SIGNALSMITH_ROW_KEY_H */
