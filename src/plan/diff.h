/*
 * diff.h
 *		Rows against a snapshot: what is expected next, and what has been seen.
 *
 * Only the part that every row goes through is here, inline, so that key width
 * is a constant in it.  diff.c has the rest of what both kinds of comparison
 * share, diff_whole.c the one with the snapshot in memory, diff_stream.c the
 * one that reads it beside the rows.
 */
#ifndef SIGNALSMITH_DIFF_H
#define SIGNALSMITH_DIFF_H

#include "postgres.h"

#include "plan/key_table.h"
#include "plan/snapshot_map.h"
#include "store/snapshot.h"

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

/* While streaming, entries are unseen, unchanged (or seen) or dead. */
#define ENTRY_SEEN ENTRY_UNCHANGED
#define ENTRY_DEAD ENTRY_CHANGED

/* What a row is, compared with the snapshot. */
typedef enum DiffResult
{
	DIFF_UNCHANGED,
	DIFF_CHANGED,				/* known, and different */
	DIFF_NEW,					/* not at the destination, as far as we know */
	DIFF_REPEATED,				/* its key was there before in this run */
	DIFF_UNEXPECTED,			/* diff_resolve says what it is */
	DIFF_UNDECIDED				/* only all rows together can tell */
} DiffResult;

/* Places where the model may go on; see diff.c. */
#define DIFF_CURSORS 8

typedef struct DiffCursor
{
	const char *next;			/* the entry that is expected here, packed */
	const char *begin;			/* what is in memory around it */
	const char *end;
	uint32		entry;			/* its number */
	uint32		last_use;

	/* while streaming: a segment's entries */
	int			segment;		/* index in the map */
	SegmentScan *scan;
	char	   *block;
	Size		block_size;
} DiffCursor;

typedef struct Diff
{
	const SnapshotMap *map;
	int			key_width;
	bool		streaming;
	bool		forget_hashes;	/* no row equals what was sent */
	Size		memory_limit;

	uint8	   *states;			/* two bits of each entry */
	uint32		state_count;	/* that there is room for */

	int			active_cursor;
	DiffCursor	cursors[DIFF_CURSORS];
	uint32		clock;
	uint32		misses;			/* in a row */
	int64		search_credit;	/* entries that may still be searched */

	int64		live_count;		/* entries of the snapshot that are not dead */
	bool		has_doubtful;	/* tombstones, or creates of unknown outcome */

	KeyTable   *table;			/* the whole snapshot and the new keys */
	KeyTable   *landmarks;		/* while streaming: some keys, and where they are */
	int			jump_credit;

	MemoryContext context;
	Size		peak_memory;	/* the most bytes it has had in use, once released */
} Diff;

/* --- diff.c --- */

/*
 * Compares with the snapshot in memory if it fits into so many bytes, else
 * while reading it.  With forget_hashes, no row equals what was sent.  Lives in
 * CurrentMemoryContext.
 */
extern Diff *diff_create(const SnapshotMap *map, Size memory_limit, bool forget_hashes);

/* The slow way to a row's entry, when it is not the one expected. */
extern DiffResult diff_row_slowly(Diff *diff, RecordKey key, uint64 hash, uint32 *entry);

/*
 * What an unexpected row is.  *entry becomes the entry of its key, if that is
 * known by now; the state of an unchanged one is set, that of others is for the
 * caller to set.
 */
extern DiffResult diff_resolve(Diff *diff, RecordKey key, uint64 hash, uint32 *entry);

/* Puts a cursor at an entry of the snapshot; the stalest one, if not said. */
extern void diff_place_cursor(Diff *diff, int which, uint32 entry);
extern void diff_expect(Diff *diff, uint32 entry);

/*
 * Packs the entries of a segment, whose first one has that number: dead ones
 * and forgotten ones with hashes that no row has.
 */
extern void diff_pack_segment(Diff *diff, const Segment *segment, uint32 first, char *to);

/*
 * Frees everything but the map and the states, and notes peak_memory.  What is
 * kept has so many bytes.
 */
extern void diff_release(Diff *diff);
extern Size diff_kept_memory(const Diff *diff);

/* --- diff_whole.c --- */

extern void diff_whole_load(Diff *diff);
extern DiffResult diff_whole_resolve(Diff *diff, RecordKey key, uint64 hash, uint32 *entry);

/* What a row is whose entry is known. */
extern DiffResult diff_whole_judge(Diff *diff, uint32 entry, uint64 hash);

/*
 * Entries that were passed over on the way to the next expected row: their rows
 * tend to come later.
 */
extern void diff_whole_note_skipped(Diff *diff, uint32 entry);
extern bool diff_whole_find_skipped(const Diff *diff, RecordKey key, uint32 *entry);

/*
 * After the query: makes sure that the following two can answer.  Has each of
 * the rows with a key been rejected?  Is there a later entry with the key of
 * this one?
 */
extern void diff_whole_complete(Diff *diff);
extern bool diff_whole_is_rejected(const Diff *diff, RecordKey key);
extern bool diff_whole_is_superseded(const Diff *diff, uint32 entry);

/* --- diff_stream.c --- */

extern void diff_stream_begin(Diff *diff);

/* Loads a segment into a cursor, which then is at its first entry. */
extern void diff_stream_load(Diff *diff, DiffCursor *cursor, int segment);
extern DiffResult diff_stream_resolve(Diff *diff, RecordKey key, uint64 hash, uint32 *entry);

/* --- inline --- */

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

/* Compares a row with what is expected; see diff_resolve for *entry. */
static inline DiffResult
diff_row(Diff *diff, RecordKey key, uint64 hash, const int width, uint32 *entry)
{
	DiffCursor *cursor = &diff->cursors[diff->active_cursor];

	if (likely(cursor->next < cursor->end) &&
		likely(packed_entry_has_key(cursor->next, key, width)) &&
		likely(packed_entry_value(cursor->next, width) == hash) &&
		likely(diff_state(diff, cursor->entry) == ENTRY_UNSEEN))
	{
		diff_set_state(diff, cursor->entry, ENTRY_UNCHANGED);
		cursor->entry++;
		cursor->next += key_table_stride(width);
		return DIFF_UNCHANGED;
	}
	return diff_row_slowly(diff, key, hash, entry);
}

#endif							/* SIGNALSMITH_DIFF_H */
