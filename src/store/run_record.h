/*
 * run_record.h
 *		The row of a run: claiming it, its figures, its end.
 *
 * Each function runs in the caller's transaction and enters a scope of its own,
 * unless it says that it runs inside the caller's.
 */
#ifndef SIGNALSMITH_RUN_RECORD_H
#define SIGNALSMITH_RUN_RECORD_H

#include "postgres.h"

#include "base/compat.h"
#include "base/request_time.h"
#include "base/types.h"
#include "store/definition.h"

/*
 * How long a claim on a run that is delivering holds without a sign of life;
 * tests of what comes then do not wait as long.
 */
#ifdef SIGNALSMITH_FAULTS
#define LEASE_SECONDS 3
#else
#define LEASE_SECONDS 30
#endif

typedef struct RunClaim
{
	int64		run_id;
	int64		sync_id;
	int64		lease;			/* fencing token */
	bool		planned;		/* the plan is committed: only deliver */
	bool		cancel_requested;	/* before anybody could be signalled */
	bool		full_resync;
	bool		manual;			/* somebody is waiting for it */
	int64		changes_planned;	/* of a plan already committed */
	int64		deletes_held;	/* of a plan already committed */
	bool		creates_supersede;	/* see plan/plan.h */
} RunClaim;

/*
 * Claims a run for this process: a queued one, or one whose runner is gone or
 * has let its lease run out while delivering.  False when somebody else has it
 * or it is over.
 */
extern bool run_claim(int64 run_id, RunClaim *claim);

/* What a plan has found, as it goes into the run's row. */
typedef struct RunPlanFigures
{
	int64		rows_processed;
	int64		rows_unchanged;
	int64		rows_failed;
	int64		changes_planned;
	int64		batches_planned;
	int64		bytes_staged;
	int64		deletes_held;	/* 0: all that is planned goes out */
	int64		snapshot_rows;
	bool		creates_supersede;
	int64		peak_memory;
	double		query_ms;
	double		diff_ms;
	double		stage_ms;
} RunPlanFigures;

/*
 * Marks the plan as committed with the transaction, in the claim too, and
 * freezes what the deliveries are made with.  Errors with ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
 * when the lease is lost.
 */
extern void run_record_plan(RunClaim *claim, const SyncDefinition *definition,
							const RunPlanFigures *figures,
							const char *snapshot_key);

/* Puts what the plan was made with in place of what is defined now. */
extern void run_read_frozen_definition(int64 run_id, SyncDefinition *definition);

/* Holds the claim for so long from now on; raises as above. */
extern void run_extend_lease(const RunClaim *claim, int seconds);

/* What has happened since the last time it was recorded. */
typedef struct RunDeliveryFigures
{
	int			lease_seconds;	/* that the next sign of life may take */
	int64		confirmed[OPERATION_COUNT];
	int64		failed;
	int64		batches;
	int64		requests;
	int64		bytes_sent;
	int64		request_times[REQUEST_TIME_BUCKETS];
	double		deliver_ms;
} RunDeliveryFigures;

/*
 * Adds the figures and prolongs the lease; inside the caller's scope.  False
 * when the lease is lost: then nothing may be recorded any more.
 */
extern bool run_record_progress(const RunClaim *claim, const RunDeliveryFigures *figures);

/* Raises the error that says why; inside the caller's scope. */
pg_noreturn extern void run_lease_lost(const RunClaim *claim);

/*
 * Ends the run and moves its sync on.  A permanent failure puts the sync into
 * error.  False when the lease is lost.
 */
extern bool run_finish(const RunClaim *claim, const char *status,
					   const char *error, bool permanent);

/* Has somebody asked to cancel it? */
extern bool run_cancel_requested(int64 run_id);

#endif							/* SIGNALSMITH_RUN_RECORD_H */
