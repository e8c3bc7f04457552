/*
 * diff.c
 *		The snapshot in memory, and what is known of each key of this run.
 *
 * A model tends to return its rows in the order of last time, and the snapshot
 * has them in the order in which they were sent.  So the snapshot is one array,
 * and each row is expected to be its next entry: the comparison reads memory
 * front to back, like the scan that feeds it.
 *
 * "Next" is relative to one of a few cursors, since the order is often that of
 * last time in pieces: rows that were updated are in later segments, a parallel
 * scan mixes the streams of its workers.  Where all cursors fail, an index is
 * built, once: open addressing, four bytes a slot.  What it finds becomes a
 * cursor, so that the rows behind it are expected again.
 *
 * Where two entries have one key, the later counts, and the earlier is dead: it
 * looks like a tombstone and is in no index.
 */
#include "postgres.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "miscadmin.h"
#include "utils/memutils.h"

#include "plan/diff.h"
#include "store/snapshot.h"

/* Room for this many entries at first. */
#define FIRST_CAPACITY 4096

/* An index is at most three quarters full. */
#define FIRST_SLOTS 8192

/* Entries and slots are numbered in 32 bits, with one number to spare. */
#define MAX_ENTRIES ((uint32) 3000000000U)

/* Interrupts are served each time after so many entries. */
#define INTERRUPT_INTERVAL 65536

Diff *
diff_create(int key_width)
{
	Diff	   *diff = palloc0(sizeof(Diff));

	diff->key_width = key_width;
	diff->context = CurrentMemoryContext;
	return diff;
}

/* Counts what is in use; what is only reserved behind it takes no memory. */
static void
account_memory(Diff *diff)
{
	Size		now = (Size) diff->count * diff_stride(diff->key_width) +
	diff->count / 4 + diff->segment_limit * sizeof(SegmentStart);

	if (diff->slots != NULL)
		now += ((Size) diff->slot_mask + 1) * sizeof(uint32);
	diff->peak_memory = Max(diff->peak_memory, (int64) now);
}

/*
 * Large arrays that are read here and there cost a miss of the address
 * translation for each read unless they are in huge pages.  Only a hint.
 */
static void
advise_huge_pages(void *memory, Size size)
{
#if defined(__linux__) && defined(MADV_HUGEPAGE)
	uintptr_t	page = 4096;
	uintptr_t	start = TYPEALIGN(page, (uintptr_t) memory);
	uintptr_t	end = TYPEALIGN_DOWN(page, (uintptr_t) memory + size);

	if (end > start)
		(void) madvise((void *) start, end - start, MADV_HUGEPAGE);
#endif
}

/*
 * Grows an array beyond palloc's limit: a snapshot of 100 million records is a
 * few GB, and diff_mem is what bounds it.  The server's allocator hands such
 * sizes to realloc(), which moves pages, not bytes.
 */
static void *
grow_array(Diff *diff, void *array, Size old_size, Size size)
{
	if (array == NULL)
		array = MemoryContextAllocHuge(diff->context, size);
	else
		array = repalloc_huge(array, size);
	advise_huge_pages((char *) array + old_size, size - old_size);
	return array;
}

static void
grow_entries(Diff *diff, uint32 needed)
{
	Size		stride = diff_stride(diff->key_width);
	uint32		old_capacity = diff->capacity;
	uint64		capacity = Max(FIRST_CAPACITY, old_capacity);

	if (needed > MAX_ENTRIES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many records in one sync"),
				 errdetail("At most %u are possible.", MAX_ENTRIES)));
	while (capacity < needed)
		capacity += capacity / 2;
	capacity = Min(TYPEALIGN(4, capacity), MAX_ENTRIES);

	diff->entries = grow_array(diff, diff->entries, old_capacity * stride,
							   capacity * stride);
	diff->states = grow_array(diff, diff->states, old_capacity / 4, capacity / 4);
	memset(diff->states + old_capacity / 4, 0, (capacity - old_capacity) / 4);
	diff->capacity = (uint32) capacity;
	account_memory(diff);
}

static inline uint32
append_entry(Diff *diff, RecordKey key, uint64 hash, const int width)
{
	uint32		entry = diff->count;

	if (unlikely(entry == diff->capacity))
		grow_entries(diff, entry + 1);
	memcpy(diff->entries + entry * diff_stride(width), &key, width);
	diff_set_hash(diff, entry, width, hash);
	diff->count++;
	return entry;
}

/* --- the index --- */

static inline uint32
slot_of(const Diff *diff, RecordKey key, const int width)
{
	uint64		mixed = key.low;

	if (width == KEY_WIDTH_WIDE)
		mixed ^= key.high * UINT64CONST(0xff51afd7ed558ccd);
	mixed ^= mixed >> 32;
	mixed *= UINT64CONST(0x9e3779b97f4a7c15);
	return (uint32) (mixed >> diff->slot_shift);
}

static inline void
kill_entry(Diff *diff, uint32 entry, const int width)
{
	if (diff_hash(diff, entry, width) == ROW_HASH_DELETED)
		return;
	diff_set_hash(diff, entry, width, ROW_HASH_DELETED);
	diff->live_count--;
}

/*
 * Puts an entry into the index.  Of two entries of one key the later one stays;
 * what has been seen of either has been seen of the key.
 */
static inline void
index_entry(Diff *diff, uint32 entry, const int width)
{
	RecordKey	key = diff_key(diff, entry, width);
	uint32		slot = slot_of(diff, key, width);

	while (diff->slots[slot] != 0)
	{
		uint32		other = diff->slots[slot] - 1;

		if (diff_key_is(diff, other, key, width))
		{
			uint32		alive = Max(entry, other);
			EntryState	state = diff_state(diff, Min(entry, other));

			if (diff_state(diff, alive) == ENTRY_UNSEEN)
				diff_set_state(diff, alive, state);
			kill_entry(diff, Min(entry, other), width);
			diff->slots[slot] = alive + 1;
			return;
		}
		slot = (slot + 1) & diff->slot_mask;
	}
	diff->slots[slot] = entry + 1;
	diff->slots_used++;
}

static void
free_index(Diff *diff)
{
	if (diff->slots != NULL)
		pfree(diff->slots);
	diff->slots = NULL;
}

static void
allocate_slots(Diff *diff, uint64 entries)
{
	uint64		slots = FIRST_SLOTS;
	int			bits = 13;

	while (slots / 4 * 3 < entries)
	{
		slots *= 2;
		bits++;
	}
	free_index(diff);
	diff->slots = MemoryContextAllocHuge(diff->context, slots * sizeof(uint32));
	advise_huge_pages(diff->slots, slots * sizeof(uint32));
	memset(diff->slots, 0, slots * sizeof(uint32));
	diff->slot_mask = (uint32) (slots - 1);
	diff->slot_shift = 64 - bits;
	diff->slots_used = 0;
	account_memory(diff);
}

static inline void
build_index(Diff *diff, uint32 room, const int width)
{
	allocate_slots(diff, (uint64) diff->count + room);
	for (uint32 entry = 0; entry < diff->count; entry++)
	{
		if (entry % INTERRUPT_INTERVAL == 0)
			CHECK_FOR_INTERRUPTS();
		if (diff_hash(diff, entry, width) != ROW_HASH_DELETED)
			index_entry(diff, entry, width);
	}
}

/* --- loading the snapshot --- */

static void
note_segment(Diff *diff, const Segment *segment)
{
	if (diff->segment_count == diff->segment_limit)
	{
		int			limit = Max(1024, diff->segment_limit * 2);

		diff->segments = grow_array(diff, diff->segments,
									diff->segment_limit * sizeof(SegmentStart),
									limit * sizeof(SegmentStart));
		diff->segment_limit = limit;
	}
	diff->segments[diff->segment_count].segment_id = segment->id;
	diff->segments[diff->segment_count].first = diff->count;
	diff->segments[diff->segment_count].supersedes = segment->supersedes;
	diff->segment_count++;
}

static inline void
append_segment(Diff *diff, const Segment *segment, bool forget_hashes, const int width)
{
	if (diff->capacity - diff->count < (uint32) segment->count)
		grow_entries(diff, diff->count + segment->count);

	for (int i = 0; i < segment->count; i++)
	{
		RecordKey	key = {0, 0};
		uint64		hash = segment->hashes[i];

		memcpy(&key, segment->keys + (Size) i * width, width);
		if (hash == ROW_HASH_DELETED || hash == ROW_HASH_MAYBE)
			diff->has_doubtful = true;
		else if (forget_hashes)
			hash = ROW_HASH_UNKNOWN;
		if (hash != ROW_HASH_DELETED)
			diff->live_count++;
		(void) append_entry(diff, key, hash, width);
	}
}

static inline uint32
segment_end(const Diff *diff, int segment)
{
	return segment + 1 < diff->segment_count ?
		diff->segments[segment + 1].first : diff->count;
}

static inline void
supersede_entry(Diff *diff, uint32 entry, const int width)
{
	RecordKey	key = diff_key(diff, entry, width);

	for (uint32 slot = slot_of(diff, key, width); diff->slots[slot] != 0;
		 slot = (slot + 1) & diff->slot_mask)
		if (diff_key_is(diff, diff->slots[slot] - 1, key, width))
		{
			kill_entry(diff, Min(entry, diff->slots[slot] - 1), width);
			return;
		}
}

/*
 * Makes dead what superseding segments have replaced.  Their entries, usually
 * few, go into an index; all others are looked up there.  An entry that comes
 * after its tombstone is not superseded by it.
 */
static inline void
apply_superseding(Diff *diff, const int width)
{
	uint32		superseding_count = 0;

	for (int i = 0; i < diff->segment_count; i++)
		if (diff->segments[i].supersedes)
			superseding_count += segment_end(diff, i) - diff->segments[i].first;
	allocate_slots(diff, superseding_count);

	for (int pass = 1; pass >= 0; pass--)
		for (int i = 0; i < diff->segment_count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (diff->segments[i].supersedes != (pass == 1))
				continue;
			for (uint32 entry = diff->segments[i].first; entry < segment_end(diff, i); entry++)
			{
				if (pass == 1)
					index_entry(diff, entry, width);
				else
					supersede_entry(diff, entry, width);
			}
		}
	free_index(diff);
}

/* Rows that were sent again are a stream of their own in the model's order. */
static void
place_cursors(Diff *diff)
{
	int			cursor = 1;

	for (int i = 1; i < diff->segment_count && cursor < DIFF_CURSORS; i++)
		if (diff->segments[i].supersedes && !diff->segments[i - 1].supersedes)
			diff->cursors[cursor++] = diff->segments[i].first;
}

void
diff_load(Diff *diff, int64 sync_id, bool forget_hashes)
{
	SegmentScan *scan = segment_scan_begin(sync_id);
	Segment    *segment;
	bool		superseding = false;

	while ((segment = segment_scan_next(scan)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (segment->key_width != diff->key_width)
			elog(ERROR, "segment " INT64_FORMAT " has keys of %d bytes, not %d",
				 segment->id, segment->key_width, diff->key_width);
		note_segment(diff, segment);
		superseding |= segment->supersedes;
		if (diff->key_width == KEY_WIDTH_NARROW)
			append_segment(diff, segment, forget_hashes, KEY_WIDTH_NARROW);
		else
			append_segment(diff, segment, forget_hashes, KEY_WIDTH_WIDE);
	}
	segment_scan_end(scan);

	diff->snapshot_count = diff->count;
	if (!superseding)
		return;
	if (diff->key_width == KEY_WIDTH_NARROW)
		apply_superseding(diff, KEY_WIDTH_NARROW);
	else
		apply_superseding(diff, KEY_WIDTH_WIDE);
	place_cursors(diff);
}

void
diff_locate(const Diff *diff, uint32 entry, int64 *segment_id, int *index)
{
	int			low = 0;
	int			high = diff->segment_count - 1;

	while (low < high)
	{
		int			middle = low + (high - low + 1) / 2;

		if (diff->segments[middle].first <= entry)
			low = middle;
		else
			high = middle - 1;
	}
	*segment_id = diff->segments[low].segment_id;
	*index = (int) (entry - diff->segments[low].first);
}

/*
 * The whole index tells which entries have a later one of the same key, in case
 * a segment should have claimed wrongly that it supersedes nothing: a record
 * that is there must never be taken for one to delete.
 */
void
diff_complete(Diff *diff)
{
	if (diff->slots == NULL && diff->live_count > 0)
	{
		if (diff->key_width == KEY_WIDTH_NARROW)
			build_index(diff, 0, KEY_WIDTH_NARROW);
		else
			build_index(diff, 0, KEY_WIDTH_WIDE);
	}
}

int64
diff_peak_memory(Diff *diff)
{
	account_memory(diff);
	return diff->peak_memory;
}

/* --- finding a row's entry --- */

/* Moves a cursor past entries that are dead; false when it is at the end. */
static inline bool
skip_dead(Diff *diff, uint32 *cursor, const int width)
{
	while (*cursor < diff->snapshot_count &&
		   diff_hash(diff, *cursor, width) == ROW_HASH_DELETED)
		(*cursor)++;
	return *cursor < diff->snapshot_count;
}

static inline bool
use_cursor(Diff *diff, int which, uint32 entry)
{
	diff->cursors[which] = entry + 1;
	diff->cursor_uses[which] = ++diff->clock;
	diff->active_cursor = which;
	return true;
}

/*
 * Asks all cursors, and the entry after that of the active one, in case a row
 * has been deleted.
 */
static inline bool
try_cursors(Diff *diff, RecordKey key, const int width, uint32 *entry)
{
	uint32		ahead = diff->cursors[diff->active_cursor] + 1;

	for (int i = 0; i < DIFF_CURSORS; i++)
	{
		int			which = (diff->active_cursor + i) % DIFF_CURSORS;

		if (!skip_dead(diff, &diff->cursors[which], width))
			continue;
		*entry = diff->cursors[which];
		if (diff_key_is(diff, *entry, key, width))
			return use_cursor(diff, which, *entry);
	}

	if (!skip_dead(diff, &ahead, width) || !diff_key_is(diff, ahead, key, width))
		return false;
	*entry = ahead;
	return use_cursor(diff, diff->active_cursor, ahead);
}

/* Rows behind this one are expected next: instead of the stalest cursor. */
static void
add_cursor(Diff *diff, uint32 entry)
{
	int			stalest = 0;

	for (int i = 1; i < DIFF_CURSORS; i++)
		if (diff->cursor_uses[i] < diff->cursor_uses[stalest])
			stalest = i;
	(void) use_cursor(diff, stalest, entry);
}

static inline uint32
find(Diff *diff, RecordKey key, const int width, bool *added)
{
	uint32		slot;
	uint32		entry;

	*added = false;
	if (try_cursors(diff, key, width, &entry))
		return entry;

	if (diff->slots == NULL ||
		diff->slots_used >= (diff->slot_mask / 4 + 1) * 3 - 1)
		build_index(diff, diff->slots_used / 2, width);
	diff->index_lookups++;

	slot = slot_of(diff, key, width);
	while (diff->slots[slot] != 0)
	{
		entry = diff->slots[slot] - 1;
		if (diff_key_is(diff, entry, key, width))
		{
			if (entry < diff->snapshot_count)
				add_cursor(diff, entry);
			return entry;
		}
		slot = (slot + 1) & diff->slot_mask;
	}

	entry = append_entry(diff, key, ROW_HASH_MAYBE, width);
	diff->slots[slot] = entry + 1;
	diff->slots_used++;
	*added = true;
	return entry;
}

uint32
diff_find_narrow(Diff *diff, RecordKey key, bool *added)
{
	return find(diff, key, KEY_WIDTH_NARROW, added);
}

uint32
diff_find_wide(Diff *diff, RecordKey key, bool *added)
{
	return find(diff, key, KEY_WIDTH_WIDE, added);
}
