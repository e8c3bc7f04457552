/*
 * diff_whole.c
 *		A comparison with the whole snapshot in memory.
 *
 * The snapshot is one array, new keys are added behind it.  Where two entries
 * have one key, the later counts, and the earlier is dead: it looks like a
 * tombstone and is in no index.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "plan/diff.h"

/* Of the memory, states take no more than such a part. */
#define STATES_PART 64

/* If more of the entries than such a part have been skipped, there is no order. */
#define SKIPPED_PART 16

/* States for as many entries as the table has room for. */
static void
grow_states(Diff *diff)
{
	uint32		count = TYPEALIGN(4, (uint64) diff->table->capacity);

	if (diff->states == NULL)
		diff->states = MemoryContextAllocHuge(diff->context, Max(count / 4, 1));
	else
		diff->states = repalloc_huge(diff->states, count / 4);
	memset(diff->states + diff->state_count / 4, 0, (count - diff->state_count) / 4);
	diff->state_count = count;
}

/* Cursors point into the table, which may have moved. */
static void
move_cursors(Diff *diff)
{
	for (int i = 0; i < DIFF_CURSORS; i++)
	{
		DiffCursor *cursor = &diff->cursors[i];

		if (cursor->next == NULL)
			continue;
		cursor->begin = key_table_entry(diff->table, 0);
		cursor->next = key_table_entry(diff->table, cursor->entry);
		cursor->end = key_table_entry(diff->table, diff->map->entry_count);
	}
}

/* --- loading --- */

static void
kill_entry(Diff *diff, uint32 entry)
{
	key_table_set_value(diff->table, entry, ROW_HASH_DELETED);
	diff->live_count--;
}

/*
 * Makes dead what superseding segments have replaced.  Their entries, usually
 * few, go into an index; all others are looked up there.  An entry that comes
 * after its tombstone is not superseded by it.
 */
static void
apply_superseding(Diff *diff)
{
	const SnapshotMap *map = diff->map;
	KeyTable   *table = diff->table;
	uint64		superseding = 0;

	for (int i = 0; i < map->segment_count; i++)
		if (map->segments[i].supersedes)
			superseding += snapshot_map_end(map, i) - map->segments[i].first;

	key_table_begin_index(table, superseding);
	for (int i = 0; i < map->segment_count; i++)
		if (map->segments[i].supersedes)
			key_table_index_range(table, map->segments[i].first,
								  snapshot_map_end(map, i));

	for (uint32 entry = 0; entry < table->count; entry++)
	{
		uint32		last;

		if (entry % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
		if (key_table_value(table, entry) == ROW_HASH_DELETED)
			continue;
		last = key_table_find(table, key_table_key(table, entry));
		if (last != KEY_TABLE_NONE && last > entry)
			kill_entry(diff, entry);
	}
	key_table_drop_index(table);
}

/* Rows that were sent again are a stream of their own in the model's order. */
static void
place_cursors(Diff *diff)
{
	const SnapshotMap *map = diff->map;
	int			cursor = DIFF_CURSORS - 1;

	for (int i = map->segment_count - 1; i > 0 && cursor > 0; i--)
		if (map->segments[i].supersedes && !map->segments[i - 1].supersedes)
			diff_place_cursor(diff, cursor--, map->segments[i].first);
	diff_place_cursor(diff, 0, 0);
}

void
diff_whole_load(Diff *diff)
{
	SegmentScan *scan = segment_scan_begin(diff->map->sync_id, PG_INT64_MIN);
	KeyTable   *table = key_table_create(diff->key_width,
										 diff->memory_limit - diff->memory_limit / STATES_PART);
	Segment    *segment;

	diff->table = table;
	key_table_reserve(table, diff->map->entry_count);
	grow_states(diff);
	while ((segment = segment_scan_next(scan)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		diff_pack_segment(diff, segment, table->count, key_table_entry(table, table->count));
		for (int i = 0; i < segment->count; i++)
			diff->live_count += segment->hashes[i] != ROW_HASH_DELETED;
		table->count += segment->count;
	}
	segment_scan_end(scan);

	if (diff->map->superseding)
		apply_superseding(diff);
	if (table->count > 0)
		place_cursors(diff);
}

/* --- rows --- */

void
diff_whole_note_skipped(Diff *diff, uint32 entry)
{
	KeyTable   *table = diff->table;

	if (!table->index_whole && table->slots_used <= diff->map->entry_count / SKIPPED_PART &&
		key_table_value(table, entry) != ROW_HASH_DELETED)
		key_table_index_entry(table, entry);
}

bool
diff_whole_find_skipped(const Diff *diff, RecordKey key, uint32 *entry)
{
	const KeyTable *table = diff->table;

	if (table->slots == NULL || table->index_whole)
		return false;
	*entry = key_table_find(table, key);
	return *entry != KEY_TABLE_NONE;
}

DiffResult
diff_whole_judge(Diff *diff, uint32 entry, uint64 hash)
{
	uint64		known_hash = key_table_value(diff->table, entry);

	if (unlikely(diff_state(diff, entry) != ENTRY_UNSEEN))
		return DIFF_REPEATED;
	if (known_hash == hash)
	{
		diff_set_state(diff, entry, ENTRY_UNCHANGED);
		return DIFF_UNCHANGED;
	}
	return diff_hash_is_known(known_hash) ? DIFF_CHANGED : DIFF_NEW;
}

DiffResult
diff_whole_resolve(Diff *diff, RecordKey key, uint64 hash, uint32 *entry)
{
	KeyTable   *table = diff->table;
	const char *entries = table->entries;
	bool		added;

	*entry = key_table_find_or_add(table, key, ROW_HASH_MAYBE, &added);
	if (*entry == KEY_TABLE_NONE)
		return DIFF_UNDECIDED;
	if (added)
	{
		if (table->capacity > diff->state_count)
			grow_states(diff);
		if (table->entries != entries)
			move_cursors(diff);
		return DIFF_NEW;
	}
	if (*entry + 1 < diff->map->entry_count)
		diff_expect(diff, *entry + 1);
	return diff_whole_judge(diff, *entry, hash);
}

/* --- after the query --- */

void
diff_whole_complete(Diff *diff)
{
	if (!diff->table->index_whole)
		key_table_index_all(diff->table);
}

bool
diff_whole_is_rejected(const Diff *diff, RecordKey key)
{
	uint32		entry = key_table_find(diff->table, key);

	return entry != KEY_TABLE_NONE && diff_state(diff, entry) == ENTRY_REJECTED;
}

/*
 * In case a segment should have claimed wrongly that it supersedes nothing: a
 * record that is there must never be taken for one to delete.
 */
bool
diff_whole_is_superseded(const Diff *diff, uint32 entry)
{
	return key_table_find(diff->table, key_table_key(diff->table, entry)) != entry;
}
