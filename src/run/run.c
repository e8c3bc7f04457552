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
 *		   it wants to be left alone .....|.... failed, not counted against the sync
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
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"

#include "base/fault.h"
#include "run/delivery.h"
#include "run/delivery_setup.h"
#include "run/planning.h"
#include "run/run.h"
#include "store/outbox.h"
#include "store/run_record.h"
#include "store/scope.h"
#include "store/snapshot.h"
#include "store/transaction.h"

#define CANCELLED "cancelled by request"

static bool
claim_run(int64 run_id, RunClaim *claim)
{
	bool		claimed;

	transaction_begin();
	claimed = run_claim(run_id, claim);
	transaction_commit();
	return claimed;
}

/*
 * Held deletes stay in the outbox until somebody approves them.  What is over
 * cannot be cancelled any more.
 */
static void
finish_run(const RunClaim *claim, const char *status, const char *error, bool permanent)
{
	Scope		scope;

	HOLD_CANCEL_INTERRUPTS();
	transaction_begin();
	if (run_finish(claim, status, error, permanent) &&
		strcmp(status, "held") != 0)
	{
		scope_enter(&scope);
		outbox_discard(claim->run_id);
		scope_leave(&scope);
	}
	transaction_commit();
	QueryCancelPending = false;
	RESUME_CANCEL_INTERRUPTS();
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

	transaction_begin();
	requested = run_cancel_requested(claim->run_id);
	transaction_commit();
	return requested ||
		(error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		 strcmp(error->message, _("canceling statement due to user request")) == 0);
}

/*
 * Will it fail again until somebody does something?  What the model says is
 * wrong, or its owner may not do it; a timeout or a division by zero may be over
 * next time.
 */
static bool
is_permanent(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION ||
		category == ERRCODE_INVALID_SCHEMA_NAME ||
		category == ERRCODE_FEATURE_NOT_SUPPORTED ||
		error->sqlerrcode == ERRCODE_READ_ONLY_SQL_TRANSACTION ||
		error->sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
}

/*
 * Ends a run that could not be prepared, by the error that stopped it.  The
 * server's log is told that, but not the message, which may quote a row.
 */
static void
finish_unprepared(const RunClaim *claim, const ErrorData *error)
{
	char	   *message = error->message;

	if (plan_was_cancelled(claim, error))
	{
		finish_run(claim, "cancelled", CANCELLED, false);
		return;
	}
	if (error->hint)
		message = psprintf("%s (%s)", error->message, error->hint);
	finish_run(claim, "failed", message, is_permanent(error));
	ereport(LOG,
			(errmsg("run \"run_" INT64_FORMAT "\" failed with SQLSTATE %s",
					claim->run_id, unpack_sql_state(error->sqlerrcode)),
			 errdetail("signalsmith.runs has the message.")));
}

/*
 * Plans, unless an earlier runner has, and sets the delivery up; NULL: there is
 * nothing to deliver.
 */
static Delivery *
prepare_run(RunClaim *claim, ShowProgress show_progress)
{
	MemoryContext context = CurrentMemoryContext;

	if (!claim->planned)
	{
		run_plan(claim, show_progress);

		/*
		 * The owner's SQL has run in this process and may have changed its
		 * settings; nothing of what follows may depend on them.
		 */
		ResetAllOptions();
		MemoryContextSwitchTo(context);
	}
	return claim->changes_planned > 0 ? delivery_set_up(claim) : NULL;
}

/*
 * The same, ending the run when it fails; returns whether it goes on.  When an
 * earlier runner has sent something already, the run stays as it is instead, to
 * be taken up again.
 */
static bool
try_prepare_run(RunClaim *claim, ShowProgress show_progress, Delivery **delivery)
{
	MemoryContext context = CurrentMemoryContext;
	bool		resumed = claim->planned;
	volatile bool prepared = false;

	PG_TRY();
	{
		*delivery = prepare_run(claim, show_progress);
		prepared = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		if (resumed)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		disable_all_timeouts(false);
		QueryCancelPending = false;
		AbortCurrentTransaction();
		MemoryContextSwitchTo(context);
		finish_unprepared(claim, error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return prepared;
}

/* Housekeeping that a run may leave to the next one. */
static void
merge_snapshot(const RunClaim *claim)
{
	transaction_begin();
	snapshot_merge_if_due(claim->sync_id);
	transaction_commit();
}

static void
deliver_run(const RunClaim *claim, Delivery *delivery)
{
	bool		held = claim->deletes_held > 0;
	DeliveryEnd end = DELIVERY_COMPLETE;
	char	   *error = NULL;

	if (delivery)
		end = run_deliver(delivery, &error);
	switch (end)
	{
		case DELIVERY_COMPLETE:
			finish_run(claim, held ? "held" : "completed", NULL, false);
			break;
		case DELIVERY_CANCELLED:
			finish_run(claim, "cancelled", error, false);
			break;
		case DELIVERY_UNREACHABLE:
		case DELIVERY_POSTPONED:
			finish_run(claim, "failed", error, false);
			break;
		case DELIVERY_REFUSED:
			finish_run(claim, "failed", error, true);
			break;
	}
	if (delivery)
		merge_snapshot(claim);
}

void
run_execute(int64 run_id, ShowProgress show_progress)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "signalsmith run",
												  ALLOCSET_DEFAULT_SIZES);
	Delivery   *delivery;
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
	if (!try_prepare_run(&claim, show_progress, &delivery))
		return;
	if (claim.cancel_requested)
		QueryCancelPending = true;
	deliver_run(&claim, delivery);
}
