/*
 * run_functions.c
 *		SQL functions about runs that SQL alone cannot do.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/backoff.h"
#include "base/compat.h"
#include "base/settings.h"
#include "sql/call.h"
#include "store/scope.h"
#include "workers/shared_state.h"
#include "workers/wake.h"

/* How often wait_for_run looks: often at first, for runs that are short. */
#define FIRST_LOOK_MS 5
#define LAST_LOOK_MS 200

/* How often it tells how far the run is, if signalsmith.show_progress is on. */
#define TELL_MS 1000

SQL_FUNCTION(signalsmith_wake);
SQL_FUNCTION(signalsmith_signal_runner);
SQL_FUNCTION(signalsmith_progress);
SQL_FUNCTION(signalsmith_wait_for_run);

Datum
signalsmith_wake(PG_FUNCTION_ARGS)
{
	wake_at_commit();
	PG_RETURN_VOID();
}

Datum
signalsmith_signal_runner(PG_FUNCTION_ARGS)
{
	cancel_runner_at_commit(PG_GETARG_INT32(0));
	PG_RETURN_VOID();
}

static bool
may_see_run(Oid caller, int64 run_id)
{
	Scope		scope;
	bool		visible;

	scope_enter(&scope);
	scope_execute("SELECT signalsmith._is_visible($1::oid::regrole, 'run', $2)", "ol",
				  ObjectIdGetDatum(caller), Int64GetDatum(run_id));
	visible = scope_bool(0, 1);
	scope_leave(&scope);
	return visible;
}

/*
 * What runners of this database show of work that is not committed yet.  Readers
 * of views may call it themselves, so it filters as the views do.
 */
Datum
signalsmith_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	RunnerProgress progress[MAX_WORKERS_LIMIT];
	int			count;

	InitMaterializedSRF(fcinfo, 0);
	count = runner_progress_read(MyDatabaseId, progress, MAX_WORKERS_LIMIT);
	for (int i = 0; i < count; i++)
	{
		Datum		values[3];
		bool		nulls[3] = {false};

		if (!may_see_run(GetUserId(), progress[i].run_id))
			continue;
		values[0] = Int64GetDatum(progress[i].run_id);
		values[1] = Int64GetDatum(progress[i].rows_read);
		values[2] = Int64GetDatum(progress[i].changes_planned);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* --- waiting --- */

/*
 * pg_current_xact_id_if_assigned() is ours: a run that this very transaction
 * has queued cannot start before it commits.
 */
static const char *const run_status_query =
"SELECT status, xmin = pg_current_xact_id_if_assigned()::xid"
" FROM signalsmith.run WHERE id = $1";

/* The status as of now, not as of the caller's snapshot. */
static char *
read_run_status(int64 run_id, bool *ours)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *status = NULL;
	Scope		scope;

	PushActiveSnapshot(GetLatestSnapshot());
	scope_enter(&scope);
	if (scope_execute(run_status_query, "l", Int64GetDatum(run_id)) > 0)
	{
		status = scope_text(0, 1, context);
		*ours = scope_bool(0, 2);
	}
	scope_leave(&scope);
	PopActiveSnapshot();
	return status;
}

static const char *const progress_query =
"SELECT CASE WHEN phase = 'plan' THEN"
"  format('planning, %s rows read, %s changes so far', rows_read, changes_planned)"
" ELSE concat_ws(', ',"
"  format('delivering, %s of %s batches sent', batches_sent, batches_total),"
"  rows_per_second || ' rows a second', eta || ' left') END"
" FROM signalsmith.run_progress WHERE run_id = 'run_' || $1";

/* Tells how far the run is, unless it has not moved.  Returns what it said. */
static char *
tell_progress(int64 run_id, const char *status, char *said)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *news = NULL;
	Scope		scope;

	PushActiveSnapshot(GetLatestSnapshot());
	scope_enter(&scope);
	if (scope_execute(progress_query, "l", Int64GetDatum(run_id)) > 0)
		news = scope_text(0, 1, context);
	scope_leave(&scope);
	PopActiveSnapshot();

	if (news == NULL)
		news = pstrdup(status);
	if (said == NULL || strcmp(news, said) != 0)
		ereport(NOTICE,
				(errmsg("run_" INT64_FORMAT ": %s", run_id, news)));
	if (said)
		pfree(said);
	return news;
}

static bool
status_is_final(const char *status)
{
	return strcmp(status, "queued") != 0 && strcmp(status, "running") != 0;
}

static void
refuse_to_wait_for_ourselves(const char *ref)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot wait for run \"%s\" in the transaction that triggered it", ref),
			 errdetail("A run starts when the transaction that triggered it commits."),
			 errhint("Call wait_for_run after COMMIT.")));
}

static void
give_up_waiting(const char *ref, const char *status)
{
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED),
			 errmsg("run \"%s\" is not over yet", ref),
			 errdetail("Its status is \"%s\".", status),
			 strcmp(status, "queued") == 0 ?
			 errhint("If it does not start, SELECT * FROM signalsmith.check_installation() says why.") :
			 errhint("The run goes on; signalsmith.run_progress shows how far it is.")));
}

static void
wait_a_little(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 ms, extension_wait_event("SignalsmithWaitForRun"));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

Datum
signalsmith_wait_for_run(PG_FUNCTION_ARGS)
{
	char	   *ref;
	int64		run_id;
	int64		deadline_ms;
	int64		tell_at_ms = monotonic_ms() + TELL_MS;
	char	   *said = NULL;
	long		look_ms = FIRST_LOOK_MS;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("run and timeout must not be null")));
	ref = text_to_cstring(PG_GETARG_TEXT_PP(0));
	deadline_ms = monotonic_ms() +
		(int64) (DatumGetFloat8(DirectFunctionCall2(interval_part,
													CStringGetTextDatum("epoch"),
													PG_GETARG_DATUM(1))) * 1000);
	run_id = find_for_caller("run", ref, false);

	for (;;)
	{
		bool		ours = false;
		char	   *status = read_run_status(run_id, &ours);

		if (status == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("run \"%s\" does not exist any more", ref),
					 errhint("Its sync was deleted, or signalsmith.run_retention has passed.")));
		if (status_is_final(status))
			PG_RETURN_TEXT_P(cstring_to_text(status));
		if (ours)
			refuse_to_wait_for_ourselves(ref);
		if (monotonic_ms() >= deadline_ms)
			give_up_waiting(ref, status);
		if (setting_show_progress && monotonic_ms() >= tell_at_ms)
		{
			said = tell_progress(run_id, status, said);
			tell_at_ms = monotonic_ms() + TELL_MS;
		}
		pfree(status);
		wait_a_little(look_ms);
		look_ms = Min(look_ms * 2, LAST_LOOK_MS);
	}
}
