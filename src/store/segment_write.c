/*
 * segment_write.c
 *		Collecting acknowledged records and writing them as a segment.
 *
 * Recording what a destination confirmed is on the path of every delivery, so
 * it costs one insert for a group of records, however many they are.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/bytes.h"
#include "base/compat.h"
#include "base/fault.h"
#include "store/packed.h"
#include "store/scope.h"
#include "store/segment_format.h"

#define INITIAL_ENTRIES 256

/* An identity as it is stored: header and texts. */
typedef struct StoredIdentity
{
	char	   *bytes;
	uint32		length;
} StoredIdentity;

struct SegmentBuilder
{
	MemoryContext context;		/* of the arrays */
	MemoryContext identity_context; /* of the identities; reset by flush */
	int64		sync_id;
	int			key_width;
	bool		with_identities;
	TableWriter *table;			/* or NULL: insert by a statement in a scope */
	int64		next_id;		/* with a table writer */

	int			count;
	int			allocated;
	bool		supersedes;
	RecordKey  *keys;
	uint64	   *hashes;
	StoredIdentity *identities; /* NULL without identities */
	Size		identity_bytes;
};

SegmentBuilder *
segment_builder_create_at(int64 sync_id, int key_width, bool with_identities,
						  TableWriter *table, int64 first_id)
{
	SegmentBuilder *builder = palloc0(sizeof(SegmentBuilder));

	Assert(key_width_is_valid(key_width));
	builder->context = CurrentMemoryContext;
	builder->identity_context = AllocSetContextCreate(CurrentMemoryContext,
													  "signalsmith segment builder",
													  ALLOCSET_DEFAULT_SIZES);
	builder->sync_id = sync_id;
	builder->key_width = key_width;
	builder->with_identities = with_identities;
	builder->table = table;
	builder->next_id = first_id;

	builder->allocated = INITIAL_ENTRIES;
	builder->keys = palloc(builder->allocated * sizeof(RecordKey));
	builder->hashes = palloc(builder->allocated * sizeof(uint64));
	if (with_identities)
		builder->identities = palloc(builder->allocated * sizeof(StoredIdentity));
	return builder;
}

SegmentBuilder *
segment_builder_create(int64 sync_id, int key_width, bool with_identities)
{
	return segment_builder_create_at(sync_id, key_width, with_identities, NULL, 0);
}

static void
make_room(SegmentBuilder *builder)
{
	if (builder->count < builder->allocated)
		return;
	builder->allocated *= 2;
	builder->keys = repalloc(builder->keys, builder->allocated * sizeof(RecordKey));
	builder->hashes = repalloc(builder->hashes, builder->allocated * sizeof(uint64));
	if (builder->with_identities)
		builder->identities = repalloc(builder->identities,
									   builder->allocated * sizeof(StoredIdentity));
}

static Size
identity_size(const Record *identity)
{
	return IDENTITY_HEADER_BYTES + (Size) identity->key.length +
		(Size) identity->identifier.length + (Size) identity->id.length +
		(Size) identity->version.length;
}

static char *
append_slice(char *to, Slice slice)
{
	if (slice.length > 0)
		memcpy(to, slice.data, slice.length);
	return to + slice.length;
}

static void
store_identity(SegmentBuilder *builder, StoredIdentity *stored, const Record *identity)
{
	Size		size = identity_size(identity);
	char	   *to = MemoryContextAlloc(builder->identity_context, size);

	stored->bytes = to;
	stored->length = size;
	write_uint32(to, identity->key.length);
	write_uint32(to + 4, identity->identifier.length);
	write_uint32(to + 8, identity->id.length);
	write_uint32(to + 12, identity->version.length);
	to = append_slice(to + IDENTITY_HEADER_BYTES, identity->key);
	to = append_slice(to, identity->identifier);
	to = append_slice(to, identity->id);
	(void) append_slice(to, identity->version);
	builder->identity_bytes += size;
}

void
segment_builder_add(SegmentBuilder *builder, RecordKey key, uint64 hash,
					const Record *identity, bool supersedes)
{
	make_room(builder);
	builder->keys[builder->count] = key;
	builder->hashes[builder->count] = hash;
	if (builder->with_identities)
		store_identity(builder, &builder->identities[builder->count], identity);
	builder->supersedes |= supersedes;
	builder->count++;
}

int
segment_builder_count(const SegmentBuilder *builder)
{
	return builder->count;
}

bool
segment_builder_has_room(const SegmentBuilder *builder, const Record *identity)
{
	return builder->count < SEGMENT_MAX_RECORDS &&
		(!builder->with_identities ||
		 builder->identity_bytes + identity_size(identity) <=
		 SEGMENT_MAX_IDENTITY_BYTES);
}

static bytea *
build_identities(const StoredIdentity *identities, int count)
{
	Size		length = 0;
	bytea	   *result;
	char	   *position;

	for (int i = 0; i < count; i++)
		length += identities[i].length;
	result = palloc(VARHDRSZ + length);
	SET_VARSIZE(result, VARHDRSZ + length);
	position = VARDATA(result);
	for (int i = 0; i < count; i++)
	{
		memcpy(position, identities[i].bytes, identities[i].length);
		position += identities[i].length;
	}
	return result;
}

static void
insert_by_statement(SegmentBuilder *builder, int count, bytea *entries, bytea *identities)
{
	scope_execute("INSERT INTO signalsmith.segment"
				  " (sync_id, record_count, supersedes, key_width, entries, identities)"
				  " VALUES ($1, $2, $3, $4, $5, $6)",
				  "libiyY", Int64GetDatum(builder->sync_id), Int32GetDatum(count),
				  BoolGetDatum(builder->supersedes), Int32GetDatum(builder->key_width),
				  PointerGetDatum(entries), identities == NULL,
				  PointerGetDatum(identities));
}

static void
insert_by_writer(SegmentBuilder *builder, int count, bytea *entries, bytea *identities)
{
	Datum		values[SEGMENT_COLUMNS];
	bool		nulls[SEGMENT_COLUMNS] = {false};

	values[SEGMENT_SYNC_ID - 1] = Int64GetDatum(builder->sync_id);
	values[SEGMENT_ID - 1] = Int64GetDatum(builder->next_id++);
	values[SEGMENT_RECORD_COUNT - 1] = Int32GetDatum(count);
	values[SEGMENT_SUPERSEDES - 1] = BoolGetDatum(builder->supersedes);
	values[SEGMENT_KEY_WIDTH - 1] = Int16GetDatum(builder->key_width);
	values[SEGMENT_ENTRIES - 1] = PointerGetDatum(entries);
	values[SEGMENT_IDENTITIES - 1] = PointerGetDatum(identities);
	nulls[SEGMENT_IDENTITIES - 1] = identities == NULL;
	table_writer_insert(builder->table, values, nulls);
}

static void
insert_segment(SegmentBuilder *builder, int first, int count)
{
	bytea	   *entries = packed_build(builder->keys + first, builder->hashes + first,
									   count, builder->key_width);
	bytea	   *identities = builder->with_identities ?
		build_identities(builder->identities + first, count) : NULL;

	if (builder->table)
		insert_by_writer(builder, count, entries, identities);
	else
		insert_by_statement(builder, count, entries, identities);

	pfree(entries);
	if (identities)
		pfree(identities);
}

/* How many entries from "first" on make one segment: at least one. */
static int
segment_length(const SegmentBuilder *builder, int first)
{
	int			limit = Min(builder->count - first, SEGMENT_MAX_RECORDS);
	Size		bytes = 0;

	if (!builder->with_identities)
		return limit;
	for (int i = 0; i < limit; i++)
	{
		bytes += builder->identities[first + i].length;
		if (i > 0 && bytes > SEGMENT_MAX_IDENTITY_BYTES)
			return i;
	}
	return limit;
}

void
segment_builder_clear(SegmentBuilder *builder)
{
	builder->count = 0;
	builder->supersedes = false;
	builder->identity_bytes = 0;
	MemoryContextReset(builder->identity_context);
}

void
segment_builder_flush(SegmentBuilder *builder)
{
	for (int first = 0; first < builder->count;)
	{
		int			count = segment_length(builder, first);

		FAULT_POINT("segment-insert");
		insert_segment(builder, first, count);
		first += count;
	}
	segment_builder_clear(builder);
}
