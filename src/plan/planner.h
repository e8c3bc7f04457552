/*
 * planner.h
 *		What the files of one plan share.
 */
#ifndef SIGNALSMITH_PLANNER_H
#define SIGNALSMITH_PLANNER_H

#include "postgres.h"

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

	MemoryContext context;		/* of the whole plan */
	MemoryContext row_context;	/* of a row */

	/* identities in the snapshot, read when first needed */
	bool		stores_identities;
	IdentityReader *identities;

	/* keys whose changes have to be taken back, in no order */
	RecordKey  *withdrawn;
	int			withdrawn_count;
	int			withdrawn_limit;

	/* see receiver.c */
	int			rows_until_sample;
	bool		timing_row;		/* the row at hand is timed */
	double		row_stage_seconds;	/* what staging had of it */
	double		diff_seconds;	/* of the timed rows */
	int64		changed_rows;
	double		stage_seconds;	/* an estimate for all rows */
	instr_time	last_progress;
} Planner;

/* --- receiver.c --- */

extern void planner_prepare_receiver(Planner *planner);

/* Adds the time measured so far to the figures. */
extern void planner_sum_times(Planner *planner);

/* --- changes.c: called in row_context --- */

/* A row that is new or different.  "known": the destination has its record. */
extern void planner_changed_row(Planner *planner, const Datum *values,
								const bool *nulls, RecordKey key, uint64 hash,
								uint32 entry, bool known);

/* A row whose key was there before. */
extern void planner_repeated_row(Planner *planner, const Datum *values,
								 const bool *nulls, RecordKey key, uint32 entry);

/* A row with a NULL in its key. */
extern void planner_keyless_row(Planner *planner, const Datum *values, const bool *nulls);

/* Once all rows are in: what is left to withdraw and to delete. */
extern void planner_withdraw_repeated(Planner *planner);
extern void planner_delete_unseen(Planner *planner);

#endif							/* SIGNALSMITH_PLANNER_H */
