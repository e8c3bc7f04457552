/*
 * snapshot_map.h
 *		Which entries of a snapshot are in which segment.
 *
 * A comparison numbers the entries of a snapshot from 0 on, in the order in
 * which they are stored.
 */
#ifndef SIGNALSMITH_SNAPSHOT_MAP_H
#define SIGNALSMITH_SNAPSHOT_MAP_H

#include "postgres.h"

#include "base/types.h"

typedef struct SegmentStart
{
	int64		segment_id;
	uint32		first;			/* entry */
	bool		supersedes;
} SegmentStart;

typedef struct SnapshotMap
{
	int64		sync_id;
	int			key_width;
	uint32		entry_count;	/* dead ones and all */
	bool		superseding;	/* some segments are */
	int			segment_count;
	int			segment_limit;
	SegmentStart *segments;
} SnapshotMap;

/* Lives in CurrentMemoryContext. */
extern SnapshotMap *snapshot_map_load(int64 sync_id, int key_width);

/* The index of the segment that an entry is in. */
extern int	snapshot_map_segment(const SnapshotMap *map, uint32 entry);

static inline uint32
snapshot_map_end(const SnapshotMap *map, int segment)
{
	return segment + 1 < map->segment_count ?
		map->segments[segment + 1].first : map->entry_count;
}

#endif							/* SIGNALSMITH_SNAPSHOT_MAP_H */
