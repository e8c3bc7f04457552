/*
 * scheduler.c
 *		Looks into one database: queues what is due, starts runners, reports when
 *		to look again, and exits.
 *
 * A run, as it sees it (signalsmith.run.status in brackets):
 *
 *		   due, or triggered
 *				 |		  an obstacle, 3 crashes, 20 starts in vain
 *				 v
 *		  waiting [queued] ------------------------------> over [failed]
 *			^	 |
 *			|	 |	a slot is free: the start is noted, then made
 *			|	 v
 *			| started: left alone until start_after
 *			|	 |
 *			|	 |	its runner claims it
 *			|	 v
 *			| at work [running] --------------------------> over
 *			|	 |	  |
 *			|	 |	  |  its lease runs out
 *			|	 |	  v
 *			|	 |	dismissed: its runner is asked to leave, and fenced off
 *			|	 |	  |
 *			+----+----+
 *			the runner is gone, or has not claimed it by then
 *
 * When no slot is free it stays for a while, then reports that runs wait; whose
 * turn it is next says waiting_run.c.
 *
 * It is connected as a superuser, so it evaluates nothing that a user of
 * signalsmith has written: only statements of ours, inside a scope.
 */
#include "postgres.h"

#include <signal.h>

#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/backoff.h"
#include "base/compat.h"
#include "base/settings.h"
#include "store/run_record.h"
#include "store/scope.h"
#include "store/transaction.h"
#include "workers/shared_state.h"
#include "workers/start.h"
#include "workers/waiting_run.h"

/* How a start went. */
typedef enum StartOutcome
{
	START_DONE,
	START_LOCKED,				/* somebody changes the sync or the run */
	START_WAITS,				/* max_workers runs are at work */
	START_STARVED				/* max_worker_processes are used up */
} StartOutcome;

/* So long a scheduler stays to fill slots, and waits for one at a time. */
#define MAX_STAY_MS (10 * 1000)
#define SLOT_WAIT_MS 1000

/* Nobody tells when a worker of somebody else has ended. */
#define STARVED_RETRY_MS 5000

/* So often a run may see the server crash without getting any further. */
#define MAX_CRASHES 3
#define QUARANTINE_REASON "the server crashed 3 times while this run was at work; its log says why"

/* So many runners may end without getting anywhere: about a quarter of an hour. */
#define MAX_STARTS 20
#define FUTILE_REASON "its runners ended 20 times without getting anywhere; the server's log says why"

/*
 * It waits so long for a lock, on a table say, and then gives up; what somebody
 * has locked of a sync or run it leaves alone, and comes back so soon.
 */
#define LOCK_TIMEOUT_TEXT "10s"
#define LOCKED_LOOK_MS (5 * 1000)

/* A database is looked at so often even if nobody asks for it. */
#define POLL_MS (10 * 60 * 1000)
#define POLL_ABSENT_MS (60 * 60 * 1000)

/*
 * When a run that is live now may need somebody: the earliest such time.  One
 * that delivers says until when it holds its lease; others may do so by then.
 */
static const char *const next_check_query =
"SELECT min(CASE WHEN r.start_after > clock_timestamp() THEN r.start_after"
"  WHEN r.phase = 'deliver' THEN r.lease_until + interval '1 second'"
"  ELSE clock_timestamp() + make_interval(secs => $1) END)"
" FROM signalsmith.run r WHERE r.status IN ('queued', 'running')";

static TimestampTz
ms_from_now(int64 ms)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
}

static void
report(TimestampTz next_look, StartOutcome outcome)
{
	LauncherMail mail = {MAIL_REPORT, MyDatabaseId, next_look,
	outcome != START_DONE, outcome == START_STARVED};

	launcher_send(&mail);
}

/*
 * Is the extension here, in the version that this library belongs to?  If not,
 * there is nothing to do until that changes.
 */
static bool
extension_is_usable(void)
{
	char	   *version = NULL;
	Oid			owner;
	bool		usable;

	transaction_begin();
	usable = OidIsValid(extension_lookup(&owner, &version));
	if (usable && strcmp(version, SIGNALSMITH_VERSION) != 0)
	{
		ereport(LOG,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("signalsmith %s is installed in database \"%s\", but the library is version %s: its syncs wait",
						version, get_database_name(MyDatabaseId), SIGNALSMITH_VERSION),
				 errhint("Run ALTER EXTENSION signalsmith UPDATE in that database.")));
		usable = false;
	}
	transaction_commit();
	return usable;
}

/* Is this database a copy that nobody has adopted yet? */
static bool
database_is_fenced(void)
{
	MemoryContext context = CurrentMemoryContext;
	Scope		scope;
	char	   *reason;

	transaction_begin();
	scope_enter(&scope);
	scope_execute("SELECT signalsmith._heed_instance()", "");
	reason = scope_text(0, 1, context);
	scope_leave(&scope);
	if (reason)
		ereport(LOG,
				(errmsg("signalsmith sends nothing from database \"%s\", because %s",
						get_database_name(MyDatabaseId), reason),
				 errhint("Decide what it is with signalsmith.adopt_instance.")));
	transaction_commit();
	return reason != NULL;
}

static TimestampTz
queue_due_syncs(void)
{
	Scope		scope;
	Datum		next;
	bool		isnull;
	TimestampTz next_due;

	transaction_begin();
	scope_enter(&scope);
	scope_execute("SELECT signalsmith._tell_slow_runs()", "");
	scope_execute("SELECT signalsmith._enqueue_due()", "");
	next = scope_value(0, 1, &isnull);
	next_due = isnull ? DT_NOEND : DatumGetTimestampTz(next);
	scope_execute(next_check_query, "d", Float8GetDatum(LEASE_SECONDS));
	next = scope_value(0, 1, &isnull);
	if (!isnull)
		next_due = Min(next_due, DatumGetTimestampTz(next));
	scope_leave(&scope);
	transaction_commit();
	return next_due;
}

/*
 * A run whose owner cannot be connected as, or may not use the destination any
 * more, ends before it starts: nothing has been read or decrypted for it.  One
 * that the server has crashed in too often is not started again.
 */
static StartOutcome
refuse_run(const WaitingRun *run, const char *reason)
{
	RunClaim	claim = {0};
	bool		locked;

	claim.run_id = run->run_id;
	claim.lease = run->lease;
	transaction_begin();
	locked = waiting_run_lock(run);
	if (locked)
		(void) run_finish(&claim, "failed", reason, true);
	transaction_commit();
	return locked ? START_DONE : START_LOCKED;
}

/*
 * A runner that gives no sign of life is asked to leave, for it may be the clock
 * that was set; if it is still there the next time, the run is taken from it.
 */
static StartOutcome
dismiss_runner(const WaitingRun *run)
{
	if (!waiting_run_note_dismissal(run))
		return START_LOCKED;
	(void) kill(run->stale_pid, SIGTERM);
	return START_DONE;
}

static void
give_slot_back(int code, Datum arg)
{
	const RunnerOrder *order = (const RunnerOrder *) DatumGetPointer(arg);

	runner_slot_free(order->slot, order->database, order->run_id);
}

/*
 * Starts a runner in the slot that its order has, which is free again if that
 * fails for whatever reason: else the run would be taken for one that is at work.
 * The start is noted before: it counts if it brings the server down.
 */
static StartOutcome
start_in_slot(const WaitingRun *run, RunnerOrder *order)
{
	volatile StartOutcome outcome = START_LOCKED;

	PG_ENSURE_ERROR_CLEANUP(give_slot_back, PointerGetDatum(order));
	{
		if (waiting_run_note_start(run))
		{
			outcome = runner_start(order) ? START_DONE : START_STARVED;
			if (outcome == START_STARVED)
				(void) waiting_run_forget_start(run);
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(give_slot_back, PointerGetDatum(order));
	if (outcome != START_DONE)
		give_slot_back(0, PointerGetDatum(order));
	return outcome;
}

static StartOutcome
start_run(const WaitingRun *run)
{
	RunnerOrder order = {MyDatabaseId, run->owner, run->run_id, -1};

	if (run->stale_pid != 0 && !run->dismissed)
		return dismiss_runner(run);
	if (shared_state_exists())
	{
		if (run->stale_pid == 0 && runner_slot_is_taken(MyDatabaseId, run->run_id))
			return START_DONE;
		order.slot = runner_slot_take(MyDatabaseId, run->run_id);
		if (order.slot < 0)
			return START_WAITS;
	}
	return start_in_slot(run, &order);
}

/*
 * Without shared memory nobody counts the runners of the cluster: then
 * max_workers bounds those of this database.
 */
static int
count_startable(void)
{
	if (shared_state_exists())
		return MAX_WORKERS_LIMIT;
	return Max(0, setting_max_workers - running_runs_count());
}

/* Why it is not to be started, now or ever again; or NULL. */
static const char *
reason_to_refuse(const WaitingRun *run, MemoryContext context)
{
	if (run->crashed && run->crashes + 1 >= MAX_CRASHES)
		return QUARANTINE_REASON;
	if (run->starts >= MAX_STARTS)
		return FUTILE_REASON;
	return waiting_run_obstacle(run, context);
}

/* Starts runs until one has to wait for a slot; lowers *next_look. */
static StartOutcome
start_runs(MemoryContext context, TimestampTz *next_look)
{
	StartOutcome outcome = START_DONE;
	WaitingRun runs[MAX_WORKERS_LIMIT];
	int			count = waiting_runs_read(runs, count_startable());

	for (int i = 0; i < count && outcome == START_DONE; i++)
	{
		const char *reason = reason_to_refuse(&runs[i], context);

		outcome = reason ? refuse_run(&runs[i], reason) : start_run(&runs[i]);
		if (outcome == START_LOCKED)
		{
			*next_look = Min(*next_look, ms_from_now(LOCKED_LOOK_MS));
			outcome = START_DONE;
		}
	}
	return outcome == START_DONE && count == MAX_WORKERS_LIMIT ? START_WAITS : outcome;
}

/*
 * Starts all that is due.  While runs wait for slots that our own runners hold,
 * it stays and fills each one that gets free, for a while; a new scheduler for
 * each would take longer than many a run.  A starved one leaves at once: its own
 * slot may be the one that is missing.
 */
static StartOutcome
work_off_queue(MemoryContext context, TimestampTz *next_look)
{
	int64		until_ms = monotonic_ms() + MAX_STAY_MS;

	for (;;)
	{
		StartOutcome outcome;

		*next_look = queue_due_syncs();
		outcome = start_runs(context, next_look);
		MemoryContextReset(context);
		if (outcome != START_WAITS || !setting_enabled || monotonic_ms() >= until_ms)
			return outcome;

		/*
		 * The postmaster signals us when a runner of ours has ended, another
		 * scheduler when it is our turn.
		 */
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 SLOT_WAIT_MS, extension_wait_event("SignalsmithSchedulerMain"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

void
signalsmith_scheduler_main(Datum arg)
{
	MemoryContext context;
	TimestampTz next_look;
	StartOutcome outcome;
	int64		poll_ms;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	pgstat_report_appname("signalsmith scheduler");
	SetConfigOption("lock_timeout", LOCK_TIMEOUT_TEXT, PGC_SUSET, PGC_S_OVERRIDE);

	context = AllocSetContextCreate(TopMemoryContext, "signalsmith scheduler",
									ALLOCSET_DEFAULT_SIZES);
	if (!extension_is_usable() || database_is_fenced())
	{
		report(ms_from_now(POLL_ABSENT_MS), START_DONE);
		proc_exit(0);
	}
	outcome = work_off_queue(context, &next_look);
	poll_ms = outcome == START_STARVED ? STARVED_RETRY_MS : POLL_MS;
	report(Min(next_look, ms_from_now(poll_ms)), outcome);
	proc_exit(0);
}
