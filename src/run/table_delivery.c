/*
 * table_delivery.c
 *		Batches that are written to a table instead of being sent.
 *
 * A batch and what is recorded of it are one transaction: whatever happens, a row
 * is written and known to be written, or neither.  So nothing is written twice,
 * not even what is only appended, no outcome is ever unknown, and a runner that
 * was taken over (its lease is checked in the same transaction) writes nothing
 * any more.  Behind a foreign server that is as true as the server's own commit,
 * which comes a moment before ours: a batch that is repeated after a crash in
 * between finds its rows by their key.
 *
 * What the owner's triggers do to this process concerns the owner's batch alone:
 * the process has no secrets, and no other identity to climb to; what they set
 * ends with the batch, their deferred work is done before anything is recorded,
 * and our own statements run in a scope (store/scope.h).
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "base/backoff.h"
#include "base/fault.h"
#include "connector/attribution.h"
#include "run/answer.h"
#include "run/planning.h"
#include "run/table_delivery.h"
#include "store/scope.h"
#include "store/transaction.h"
#include "target/target_error.h"

/* Where a transaction is. */
typedef enum WritePhase
{
	PHASE_OURS,					/* beginning, recording */
	PHASE_WRITING,				/* statements and triggers of the owner */
	PHASE_COMMITTING			/* a foreign server may still refuse */
} WritePhase;

/* --- one transaction --- */

/*
 * Read committed, whatever the role's default is: a batch is to see what others
 * have committed, not to fail for it.  The extension is locked first, as
 * everywhere (store/scope.h).
 */
static void
begin_write(void)
{
	Scope		scope;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = false;
	XactDeferrable = false;
	PushActiveSnapshot(GetTransactionSnapshot());
	scope_enter(&scope);
	scope_leave(&scope);
	run_limit_lock_wait();
}

/* A background worker has no statement timer of its own. */
static int
write_timeout_ms(const Delivery *delivery)
{
	int			timeout_ms = delivery->definition->timeout_ms;

	return StatementTimeout > 0 ? Min(StatementTimeout, timeout_ms) : timeout_ms;
}

static int64
write_batch(Delivery *delivery, const PendingBatch *pending, TargetOutcome *outcomes)
{
	int64		bytes;

	FAULT_POINT("before-send");
	enable_timeout_after(STATEMENT_TIMEOUT, write_timeout_ms(delivery));
	bytes = target_writer_write(delivery->table, pending->batch, outcomes);
	disable_timeout(STATEMENT_TIMEOUT, false);
	FAULT_POINT("after-answer");
	return bytes;
}

static void
record_batch(Delivery *delivery, PendingBatch *pending, const TargetOutcome *outcomes,
			 int64 bytes, int64 began_ms)
{
	Bundle	   *bundle = pending->loaded->bundle;

	acknowledgement_count_request(delivery->group, 1, bytes,
								  (monotonic_ms() - began_ms) * 1000,
								  pending->attempts == 1);
	for (int i = 0; i < pending->count; i++)
		switch (outcomes[i])
		{
			case TARGET_WRITTEN:
				acknowledge_record(delivery->group, bundle, pending->first + i,
								   pending->operation);
				break;
			case TARGET_PRESENT:
				leave_record(delivery->group, bundle, pending->first + i);
				break;
			case TARGET_ABSENT:
				skip_record(delivery->group, bundle, pending->first + i);
				break;
		}
	acknowledgement_write(delivery->group);
}

/* What this process has noted of a transaction that is no more. */
static void
forget_batch(Delivery *delivery, const PendingBatch *pending)
{
	memset(pending->loaded->bundle->outcomes + pending->first, OUTCOME_OPEN, pending->count);
	acknowledgement_discard(delivery->group);
}

/*
 * Could not record, for a reason that is the moment's?  Others hold locks on our
 * rows too, and a trigger may have taken some.
 */
static bool
is_conflict(void)
{
	return ERRCODE_TO_CATEGORY(geterrcode()) == ERRCODE_TRANSACTION_ROLLBACK ||
		geterrcode() == ERRCODE_LOCK_NOT_AVAILABLE;
}

/*
 * Writes and records a batch.  NULL: it is done; else the error for which it has
 * been rolled back, in CurrentMemoryContext.  Cancelling is held off, except
 * while the owner's statements run.
 */
static ErrorData *
try_batch(Delivery *delivery, PendingBatch *pending)
{
	MemoryContext context = CurrentMemoryContext;
	volatile WritePhase phase = PHASE_OURS;
	ErrorData  *volatile error = NULL;
	int64		began_ms = monotonic_ms();

	PG_TRY();
	{
		TargetOutcome *outcomes;
		int64		bytes;

		begin_write();
		outcomes = palloc(pending->count * sizeof(TargetOutcome));

		phase = PHASE_WRITING;
		RESUME_CANCEL_INTERRUPTS();
		bytes = write_batch(delivery, pending, outcomes);
		HOLD_CANCEL_INTERRUPTS();

		phase = PHASE_OURS;
		record_batch(delivery, pending, outcomes, bytes, began_ms);

		phase = PHASE_COMMITTING;
		transaction_commit();
	}
	PG_CATCH();
	{
		/* The error has let go of what was held off. */
		HOLD_CANCEL_INTERRUPTS();
		if (phase == PHASE_OURS && !is_conflict())
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		disable_all_timeouts(false);
		AbortCurrentTransaction();
		forget_batch(delivery, pending);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);

	/* Whatever was set at the commit itself. */
	ResetAllOptions();
	pgstat_report_activity(STATE_RUNNING, "signalsmith: writing");
	return error;
}

/* --- what follows --- */

static void
finish_batch(Delivery *delivery, PendingBatch *pending)
{
	acknowledgement_written(delivery->group);
	delivery->given_up_in_a_row = 0;
	destination_gate_succeeded(delivery->gate);
	loaded_bundle_settled(pending->loaded, pending->count);
	batch_queue_done(delivery->queue, pending, 0);
	batch_queue_forget_settled(delivery->queue);
}

/* Somebody has cancelled the statement: the delivery's loop sees to it. */
static void
handle_cancel(Delivery *delivery, PendingBatch *pending)
{
	QueryCancelPending = true;
	pending->attempts--;
	batch_queue_put_back(delivery->queue, pending, monotonic_ms());
}

static void
handle_error(Delivery *delivery, PendingBatch *pending, const ErrorData *error,
			 int64 began_ms)
{
	char	   *message = delivery_redact(delivery, tidy_message(target_error_message(error)));
	HttpAnswer	not_sent = {.result = HTTP_NOT_SENT,.error = message};
	RecordOutcome outcome = {
		.class = target_error_class(error),
		.code = pstrdup(unpack_sql_state(error->sqlerrcode)),
		.message = message,
		.undone = true
	};

	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		monotonic_ms() - began_ms < write_timeout_ms(delivery))
		handle_cancel(delivery, pending);
	else if (target_error_is_connection(error))
		delivery_handle_answer(delivery, pending, &not_sent);
	else
		delivery_handle_outcome(delivery, pending, &outcome);
}

void
deliver_to_table(Delivery *delivery, PendingBatch *pending)
{
	MemoryContext old_context;
	int64		began_ms = monotonic_ms();
	ErrorData  *error;

	/* What was settled before must not be lost with this batch. */
	if (acknowledgement_pending(delivery->group))
		acknowledgement_record(delivery->group);

	old_context = MemoryContextSwitchTo(delivery->answer_context);
	pending->attempts++;
	error = try_batch(delivery, pending);
	if (error == NULL)
		finish_batch(delivery, pending);
	else
		handle_error(delivery, pending, error, began_ms);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(delivery->answer_context);
}
