/*
 * snapshot_map.c
 *		Which entries of a snapshot are in which segment.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "plan/snapshot_map.h"
#include "store/snapshot.h"

/* Entries are numbered in 32 bits, with some numbers to spare. */
#define MAX_ENTRIES 3000000000U

static void
add_segment(SnapshotMap *map, const Segment *segment)
{
	SegmentStart *start;

	if (segment->key_width != map->key_width)
		elog(ERROR, "segment " INT64_FORMAT " has keys of %d bytes, not %d",
			 segment->id, segment->key_width, map->key_width);
	if (map->entry_count > MAX_ENTRIES - segment->count)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many records in one sync"),
				 errdetail("At most %u are possible.", MAX_ENTRIES)));

	if (map->segment_count == map->segment_limit)
	{
		map->segment_limit = Max(256, map->segment_limit * 2);
		map->segments = map->segments == NULL ?
			MemoryContextAllocHuge(CurrentMemoryContext, map->segment_limit * sizeof(SegmentStart)) :
			repalloc_huge(map->segments, map->segment_limit * sizeof(SegmentStart));
	}
	start = &map->segments[map->segment_count++];
	start->segment_id = segment->id;
	start->first = map->entry_count;
	start->supersedes = segment->supersedes;
	map->superseding |= segment->supersedes;
	map->entry_count += segment->count;
}

SnapshotMap *
snapshot_map_load(int64 sync_id, int key_width)
{
	SnapshotMap *map = palloc0(sizeof(SnapshotMap));
	SegmentScan *scan = segment_scan_begin(sync_id, PG_INT64_MIN);
	Segment    *segment;

	map->sync_id = sync_id;
	map->key_width = key_width;
	while ((segment = segment_scan_next_header(scan)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		add_segment(map, segment);
	}
	segment_scan_end(scan);
	return map;
}

int
snapshot_map_segment(const SnapshotMap *map, uint32 entry)
{
	int			low = 0;
	int			high = map->segment_count - 1;

	while (low < high)
	{
		int			middle = low + (high - low + 1) / 2;

		if (map->segments[middle].first <= entry)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}
