/*
 * planner.h
 *		What the files of one plan share.
 */
#ifndef SIGNALSMITH_PLANNER_H
#define SIGNALSMITH_PLANNER_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "portability/instr_time.h"
#include "tcop/dest.h"

#include "base/types.h"
#include "plan/diff.h"
#include "plan/plan.h"
#include "plan/record.h"
#include "plan/row_hash.h"
#include "plan/row_key.h"
#include "store/definition.h"
#include "store/snapshot.h"

typedef struct Deferred Deferred;

typedef struct Planner
{
	DestReceiver receiver;		/* must be first */
	const SyncDefinition *definition;
	const PlanOptions *options;
	PlanSink   *sink;
	PlanFigures *figures;

	RowKeyer   *keyer;
	RowHasher  *hasher;
	RecordWriter *writer;
	Diff	   *diff;
	Deferred   *deferred;

	MemoryContext context;		/* of the whole plan */
	MemoryContext row_context;	/* of a row */

	/* identities in the snapshot, read when first needed */
	bool		stores_identities;
	IdentityReader *identities;

	/* rows whose changes have to be taken back, since their keys are repeated */
	int64		withdrawn[OPERATION_COUNT];

	/* see receiver.c */
	int			rows_until_sample;
	int			sample_interval;	/* rows that the next sample stands for */
	bool		timing_row;		/* the row at hand is timed */
	double		row_stage_seconds;	/* what staging had of it */
	double		diff_seconds;	/* an estimate for all rows */
	int64		changed_rows;
	double		stage_seconds;	/* an estimate for all rows */
	instr_time	last_progress;
} Planner;

/* --- receiver.c --- */

extern void planner_prepare_receiver(Planner *planner);

/* Adds the time measured so far to the figures. */
extern void planner_sum_times(Planner *planner);

/* A row that is not unchanged, with its entry in the comparison. */
extern void planner_unusual_row(Planner *planner, TupleTableSlot *slot, DiffResult result,
								RecordKey key, uint64 hash, uint32 entry);

/* --- deferred.c --- */

extern Deferred *deferred_create(TupleDesc descriptor);

/* Sets a row aside that is not where the comparison expected it. */
extern void planner_defer_row(Planner *planner, TupleTableSlot *slot,
							  RecordKey key, uint64 hash);

/* Once all rows are in: looks up those that wait for others. */
extern void planner_resolve_deferred(Planner *planner);

/* Rows that only all rows together can decide, and what becomes of them. */
extern int64 planner_undecided_count(const Planner *planner);
extern void planner_settle_undecided(Planner *planner, Size memory_limit);

/* --- changes.c: called in row_context --- */

/*
 * A row that is new or different.  "known": the destination has its record.
 * "entry" is where the snapshot has it, if it does.  False when it cannot be
 * sent, and is rejected.
 */
extern bool planner_changed_row(Planner *planner, const Datum *values,
								const bool *nulls, RecordKey key, uint64 hash,
								uint32 entry, bool known);

/*
 * A row whose key others have too.  "rows": with this one, so many are to be
 * rejected for it now.
 */
extern void planner_repeated_row(Planner *planner, const Datum *values,
								 const bool *nulls, bool known, int rows);

/* A row with a NULL in its key. */
extern void planner_keyless_row(Planner *planner, const Datum *values, const bool *nulls);

/* Does the mode leave alone what has changed in a row that is new or known? */
extern bool planner_leaves_alone(const Planner *planner, bool known);

/* What is done to the record of a row that is new or known. */
extern Operation planner_operation(const Planner *planner, bool known);

/*
 * Once all rows are in: what is left to withdraw and to delete, as far as the
 * comparison can say.
 */
extern void planner_withdraw_repeated(Planner *planner);
extern void planner_delete_unseen(Planner *planner);

#endif							/* SIGNALSMITH_PLANNER_H */
