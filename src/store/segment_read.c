/*
 * segment_read.c
 *		Reading segments of a snapshot, and identities out of them.
 *
 * A comparison reads entries of all segments, so identities are stored apart
 * and read by those alone that need them, one segment at a time.  Nothing
 * stored is believed: a damaged segment is an error, never a crash.
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/bytes.h"
#include "base/fault.h"
#include "base/settings.h"
#include "store/packed.h"
#include "store/segment_format.h"

struct SegmentScan
{
	int64		sync_id;
	TableReader *reader;
	MemoryContext segment_context;	/* reset for each segment */
	Segment		segment;
};

/* A segment whose identities are at hand. */
typedef struct KeptSegment
{
	dlist_node	node;			/* in the order of their use, the latest first */
	int64		segment_id;
	MemoryContext context;		/* holds this and the identities */
	SegmentIdentities *identities;	/* or NULL */
} KeptSegment;

typedef struct KeptEntry
{
	int64		segment_id;		/* hash key */
	KeptSegment *kept;
} KeptEntry;

struct IdentityReader
{
	int64		sync_id;
	MemoryContext context;		/* of the reader */
	HTAB	   *table;			/* of KeptEntry */
	dlist_head	kept;
	Size		memory;			/* of those kept */
};

/* This part of diff_mem is for identities. */
#define MEMORY_PART 4

static void
segment_damaged(int64 sync_id, int64 segment_id, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("segment %lld of the snapshot of sync sync_%lld is damaged",
					(long long) segment_id, (long long) sync_id),
			 errdetail_internal("%s", detail),
			 errhint("Call reset_sync to forget the snapshot; the next run then sends everything.")));
}

void
segment_header_read(TableReader *reader, int64 sync_id, Segment *segment)
{
	bool		isnull;

	memset(segment, 0, sizeof(Segment));
	segment->id = table_reader_int64(reader, SEGMENT_ID);
	segment->count = table_reader_int32(reader, SEGMENT_RECORD_COUNT);
	segment->supersedes = DatumGetBool(table_reader_value(reader, SEGMENT_SUPERSEDES, &isnull));
	segment->key_width = DatumGetInt16(table_reader_value(reader, SEGMENT_KEY_WIDTH, &isnull));

	if (segment->count <= 0 || !key_width_is_valid(segment->key_width) ||
		table_reader_bytes_length(reader, SEGMENT_ENTRIES) !=
		packed_size(segment->count, segment->key_width))
		segment_damaged(sync_id, segment->id,
						psprintf("It has %zu bytes for %d records with keys of %d bytes.",
								 table_reader_bytes_length(reader, SEGMENT_ENTRIES),
								 segment->count, segment->key_width));
}

void
segment_entries_read(TableReader *reader, int64 sync_id, Segment *segment)
{
	Size		length;
	char	   *entries = table_reader_bytes(reader, SEGMENT_ENTRIES, &length);

	if (length != packed_size(segment->count, segment->key_width))
		segment_damaged(sync_id, segment->id,
						psprintf("%zu bytes could be read.", length));
	packed_to_native(entries, segment->count, segment->key_width);
	segment->keys = entries;
	segment->hashes = (const uint64 *) (entries + (Size) segment->count * segment->key_width);
}

/* Cuts a slice off the bytes that are left; false when it reaches beyond them. */
static bool
take_slice(Slice *slice, uint32 length, const char **position, const char *end)
{
	if (length > (Size) (end - *position))
		return false;
	slice->data = *position;
	slice->length = length;
	*position += length;
	return true;
}

SegmentIdentities *
segment_identities_read(TableReader *reader, int64 sync_id, const Segment *segment)
{
	SegmentIdentities *result;
	Size		length;
	const char *position = table_reader_bytes(reader, SEGMENT_IDENTITIES, &length);
	const char *end = position + length;

	if (position == NULL)
		return NULL;

	result = palloc(sizeof(SegmentIdentities));
	result->count = segment->count;
	result->records = palloc0(mul_size(segment->count, sizeof(Record)));
	for (int i = 0; i < segment->count; i++)
	{
		Record	   *record = &result->records[i];
		Slice		header;

		if (!take_slice(&header, IDENTITY_HEADER_BYTES, &position, end) ||
			!take_slice(&record->key, read_uint32(header.data), &position, end) ||
			!take_slice(&record->identifier, read_uint32(header.data + 4), &position, end) ||
			!take_slice(&record->id, read_uint32(header.data + 8), &position, end) ||
			!take_slice(&record->version, read_uint32(header.data + 12), &position, end))
			segment_damaged(sync_id, segment->id,
							psprintf("Identity %d reaches beyond the end.", i));
		record->data = (Slice) {end, 0};
	}
	if (position != end)
		segment_damaged(sync_id, segment->id, "Bytes follow the last identity.");
	return result;
}

/* --- all segments --- */

SegmentScan *
segment_scan_begin(int64 sync_id, int64 first_id)
{
	SegmentScan *scan = palloc(sizeof(SegmentScan));

	scan->sync_id = sync_id;
	scan->reader = table_reader_open("segment", SEGMENT_COLUMNS, sync_id,
									 BTGreaterEqualStrategyNumber, first_id,
									 GetActiveSnapshot());
	scan->segment_context = AllocSetContextCreate(CurrentMemoryContext,
												  "signalsmith segment",
												  ALLOCSET_DEFAULT_SIZES);
	return scan;
}

Segment *
segment_scan_next_header(SegmentScan *scan)
{
	MemoryContextReset(scan->segment_context);
	if (!table_reader_next(scan->reader, ForwardScanDirection))
		return NULL;
	segment_header_read(scan->reader, scan->sync_id, &scan->segment);
	return &scan->segment;
}

void
segment_scan_read_entries(SegmentScan *scan)
{
	MemoryContext old_context = MemoryContextSwitchTo(scan->segment_context);

	FAULT_POINT("segment-read");
	segment_entries_read(scan->reader, scan->sync_id, &scan->segment);
	MemoryContextSwitchTo(old_context);
}

Segment *
segment_scan_next(SegmentScan *scan)
{
	Segment    *segment = segment_scan_next_header(scan);

	if (segment != NULL)
		segment_scan_read_entries(scan);
	return segment;
}

void
segment_scan_end(SegmentScan *scan)
{
	table_reader_close(scan->reader);
	MemoryContextDelete(scan->segment_context);
	pfree(scan);
}

/* --- single identities --- */

IdentityReader *
identity_reader_create(int64 sync_id)
{
	IdentityReader *reader;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "signalsmith identities",
												  ALLOCSET_DEFAULT_SIZES);
	HASHCTL		control = {
		.keysize = sizeof(int64),
		.entrysize = sizeof(KeptEntry),
		.hcxt = context
	};

	reader = MemoryContextAllocZero(context, sizeof(IdentityReader));
	reader->sync_id = sync_id;
	reader->context = context;
	reader->table = hash_create("signalsmith identities", 64, &control,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	dlist_init(&reader->kept);
	return reader;
}

static void
forget_segment(IdentityReader *reader, KeptSegment *kept)
{
	dlist_delete(&kept->node);
	(void) hash_search(reader->table, &kept->segment_id, HASH_REMOVE, NULL);
	reader->memory -= MemoryContextMemAllocated(kept->context, false);
	MemoryContextDelete(kept->context);
}

static KeptSegment *
load_segment(IdentityReader *reader, int64 segment_id)
{
	MemoryContext context = AllocSetContextCreate(reader->context,
												  "signalsmith identities of a segment",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	KeptSegment *kept = palloc0(sizeof(KeptSegment));
	TableReader *row;
	Segment		segment;

	kept->segment_id = segment_id;
	kept->context = context;
	row = table_reader_open("segment", SEGMENT_COLUMNS, reader->sync_id,
							BTEqualStrategyNumber, segment_id, GetActiveSnapshot());
	if (table_reader_next(row, ForwardScanDirection))
	{
		segment_header_read(row, reader->sync_id, &segment);
		kept->identities = segment_identities_read(row, reader->sync_id, &segment);
	}
	table_reader_close(row);
	MemoryContextSwitchTo(old_context);
	return kept;
}

/* The segment's identities, and room for them. */
static KeptSegment *
find_segment(IdentityReader *reader, int64 segment_id)
{
	KeptSegment *kept;
	KeptEntry  *entry = hash_search(reader->table, &segment_id, HASH_FIND, NULL);

	if (entry != NULL)
	{
		dlist_move_head(&reader->kept, &entry->kept->node);
		return entry->kept;
	}
	kept = load_segment(reader, segment_id);
	entry = hash_search(reader->table, &segment_id, HASH_ENTER, NULL);
	entry->kept = kept;
	dlist_push_head(&reader->kept, &kept->node);
	reader->memory += MemoryContextMemAllocated(kept->context, false);
	while (reader->memory > (Size) setting_diff_mem * 1024 / MEMORY_PART &&
		   dlist_has_prev(&reader->kept, &dlist_tail_element(KeptSegment, node, &reader->kept)->node))
		forget_segment(reader, dlist_tail_element(KeptSegment, node, &reader->kept));
	return kept;
}

bool
segment_read_identity(IdentityReader *reader, int64 segment_id, int index, Record *identity)
{
	const KeptSegment *kept = find_segment(reader, segment_id);

	if (kept->identities == NULL || index >= kept->identities->count)
		return false;
	*identity = kept->identities->records[index];
	return identity->key.length > 0 || identity->identifier.length > 0 ||
		identity->id.length > 0 || identity->version.length > 0;
}

void
identity_reader_free(IdentityReader *reader)
{
	MemoryContextDelete(reader->context);
}
