/*
 * run.c
 *		One run of a sync, from claim to end.
 *
 *						 claim
 *		queued ----------------------> running/plan
 *		   |                              |    |
 *		   | cancel_run        plan commits    | the model fails: failed
 *		   v                              v    | cancel: cancelled
 *		cancelled                 running/deliver
 *		                                  |
 *		   everything settled ............|.... completed
 *		   the same, deletes held back ...|.... held
 *		   cancel ........................|.... cancelled
 *		   destination unreachable .......|.... failed
 *		   credentials, 410, egress ......|.... failed, and the sync in error
 *
 * A runner that dies leaves the run where it was: in plan, nothing has been
 * committed and the next runner plans again; in deliver, it goes on sending
 * from what the outbox holds.  The claim's lease tells runners apart: whoever
 * was taken over can record nothing any more (store/run_record.h).
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "base/fault.h"
#include "run/delivery.h"
#include "run/planning.h"
#include "run/run.h"
#include "store/outbox.h"
#include "store/run_record.h"
#include "store/scope.h"
#include "store/snapshot.h"

#define CANCELLED "cancelled by request"

static void
begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
commit_transaction(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(true);
}

static bool
claim_run(int64 run_id, RunClaim *claim)
{
	bool		claimed;

	begin_transaction();
	claimed = run_claim(run_id, claim);
	commit_transaction();
	return claimed;
}

/* Held deletes stay in the outbox until somebody approves them. */
static void
finish_run(const RunClaim *claim, const char *status, const char *error, bool permanent)
{
	Scope		scope;

	begin_transaction();
	if (run_finish(claim, status, error, permanent) &&
		strcmp(status, "held") != 0)
	{
		scope_enter(&scope);
		outbox_discard(claim->run_id);
		scope_leave(&scope);
	}
	commit_transaction();
}

/*
 * Was it a person who stopped the plan?  cancel_run has left a note; whoever
 * used pg_cancel_backend is known by the server's own words, since a
 * statement_timeout has the same code.
 */
static bool
plan_was_cancelled(const RunClaim *claim, const ErrorData *error)
{
	bool		requested;

	begin_transaction();
	requested = run_cancel_requested(claim->run_id);
	commit_transaction();
	return requested ||
		(error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		 strcmp(error->message, _("canceling statement due to user request")) == 0);
}

/* Ends a run whose model could not be run, by the error that stopped it. */
static void
finish_unplanned(const RunClaim *claim, const ErrorData *error)
{
	char	   *message = error->message;

	if (error->hint)
		message = psprintf("%s (%s)", error->message, error->hint);

	if (plan_was_cancelled(claim, error))
		finish_run(claim, "cancelled", CANCELLED, false);
	else
		finish_run(claim, "failed", message, false);
}

/*
 * Plans.  Returns whether there is a plan to deliver; otherwise the run has
 * ended.
 */
static bool
plan_run(RunClaim *claim, ShowProgress show_progress)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool planned = false;

	PG_TRY();
	{
		run_plan(claim, show_progress);
		planned = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		disable_all_timeouts(false);
		QueryCancelPending = false;
		EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		MemoryContextSwitchTo(context);
		finish_unplanned(claim, error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return planned;
}

static void
deliver_run(const RunClaim *claim)
{
	bool		held = claim->deletes_held > 0;
	char	   *error;

	switch (run_deliver(claim, &error))
	{
		case DELIVERY_COMPLETE:
			finish_run(claim, held ? "held" : "completed", NULL, false);
			break;
		case DELIVERY_CANCELLED:
			QueryCancelPending = false;
			finish_run(claim, "cancelled", error, false);
			break;
		case DELIVERY_UNREACHABLE:
			finish_run(claim, "failed", error, false);
			break;
		case DELIVERY_REFUSED:
			finish_run(claim, "failed", error, true);
			break;
	}
}

/* Housekeeping that a run may leave to the next one. */
static void
merge_snapshot(const RunClaim *claim)
{
	begin_transaction();
	snapshot_merge_if_due(claim->sync_id);
	commit_transaction();
}

void
run_execute(int64 run_id, ShowProgress show_progress)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "signalsmith run",
												  ALLOCSET_DEFAULT_SIZES);
	RunClaim	claim;

	MemoryContextSwitchTo(context);
	if (!claim_run(run_id, &claim))
		return;
	FAULT_POINT("after-claim");
	MemoryContextSwitchTo(context);
	if (!claim.planned && claim.cancel_requested)
	{
		finish_run(&claim, "cancelled", CANCELLED, false);
		return;
	}
	if (!claim.planned && !plan_run(&claim, show_progress))
		return;

	/*
	 * The owner's SQL has run in this process and may have changed its
	 * settings; nothing of what follows may depend on them.
	 */
	ResetAllOptions();
	MemoryContextSwitchTo(context);
	QueryCancelPending = claim.cancel_requested;
	deliver_run(&claim);
	merge_snapshot(&claim);
}
