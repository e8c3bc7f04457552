/*
 * diff_stream.c
 *		A comparison that reads the snapshot beside the rows.
 *
 * Cursors hold a segment each and go on to the next one.  So that they find the
 * rows again where these do not go on where they were expected to, every so
 * many keys are kept as landmarks: a row that is one of them says where the
 * rows behind it are expected.  Until then rows are set aside, which costs more
 * than settling them, but not more than a join would for all of them.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "plan/diff.h"

/* One key in so many is a landmark, or fewer if they would need much memory. */
#define LANDMARK_INTERVAL 64
#define LANDMARK_MEMORY_PART 8

/*
 * Loading a segment costs as much as setting aside so many rows.  Rows that
 * were settled pay for that; where there is no order, there are few jumps.
 */
#define JUMP_COST 256
#define JUMP_CREDIT_LIMIT (16 * JUMP_COST)

/* --- segments --- */

void
diff_stream_load(Diff *diff, DiffCursor *cursor, int segment)
{
	const SegmentStart *start = &diff->map->segments[segment];
	MemoryContext old_context = MemoryContextSwitchTo(diff->context);
	Segment    *found;
	Size		size;

	if (cursor->scan != NULL && segment != cursor->segment + 1)
	{
		segment_scan_end(cursor->scan);
		cursor->scan = NULL;
	}
	if (cursor->scan == NULL)
		cursor->scan = segment_scan_begin(diff->map->sync_id, start->segment_id);
	found = segment_scan_next(cursor->scan);
	if (found == NULL || found->id != start->segment_id)
		elog(ERROR, "segment " INT64_FORMAT " is gone", start->segment_id);

	size = found->count * key_table_stride(diff->key_width);
	if (size > cursor->block_size)
	{
		if (cursor->block != NULL)
			pfree(cursor->block);
		cursor->block = palloc(size);
		cursor->block_size = size;
	}
	diff_pack_segment(diff, found, start->first, cursor->block);
	MemoryContextSwitchTo(old_context);

	cursor->segment = segment;
	cursor->entry = start->first;
	cursor->begin = cursor->block;
	cursor->next = cursor->block;
	cursor->end = cursor->block + size;
}

/* --- which entries are dead --- */

static void
collect_part(Diff *diff, KeyTable *last_entries, uint32 part, uint32 part_mask)
{
	const SnapshotMap *map = diff->map;
	SegmentScan *scan = segment_scan_begin(map->sync_id, PG_INT64_MIN);
	Segment    *segment;

	for (int i = 0; (segment = segment_scan_next_header(scan)) != NULL; i++)
	{
		if (!segment->supersedes)
			continue;
		CHECK_FOR_INTERRUPTS();
		segment_scan_read_entries(scan);
		for (int j = 0; j < segment->count; j++)
		{
			RecordKey	key = segment_key(segment, j);
			uint32		entry = map->segments[i].first + j;
			uint32		found;
			bool		added;

			if ((key_part_bits(key) & part_mask) != part)
				continue;
			found = key_table_find_or_add(last_entries, key, (uint64) entry + 1, &added);
			key_table_set_value(last_entries, found, (uint64) entry + 1);
		}
	}
	segment_scan_end(scan);
}

static void
mark_dead_of_part(Diff *diff, const KeyTable *last_entries, uint32 part, uint32 part_mask)
{
	const SnapshotMap *map = diff->map;
	SegmentScan *scan = segment_scan_begin(map->sync_id, PG_INT64_MIN);
	Segment    *segment;

	for (int i = 0; (segment = segment_scan_next(scan)) != NULL; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < segment->count; j++)
		{
			RecordKey	key = segment_key(segment, j);
			uint32		entry = map->segments[i].first + j;
			uint32		found;

			if ((key_part_bits(key) & part_mask) != part)
				continue;
			found = key_table_find(last_entries, key);
			if (segment->hashes[j] == ROW_HASH_DELETED ||
				(found != KEY_TABLE_NONE &&
				 key_table_value(last_entries, found) > (uint64) entry + 1))
			{
				diff_set_state(diff, entry, ENTRY_DEAD);
				diff->live_count--;
			}
		}
	}
	segment_scan_end(scan);
}

/*
 * Tombstones, and what superseding segments have replaced: found in as many
 * passes as it takes to hold the superseding keys in memory.
 */
static void
mark_dead(Diff *diff)
{
	const SnapshotMap *map = diff->map;
	uint64		superseding = 0;
	uint32		parts = 1;

	for (int i = 0; i < map->segment_count; i++)
		if (map->segments[i].supersedes)
			superseding += snapshot_map_end(map, i) - map->segments[i].first;
	while (key_table_memory(superseding / parts, map->key_width) > diff->memory_limit / 2)
		parts *= 2;

	for (uint32 part = 0; part < parts; part++)
	{
		KeyTable   *last_entries = key_table_create(map->key_width, 0);

		key_table_begin_index(last_entries, superseding / parts);
		collect_part(diff, last_entries, part, parts - 1);
		mark_dead_of_part(diff, last_entries, part, parts - 1);
		diff->peak_memory = Max(diff->peak_memory, last_entries->peak);
		key_table_free(last_entries);
	}
}

void
diff_stream_begin(Diff *diff)
{
	diff->state_count = TYPEALIGN(4, (uint64) diff->map->entry_count);
	diff->states = MemoryContextAllocExtended(diff->context, diff->state_count / 4,
											  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	diff->live_count = diff->map->entry_count;
	diff->jump_credit = JUMP_CREDIT_LIMIT;
	if (diff->map->superseding)
		mark_dead(diff);
	diff_place_cursor(diff, 0, 0);
}

/* --- landmarks --- */

static void
collect_landmarks(Diff *diff)
{
	const SnapshotMap *map = diff->map;
	MemoryContext old_context = MemoryContextSwitchTo(diff->context);
	uint32		interval = LANDMARK_INTERVAL;
	SegmentScan *scan;
	Segment    *segment;

	while (key_table_memory(map->entry_count / interval, map->key_width) >
		   diff->memory_limit / LANDMARK_MEMORY_PART)
		interval *= 2;

	diff->landmarks = key_table_create(map->key_width, 0);
	key_table_reserve(diff->landmarks, map->entry_count / interval + 1);
	scan = segment_scan_begin(map->sync_id, PG_INT64_MIN);
	for (int i = 0; (segment = segment_scan_next(scan)) != NULL; i++)
	{
		uint32		first = map->segments[i].first;

		CHECK_FOR_INTERRUPTS();
		for (uint32 j = -first & (interval - 1); j < (uint32) segment->count; j += interval)
			if (diff_state(diff, first + j) != ENTRY_DEAD)
				key_table_append(diff->landmarks, segment_key(segment, j),
								 (uint64) first + j + 1);
	}
	segment_scan_end(scan);
	key_table_index_all(diff->landmarks);
	MemoryContextSwitchTo(old_context);
}

/* Puts a cursor where a landmark says that a key is. */
static bool
jump(Diff *diff, RecordKey key)
{
	uint32		landmark;

	if (diff->jump_credit < JUMP_COST)
	{
		diff->jump_credit++;
		return false;
	}
	if (diff->landmarks == NULL)
		collect_landmarks(diff);
	landmark = key_table_find(diff->landmarks, key);
	if (landmark == KEY_TABLE_NONE)
		return false;

	diff->jump_credit -= JUMP_COST;
	diff_expect(diff, (uint32) (key_table_value(diff->landmarks, landmark) - 1));
	return true;
}

DiffResult
diff_stream_resolve(Diff *diff, RecordKey key, uint64 hash, uint32 *entry)
{
	if (!jump(diff, key))
		return DIFF_UNDECIDED;
	diff->misses = 0;
	return diff_row_slowly(diff, key, hash, entry) == DIFF_UNCHANGED ?
		DIFF_UNCHANGED : DIFF_UNDECIDED;
}
