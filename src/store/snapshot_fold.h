/*
 * snapshot_fold.h
 *		The entries of a snapshot as they are now, each key once.
 */
#ifndef SIGNALSMITH_SNAPSHOT_FOLD_H
#define SIGNALSMITH_SNAPSHOT_FOLD_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "base/types.h"

typedef struct SnapshotFold SnapshotFold;

typedef struct FoldedEntry
{
	RecordKey	key;
	int			key_width;
	uint64		hash;
	bool		superseded;		/* a later segment had the last word */
	Record		identity;		/* without data; empty when none is stored */
} FoldedEntry;

/*
 * Folds the segments of a sync with ids first_id .. last_id: gives each key
 * once, where it first appears, with what the latest of them says.  Deleted
 * keys are given too, with ROW_HASH_DELETED.
 *
 * Takes memory for the entries of superseding segments, about
 * FOLD_ENTRY_BYTES and their identities each.  Lives in CurrentMemoryContext.
 */
#define FOLD_ENTRY_BYTES 96

extern SnapshotFold *snapshot_fold_begin(int64 sync_id, int64 first_id,
										 int64 last_id, Snapshot snapshot);

/* False at the end.  Slices are valid until the next call. */
extern bool snapshot_fold_next(SnapshotFold *fold, FoldedEntry *entry);
extern void snapshot_fold_end(SnapshotFold *fold);

#endif							/* SIGNALSMITH_SNAPSHOT_FOLD_H */
