/*
 * diff.h
 *		The snapshot in memory, and what is known of each key of this run.
 *
 * Only the parts that every row goes through are here, inline, so that key
 * width is a constant in them.
 */
#ifndef SIGNALSMITH_DIFF_H
#define SIGNALSMITH_DIFF_H

#include "postgres.h"

#include "base/types.h"

/*
 * What this run has made of an entry so far.  "Changed" are the rows that were
 * new or different, be they planned or left alone by the mode; "rejected" those
 * each of whose rows is in row_errors.
 */
typedef enum EntryState
{
	ENTRY_UNSEEN,
	ENTRY_UNCHANGED,
	ENTRY_CHANGED,
	ENTRY_REJECTED
} EntryState;

/* What a row is, compared with the snapshot. */
typedef enum DiffResult
{
	DIFF_UNCHANGED,
	DIFF_CHANGED,				/* known, and different */
	DIFF_NEW,					/* not at the destination, as far as we know */
	DIFF_REPEATED				/* its key was there before in this run */
} DiffResult;

/* Places where the model may go on; see diff.c. */
#define DIFF_CURSORS 8

typedef struct SegmentStart
{
	int64		segment_id;
	uint32		first;			/* entry */
	bool		supersedes;
} SegmentStart;

typedef struct Diff
{
	int			key_width;
	uint32		count;			/* entries in use */
	uint32		snapshot_count; /* those before are of the snapshot */
	uint32		capacity;
	char	   *entries;		/* key and hash of each */
	uint8	   *states;			/* two bits of each */

	int			active_cursor;
	uint32		cursors[DIFF_CURSORS];
	uint32		cursor_uses[DIFF_CURSORS];
	uint32		clock;

	uint32	   *slots;			/* the index: entry + 1, 0 is free; or NULL */
	uint32		slot_mask;
	int			slot_shift;
	uint32		slots_used;

	int64		live_count;		/* entries of the snapshot that are not deleted */
	bool		has_doubtful;	/* tombstones, or creates of unknown outcome */
	int			segment_count;
	int			segment_limit;
	SegmentStart *segments;

	MemoryContext context;
	int64		index_lookups;	/* for those who tune it */
	int64		peak_memory;
} Diff;

/* Lives in CurrentMemoryContext. */
extern Diff *diff_create(int key_width);

/*
 * Loads a sync's snapshot.  With forget_hashes, no row will equal what was
 * sent.
 */
extern void diff_load(Diff *diff, int64 sync_id, bool forget_hashes);

/*
 * Prepares for looking at unseen entries, once all rows are in: from then on an
 * entry that a later one supersedes can be told.
 */
extern void diff_complete(Diff *diff);

/* The most bytes that it has had in use. */
extern int64 diff_peak_memory(Diff *diff);

/* Which entry of which segment an entry of the snapshot was loaded from. */
extern void diff_locate(const Diff *diff, uint32 entry, int64 *segment_id, int *index);

/* The slow way to the entry of a key, which it adds when there is none. */
extern uint32 diff_find_narrow(Diff *diff, RecordKey key, bool *added);
extern uint32 diff_find_wide(Diff *diff, RecordKey key, bool *added);

static inline Size
diff_stride(int width)
{
	return width + sizeof(uint64);
}

static inline RecordKey
diff_key(const Diff *diff, uint32 entry, const int width)
{
	RecordKey	key = {0, 0};

	memcpy(&key, diff->entries + entry * diff_stride(width), width);
	return key;
}

static inline uint64
diff_hash(const Diff *diff, uint32 entry, const int width)
{
	uint64		hash;

	memcpy(&hash, diff->entries + entry * diff_stride(width) + width, sizeof(hash));
	return hash;
}

static inline void
diff_set_hash(Diff *diff, uint32 entry, const int width, uint64 hash)
{
	memcpy(diff->entries + entry * diff_stride(width) + width, &hash, sizeof(hash));
}

static inline bool
diff_key_is(const Diff *diff, uint32 entry, RecordKey key, const int width)
{
	RecordKey	other = diff_key(diff, entry, width);

	return other.low == key.low && (width == KEY_WIDTH_NARROW || other.high == key.high);
}

static inline EntryState
diff_state(const Diff *diff, uint32 entry)
{
	return (EntryState) ((diff->states[entry / 4] >> (entry % 4 * 2)) & 3);
}

static inline void
diff_set_state(Diff *diff, uint32 entry, EntryState state)
{
	uint8	   *byte = &diff->states[entry / 4];
	int			shift = entry % 4 * 2;

	*byte = (*byte & ~(3 << shift)) | (state << shift);
}

/* Does the destination have a record for it, whatever its content? */
static inline bool
diff_hash_is_known(uint64 hash)
{
	return hash != ROW_HASH_DELETED && hash != ROW_HASH_MAYBE;
}

/*
 * Compares a row.  *entry becomes the entry of its key; the state of an
 * unchanged one is set, that of others is for the caller to set.
 */
static inline DiffResult
diff_row(Diff *diff, RecordKey key, uint64 hash, const int width, uint32 *entry)
{
	uint32		found = diff->cursors[diff->active_cursor];
	uint64		known_hash;

	if (likely(found < diff->snapshot_count && diff_key_is(diff, found, key, width)) &&
		likely(diff_hash(diff, found, width) != ROW_HASH_DELETED))
		diff->cursors[diff->active_cursor] = found + 1;
	else
	{
		bool		added;

		found = width == KEY_WIDTH_NARROW ?
			diff_find_narrow(diff, key, &added) : diff_find_wide(diff, key, &added);
		if (added)
		{
			*entry = found;
			return DIFF_NEW;
		}
	}

	*entry = found;
	if (unlikely(diff_state(diff, found) != ENTRY_UNSEEN))
		return DIFF_REPEATED;
	known_hash = diff_hash(diff, found, width);
	if (likely(known_hash == hash))
	{
		diff_set_state(diff, found, ENTRY_UNCHANGED);
		return DIFF_UNCHANGED;
	}
	return diff_hash_is_known(known_hash) ? DIFF_CHANGED : DIFF_NEW;
}

#endif							/* SIGNALSMITH_DIFF_H */
