/*
 * preview.h
 *		What a run would do now, planned and thrown away.
 */
#ifndef SIGNALSMITH_PREVIEW_H
#define SIGNALSMITH_PREVIEW_H

#include "postgres.h"

#include "fmgr.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"

#include "plan/plan.h"
#include "store/definition.h"

typedef struct PreviewedChange
{
	RecordKey	key;
	Record		record;			/* in UTF-8 */
} PreviewedChange;

typedef struct Preview
{
	PlanSink	sink;
	MemoryContext context;		/* of what is kept */
	SyncDefinition *definition;
	int64		max_kept;		/* changes of each operation */
	List	   *kept[OPERATION_COUNT];	/* of PreviewedChange, as planned */
	PlanFigures figures;		/* counts all changes, kept or not */
	bool		holds_deletes;	/* the run would */
	int64		rejected;		/* rows, before anything is sent */
	char	   *first_reason;	/* for the first of them */
} Preview;

/*
 * Finds the sync for the caller, who must be allowed to manage it, and its
 * definition.  Lives in CurrentMemoryContext.
 */
extern Preview *preview_create(text *sync, int64 max_kept);

/*
 * Plans as a run would, by the same code, but in the caller's own transaction,
 * so that it sees what the caller has not committed.
 */
extern void preview_plan(Preview *preview);

/* How many changes there are in all. */
extern int64 preview_count(const Preview *preview);

/* Why the deletes would be held: a sentence, palloc'ed. */
extern char *preview_hold_reason(const Preview *preview);

/* NOTICEs: deletes that would be held, rows that would be rejected. */
extern void preview_tell(const Preview *preview);

/*
 * Returns the first requests that a run would send, with its NOTICEs: in the
 * columns of preview_requests, or in those of preview_sync.
 */
extern void preview_return_requests(ReturnSetInfo *result, text *sync,
									int max_requests, bool as_changes);

/* The order in which a run sends. */
extern const Operation preview_order[OPERATION_COUNT];

#endif							/* SIGNALSMITH_PREVIEW_H */
