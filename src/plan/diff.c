/*
 * diff.c
 *		Rows against a snapshot: what is expected next, and what has been seen.
 *
 * A model tends to return its rows in the order of last time, and the snapshot
 * has them in the order in which they were sent.  So each row is expected to be
 * the snapshot's next entry: the comparison reads memory front to back, like
 * the scan that feeds it.
 *
 * "Next" is relative to one of a few cursors, since the order is often that of
 * last time in pieces: rows that were updated are in later segments, a parallel
 * scan mixes the streams of its workers.  What to do when no cursor expects a
 * row is where the two kinds of comparison part:
 *
 * With the whole snapshot in memory (diff_whole.c), an index over it finds the
 * entry of any row, and all that can be said of a row is said at once.  Building
 * it costs as much as some of the query, so rows that merely come later than
 * expected, as updated ones do in a heap, are found by an index over those few
 * entries that were skipped.
 *
 * A snapshot that does not fit is read beside the rows (diff_stream.c): only
 * rows that equal the entry expected are settled, and two bits an entry remember
 * that.  Everything else is set aside, and joined with the snapshot when the
 * query has ended (undecided.c).
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "plan/diff.h"

/* How far a cursor looks ahead, in case rows have been deleted. */
#define LOOK_AHEAD 8

/*
 * How far around a cursor a key is searched for, entry by entry, before an index
 * is built or rows are set aside: batches are acknowledged in nearly the order
 * of the model.  In all, a few times the snapshot may be searched.
 */
#define NEIGHBOURHOOD 8192
#define SEARCH_CREDIT 4

/*
 * After so many rows in a row that no cursor expected, there is no order, and
 * most rows are not worth asking all of them.
 */
#define MISSES_TOLERATED 256
#define MISSES_SKIPPED 16

static bool
fits_in_memory(const SnapshotMap *map, Size memory_limit)
{
	return key_table_memory(map->entry_count, map->key_width) + map->entry_count / 4 <=
		memory_limit;
}

Diff *
diff_create(const SnapshotMap *map, Size memory_limit, bool forget_hashes)
{
	Diff	   *diff = palloc0(sizeof(Diff));

	diff->map = map;
	diff->key_width = map->key_width;
	diff->memory_limit = memory_limit;
	diff->forget_hashes = forget_hashes;
	diff->context = CurrentMemoryContext;
	diff->search_credit = SEARCH_CREDIT * (int64) map->entry_count;
	diff->streaming = !fits_in_memory(map, memory_limit);
	if (diff->streaming)
		diff_stream_begin(diff);
	else
		diff_whole_load(diff);
	return diff;
}

static pg_attribute_always_inline void
pack_segment(Diff *diff, const Segment *segment, uint32 first, char *to, const int width)
{
	for (int i = 0; i < segment->count; i++)
	{
		RecordKey	key = {0, 0};
		uint64		hash = segment->hashes[i];

		memcpy(&key, segment->keys + (Size) i * width, width);
		if (hash == ROW_HASH_DELETED || hash == ROW_HASH_MAYBE)
			diff->has_doubtful = true;
		else if (diff->streaming && diff_state(diff, first + i) == ENTRY_DEAD)
			hash = ROW_HASH_DELETED;
		else if (diff->forget_hashes)
			hash = ROW_HASH_UNKNOWN;
		pack_entry(to + i * key_table_stride(width), key, hash, width);
	}
}

void
diff_pack_segment(Diff *diff, const Segment *segment, uint32 first, char *to)
{
	if (diff->key_width == KEY_WIDTH_NARROW)
		pack_segment(diff, segment, first, to, KEY_WIDTH_NARROW);
	else
		pack_segment(diff, segment, first, to, KEY_WIDTH_WIDE);
}

/* --- cursors --- */

void
diff_place_cursor(Diff *diff, int which, uint32 entry)
{
	DiffCursor *cursor = &diff->cursors[which];

	if (diff->streaming)
	{
		diff_stream_load(diff, cursor, snapshot_map_segment(diff->map, entry));
		cursor->next += (entry - cursor->entry) * key_table_stride(diff->key_width);
	}
	else
	{
		cursor->begin = key_table_entry(diff->table, 0);
		cursor->next = key_table_entry(diff->table, entry);
		cursor->end = key_table_entry(diff->table, diff->map->entry_count);
	}
	cursor->entry = entry;
	cursor->last_use = ++diff->clock;
	diff->active_cursor = which;
}

void
diff_expect(Diff *diff, uint32 entry)
{
	int			stalest = 0;

	for (int i = 1; i < DIFF_CURSORS; i++)
		if (diff->cursors[i].last_use < diff->cursors[stalest].last_use)
			stalest = i;
	diff_place_cursor(diff, stalest, entry);
}

static inline void
advance(DiffCursor *cursor, Size stride)
{
	cursor->next += stride;
	cursor->entry++;
}

/* Moves a cursor to the next entry that is alive; false when there is none. */
static pg_attribute_always_inline bool
skip_dead(Diff *diff, DiffCursor *cursor, const int width)
{
	for (;;)
	{
		while (cursor->next < cursor->end &&
			   packed_entry_value(cursor->next, width) == ROW_HASH_DELETED)
			advance(cursor, key_table_stride(width));
		if (cursor->next < cursor->end)
			return true;
		if (cursor->scan == NULL || cursor->segment + 1 == diff->map->segment_count)
			return false;
		diff_stream_load(diff, cursor, cursor->segment + 1);
	}
}

/* Moves a cursor to a key that is not far ahead. */
static pg_attribute_always_inline bool
look_ahead(Diff *diff, DiffCursor *cursor, RecordKey key, const int width)
{
	const char *entry = cursor->next;

	for (int i = 0; i < LOOK_AHEAD && entry < cursor->end; i++)
	{
		if (packed_entry_has_key(entry, key, width) &&
			packed_entry_value(entry, width) != ROW_HASH_DELETED)
		{
			for (int skipped = 0; !diff->streaming && skipped < i; skipped++)
				diff_whole_note_skipped(diff, cursor->entry + skipped);
			cursor->next = entry;
			cursor->entry += i;
			return true;
		}
		entry += key_table_stride(width);
	}
	return false;
}

/* Places a cursor at a key that is somewhere around the active one. */
static pg_attribute_always_inline bool
search_neighbourhood(Diff *diff, RecordKey key, const int width)
{
	const DiffCursor *active = &diff->cursors[diff->active_cursor];
	const char *begin = active->begin;
	const char *end = active->end;
	int64		reach = NEIGHBOURHOOD * key_table_stride(width);

	if (active->next - begin > reach)
		begin = active->next - reach;
	if (end - active->next > reach)
		end = active->next + reach;
	diff->search_credit -= (end - begin) / key_table_stride(width);
	for (const char *entry = begin; entry < end; entry += key_table_stride(width))
	{
		if (packed_entry_has_key(entry, key, width) &&
			packed_entry_value(entry, width) != ROW_HASH_DELETED)
		{
			diff_expect(diff, active->entry +
						(entry - active->next) / (int64) key_table_stride(width));
			return true;
		}
	}
	return false;
}

/*
 * The cursor that expects a key, now or soon, if one does; it is then the active
 * one.
 */
static pg_attribute_always_inline DiffCursor *
find_cursor(Diff *diff, RecordKey key, const int width)
{
	DiffCursor *active = &diff->cursors[diff->active_cursor];

	for (int i = 0; i < DIFF_CURSORS; i++)
	{
		int			which = (diff->active_cursor + i) % DIFF_CURSORS;
		DiffCursor *cursor = &diff->cursors[which];

		if (skip_dead(diff, cursor, width) &&
			packed_entry_has_key(cursor->next, key, width))
		{
			cursor->last_use = ++diff->clock;
			diff->active_cursor = which;
			return cursor;
		}
	}
	return look_ahead(diff, active, key, width) ? active : NULL;
}

/* The same, when none does and the key has not been skipped. */
static pg_attribute_always_inline DiffCursor *
move_cursor_near(Diff *diff, RecordKey key, const int width)
{
	if (diff->search_credit > 0 && (diff->streaming || !diff->table->index_whole) &&
		search_neighbourhood(diff, key, width))
		return &diff->cursors[diff->active_cursor];
	return NULL;
}

DiffResult
diff_row_slowly(Diff *diff, RecordKey key, uint64 hash, uint32 *entry)
{
	DiffCursor *cursor;
	uint64		known_hash;

	if (diff->misses > MISSES_TOLERATED && ++diff->misses % MISSES_SKIPPED != 0)
		return DIFF_UNEXPECTED;

	cursor = diff->key_width == KEY_WIDTH_NARROW ?
		find_cursor(diff, key, KEY_WIDTH_NARROW) : find_cursor(diff, key, KEY_WIDTH_WIDE);
	if (cursor == NULL && !diff->streaming && diff_whole_find_skipped(diff, key, entry))
	{
		diff->misses = 0;
		return diff_whole_judge(diff, *entry, hash);
	}
	if (cursor == NULL)
		cursor = diff->key_width == KEY_WIDTH_NARROW ?
			move_cursor_near(diff, key, KEY_WIDTH_NARROW) :
			move_cursor_near(diff, key, KEY_WIDTH_WIDE);
	if (cursor == NULL)
	{
		diff->misses++;
		return DIFF_UNEXPECTED;
	}
	diff->misses = 0;

	*entry = cursor->entry;
	known_hash = packed_entry_value(cursor->next, diff->key_width);
	advance(cursor, key_table_stride(diff->key_width));
	if (!diff->streaming)
		return diff_whole_judge(diff, *entry, hash);
	if (known_hash != hash || diff_state(diff, *entry) != ENTRY_UNSEEN)
		return DIFF_UNEXPECTED;
	diff_set_state(diff, *entry, ENTRY_SEEN);
	return DIFF_UNCHANGED;
}

DiffResult
diff_resolve(Diff *diff, RecordKey key, uint64 hash, uint32 *entry)
{
	return diff->streaming ? diff_stream_resolve(diff, key, hash, entry) :
		diff_whole_resolve(diff, key, hash, entry);
}

/* --- memory --- */

Size
diff_kept_memory(const Diff *diff)
{
	return diff->state_count / 4 + diff->map->segment_limit * sizeof(SegmentStart);
}

static void
note_peak_memory(Diff *diff)
{
	Size		bytes = diff_kept_memory(diff);

	if (diff->table != NULL)
		bytes += diff->table->peak;
	if (diff->landmarks != NULL)
		bytes += diff->landmarks->peak;
	for (int i = 0; i < DIFF_CURSORS; i++)
		bytes += diff->cursors[i].block_size;
	diff->peak_memory = Max(diff->peak_memory, bytes);
}

void
diff_release(Diff *diff)
{
	note_peak_memory(diff);
	for (int i = 0; i < DIFF_CURSORS; i++)
	{
		DiffCursor *cursor = &diff->cursors[i];

		if (cursor->scan != NULL)
			segment_scan_end(cursor->scan);
		if (cursor->block != NULL)
			pfree(cursor->block);
		memset(cursor, 0, sizeof(DiffCursor));
	}
	if (diff->table != NULL)
		key_table_free(diff->table);
	if (diff->landmarks != NULL)
		key_table_free(diff->landmarks);
	diff->table = NULL;
	diff->landmarks = NULL;
}
