/*
 * row_hash.c
 *		64 bits that change whenever the record of a row would.
 *
 * This is what a run costs that finds nothing to do, so the mapped values are
 * hashed as they are in memory, not as text: gathered in one buffer, with marks
 * for NULLs and lengths, and hashed by one XXH3 call.  Only types whose text
 * depends on more than their bytes (an enum's label may be renamed) are hashed
 * by the text that would be sent.
 *
 * The seed is a hash of everything else that shapes the record: after a change
 * of the mappings all hashes differ, and all rows are sent again.
 *
 * An update is missed when two versions of a row have the same 64 bits: one in
 * 1.8e19 for each changed row.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"

#include "plan/datum_bytes.h"
#include "plan/row_hash.h"
#include "plan/value.h"
#include "plan/xxh3.h"

/* Longer values are hashed where they are, and their hash goes in. */
#define INLINE_LIMIT 1024

/* A length that no value has: its text could not be written. */
#define LENGTH_FAILED PG_UINT32_MAX

typedef struct HashedColumn
{
	int			column;			/* place in the query's result */
	DatumLayout layout;
	int16		length;			/* of fixed-length values */
	ValueWriter *writer;		/* hash what it writes; or NULL */
} HashedColumn;

struct RowHasher
{
	uint64		seed;
	int			column_count;
	HashedColumn *columns;
	int			null_bytes;		/* at the buffer's start: a bit a column */
	char	   *buffer;			/* takes any row */
	StringInfoData text;		/* scratch, for writers */
};

/*
 * What a record is made of beside its values.  Sizes are part of it, so that no
 * two definitions give the same text.
 */
static uint64
fingerprint(const SyncDefinition *definition, const ModelQuery *query)
{
	StringInfoData text;
	uint64		hash;

	initStringInfo(&text);
	appendStringInfo(&text, "1 %d", definition->omit_nulls);
	for (int i = 0; i < definition->mapping_count; i++)
	{
		const FieldMapping *mapping = &definition->mappings[i];
		int			column = query->mapping_columns[i];

		appendStringInfo(&text, "\n%d %zu %s ", mapping->identifier,
						 strlen(mapping->destination), mapping->destination);
		if (mapping->source == MAPPING_CONSTANT)
			appendStringInfo(&text, "constant %s", mapping->text);
		else
		{
			TargetEntry *entry = list_nth_node(TargetEntry, query->query->targetList, column);
			Oid			type = getBaseType(exprType((Node *) entry->expr));

			/* oids of other types are not the same after a restore */
			appendStringInfo(&text, "%d %u", column, type_is_plain(type) ? type : InvalidOid);
		}
	}
	hash = XXH3_64bits(text.data, text.len);
	pfree(text.data);
	return hash;
}

static bool
is_mapped(const SyncDefinition *definition, const ModelQuery *query, int column)
{
	for (int i = 0; i < definition->mapping_count; i++)
		if (query->mapping_columns[i] == column)
			return true;
	return false;
}

RowHasher *
row_hasher_create(const SyncDefinition *definition, const ModelQuery *query)
{
	RowHasher  *hasher = palloc0(sizeof(RowHasher));
	Size		size = 0;

	hasher->seed = fingerprint(definition, query);
	hasher->columns = palloc0(query->column_count * sizeof(HashedColumn));
	initStringInfo(&hasher->text);

	for (int i = 0; i < query->column_count; i++)
	{
		TargetEntry *entry = list_nth_node(TargetEntry, query->query->targetList, i);
		Oid			type = getBaseType(exprType((Node *) entry->expr));
		HashedColumn *column = &hasher->columns[hasher->column_count];

		if (!is_mapped(definition, query, i))
			continue;
		hasher->column_count++;
		column->column = i;
		if (type_is_plain(type))
			column->layout = datum_layout(type, &column->length);
		else
		{
			column->layout = LAYOUT_VARLENA;
			column->writer = value_writer_create(type);
		}
		size += sizeof(uint32) + Max(INLINE_LIMIT, column->length);
	}

	hasher->null_bytes = TYPEALIGN(sizeof(uint64), (hasher->column_count + 7) / 8);
	hasher->buffer = palloc0(size + hasher->null_bytes);
	return hasher;
}

static Slice
column_bytes(RowHasher *hasher, const HashedColumn *column, Datum value)
{
	Slice		slice;

	if (column->writer == NULL)
		return datum_slice(column->layout, column->length, value);

	resetStringInfo(&hasher->text);
	if (value_write(column->writer, &hasher->text, value) != VALUE_OK)
	{
		slice.data = NULL;
		slice.length = LENGTH_FAILED;
	}
	else
	{
		slice.data = hasher->text.data;
		slice.length = hasher->text.len;
	}
	return slice;
}

/*
 * Most values are a few words long, where calling memcpy(), or the string
 * instruction that compilers put in its place, costs more than the copy.
 */
static inline void
copy_short(char *to, const char *from, uint32 length)
{
	if (length < sizeof(uint64))
	{
		while (length-- > 0)
			*to++ = *from++;
		return;
	}
	for (uint32 i = 0; i < length - sizeof(uint64); i += sizeof(uint64))
		memcpy(to + i, from + i, sizeof(uint64));
	memcpy(to + length - sizeof(uint64), from + length - sizeof(uint64), sizeof(uint64));
}

static inline char *
put_bytes(char *to, Slice bytes)
{
	memcpy(to, &bytes.length, sizeof(uint32));
	to += sizeof(uint32);
	if (likely(bytes.length <= INLINE_LIMIT))
	{
		copy_short(to, bytes.data, bytes.length);
		to += bytes.length;
	}
	else if (bytes.length != LENGTH_FAILED)
	{
		XXH128_hash_t hash = XXH3_128bits(bytes.data, bytes.length);

		memcpy(to, &hash, sizeof(hash));
		to += sizeof(hash);
	}
	return to;
}

uint64
row_hash(RowHasher *hasher, const Datum *values, const bool *nulls)
{
	char	   *to = hasher->buffer + hasher->null_bytes;
	uint64		hash;

	memset(hasher->buffer, 0, hasher->null_bytes);
	for (int i = 0; i < hasher->column_count; i++)
	{
		const HashedColumn *column = &hasher->columns[i];
		Datum		value = values[column->column];

		if (nulls[column->column])
			hasher->buffer[i / 8] |= 1 << (i % 8);
		else if (layout_is_by_value(column->layout))
		{
			uint64		word = datum_word(column->layout, value);

			memcpy(to, &word, sizeof(word));
			to += sizeof(word);
		}
		else
			to = put_bytes(to, column_bytes(hasher, column, value));
	}

	hash = XXH3_64bits_withSeed(hasher->buffer, to - hasher->buffer, hasher->seed);
	if (unlikely(hash < ROW_HASH_FIRST))
		hash = ~hash;
	return hash;
}
