/*
 * skip_list.h
 *		Rows that failed and that somebody has accepted as they are.
 *
 * A skipped row is not planned as long as it is what it was when it failed.  The
 * snapshot does not know of it: what was never confirmed is not at the
 * destination, whatever somebody has decided.
 */
#ifndef SIGNALSMITH_SKIP_LIST_H
#define SIGNALSMITH_SKIP_LIST_H

#include "postgres.h"

#include "base/types.h"

typedef struct SkipList SkipList;

/* The list of a sync, in CurrentMemoryContext.  Needs no scope. */
extern SkipList *skip_list_load(int64 sync_id);

/*
 * Is the row with that key and hash (ROW_HASH_DELETED: the delete of that key)
 * on the list?  If so, it has been met.
 */
extern bool skip_list_meets(SkipList *list, RecordKey key, uint64 hash);

/* Has a row, or delete, with this key been met? */
extern bool skip_list_has_met(const SkipList *list, RecordKey key);

/*
 * Once all rows are in: forgets the entries that were not met, whose rows have
 * changed, gone or arrived after all.  Enters a scope of its own.
 */
extern void skip_list_forget_unmet(SkipList *list);

#endif							/* SIGNALSMITH_SKIP_LIST_H */
