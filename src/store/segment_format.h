/*
 * segment_format.h
 *		What a row of signalsmith.segment looks like; for segment_*.c and
 *		snapshot_*.c alone.
 */
#ifndef SIGNALSMITH_SEGMENT_FORMAT_H
#define SIGNALSMITH_SEGMENT_FORMAT_H

#include "postgres.h"

#include "store/snapshot.h"
#include "store/table_reader.h"
#include "store/table_writer.h"

/* Columns, in the table's order. */
enum SegmentColumn
{
	SEGMENT_SYNC_ID = 1,
	SEGMENT_ID,
	SEGMENT_RECORD_COUNT,
	SEGMENT_SUPERSEDES,
	SEGMENT_KEY_WIDTH,
	SEGMENT_ENTRIES,
	SEGMENT_IDENTITIES
};

#define SEGMENT_COLUMNS SEGMENT_IDENTITIES

/*
 * How large a segment may become.  Large ones are read with fewer look-ups; but
 * reading one identity means decompressing all of its segment's.  An identity
 * larger than the limit has a segment to itself.
 */
#define SEGMENT_MAX_RECORDS 8192
#define SEGMENT_MAX_IDENTITY_BYTES (4 * 1024 * 1024)

/*
 * Before each identity's texts: the lengths of key, identifier, id and version.
 */
#define IDENTITY_HEADER_BYTES (4 * sizeof(uint32))

/* The identity of each entry of a segment: records without data. */
typedef struct SegmentIdentities
{
	int			count;
	Record	   *records;
} SegmentIdentities;

/* The columns that say what a segment is, without its contents. */
extern void segment_header_read(TableReader *reader, int64 sync_id, Segment *segment);

/* Entries of the segment that the reader is at, in CurrentMemoryContext. */
extern void segment_entries_read(TableReader *reader, int64 sync_id, Segment *segment);

/* The same for identities; NULL when the segment has none. */
extern SegmentIdentities *segment_identities_read(TableReader *reader, int64 sync_id,
												  const Segment *segment);

/*
 * A builder that inserts through a table writer, without a scope, under ids
 * that count up from the given one.
 */
extern SegmentBuilder *segment_builder_create_at(int64 sync_id, int key_width,
												 bool with_identities,
												 TableWriter *table, int64 first_id);

/* Would this still go into the segment that is being filled? */
extern bool segment_builder_has_room(const SegmentBuilder *builder,
									 const Record *identity);

#endif							/* SIGNALSMITH_SEGMENT_FORMAT_H */
