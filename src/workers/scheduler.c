/*
 * scheduler.c
 *		Looks into one database: queues what is due, starts runners, reports when
 *		to look again, and exits.
 *
 * It is connected as a superuser, so it evaluates nothing that a user of
 * signalsmith has written: only statements of ours, inside a scope.
 */
#include "postgres.h"

#include <signal.h>

#include "commands/dbcommands.h"
#include "executor/spi.h"
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

typedef struct RunnableRun
{
	int64		run_id;
	Oid			owner;
	const char *obstacle;		/* why its sync may not run; or NULL */
	int64		lease;
	int			stale_pid;		/* a runner that gives no sign of life; or 0 */
	bool		dismissed;		/* it has been asked to leave */
	bool		crashed;		/* the server did, while a runner was at it */
	int			crashes;		/* before that, since it last got anywhere */
	int			starts;			/* likewise */
} RunnableRun;

/*
 * The first queued run of each sync that has none running, and running ones
 * whose runner is gone or has let its lease run out; oldest first.  A run that
 * was started in vain waits before the next try, a minute at most: if it is more,
 * the clock went back.
 */
static const char *const runnable_query =
"SELECT r.id, m.owner::oid::int8, signalsmith._obstacle_of(s.id), r.lease,"
"  (SELECT a.pid FROM pg_stat_get_activity(r.runner_pid) a"
"   WHERE r.status = 'running' AND a.backend_start = r.runner_started_at)::int8,"
"  r.dismissed,"
"  r.runner_started_at > pg_postmaster_start_time() AND r.runner_started_at < $2,"
"  r.crashes::int8, r.starts::int8"
" FROM signalsmith.run r JOIN signalsmith.sync s ON s.id = r.sync_id"
"  JOIN signalsmith.model m ON m.id = s.model_id"
" WHERE (r.status = 'queued' AND NOT EXISTS ("
"    SELECT FROM signalsmith.run o WHERE o.sync_id = r.sync_id"
"     AND (o.status = 'running' OR o.status = 'queued' AND o.id < r.id))"
"  OR r.status = 'running' AND ("
"    NOT EXISTS (SELECT FROM pg_stat_get_activity(r.runner_pid) a"
"                WHERE a.backend_start = r.runner_started_at)"
"    OR r.phase = 'deliver' AND r.lease_until < clock_timestamp()))"
"  AND (r.start_after IS NULL OR r.start_after <= clock_timestamp()"
"   OR r.start_after > clock_timestamp() + interval '2 minutes')"
" ORDER BY r.queued_at, r.id LIMIT $1";

/*
 * When a run that is live now may need somebody: the earliest such time.  One
 * that delivers says until when it holds its lease; others may do so by then.
 */
static const char *const next_check_query =
"SELECT min(CASE WHEN r.start_after > clock_timestamp() THEN r.start_after"
"  WHEN r.phase = 'deliver' THEN r.lease_until + interval '1 second'"
"  ELSE clock_timestamp() + make_interval(secs => $1) END)"
" FROM signalsmith.run r WHERE r.status IN ('queued', 'running')";

/* The sync before the run: whoever locks both does it in this order. */
static const char *const lock_sync_query =
"SELECT FROM signalsmith.sync WHERE id = (SELECT sync_id FROM signalsmith.run WHERE id = $1)"
" FOR NO KEY UPDATE SKIP LOCKED";

static const char *const lock_run_query =
"SELECT FROM signalsmith.run WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED";

static const char *const note_start_query =
"UPDATE signalsmith.run SET starts = starts + 1, crashes = crashes + $2,"
"  start_after = clock_timestamp() + make_interval(secs => CASE WHEN starts < 10 THEN least(8, 2 ^ starts) ELSE 60 END)"
" WHERE id = $1";

static const char *const dismiss_query =
"UPDATE signalsmith.run SET dismissed = true, start_after = clock_timestamp() + interval '2 seconds'"
" WHERE id = $1";

static const char *const forget_start_query =
"UPDATE signalsmith.run SET starts = starts - 1, crashes = crashes - $2, start_after = NULL"
" WHERE id = $1";

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

static int
read_runnable(RunnableRun *runs, int size, MemoryContext context)
{
	Scope		scope;
	int			count;

	transaction_begin();
	scope_enter(&scope);
	count = scope_execute(runnable_query, "lz", Int64GetDatum(size),
						  TimestampTzGetDatum(shared_state_initialized_at()));
	for (int i = 0; i < count; i++)
	{
		runs[i].run_id = scope_int64(i, 1);
		runs[i].owner = (Oid) scope_int64(i, 2);
		runs[i].obstacle = scope_text(i, 3, context);
		runs[i].lease = scope_int64(i, 4);
		runs[i].stale_pid = (int) scope_int64(i, 5);
		runs[i].dismissed = scope_bool(i, 6);
		runs[i].crashed = scope_bool(i, 7);
		runs[i].crashes = (int) scope_int64(i, 8);
		runs[i].starts = (int) scope_int64(i, 9);
	}
	scope_leave(&scope);
	transaction_commit();
	return count;
}

/*
 * Locks a run and its sync until the transaction ends.  False when somebody else
 * has: his transaction may stay open for hours, and everybody waits for us.
 */
static bool
lock_run(const RunnableRun *run)
{
	Scope		scope;
	bool		locked;

	scope_enter(&scope);
	locked = scope_execute(lock_sync_query, "l", Int64GetDatum(run->run_id)) > 0 &&
		scope_execute(lock_run_query, "l", Int64GetDatum(run->run_id)) > 0;
	scope_leave(&scope);
	return locked;
}

/*
 * A run whose owner cannot be connected as, or may not use the destination any
 * more, ends before it starts: nothing has been read or decrypted for it.  One
 * that the server has crashed in too often is not started again.
 */
static StartOutcome
refuse_run(const RunnableRun *run)
{
	RunClaim	claim = {0};
	bool		locked;

	claim.run_id = run->run_id;
	claim.lease = run->lease;
	transaction_begin();
	locked = lock_run(run);
	if (locked)
		(void) run_finish(&claim, "failed", run->obstacle, true);
	transaction_commit();
	return locked ? START_DONE : START_LOCKED;
}

/* False when somebody else has locked the run. */
static bool
update_run(const RunnableRun *run, const char *query)
{
	Scope		scope;
	bool		locked;

	transaction_begin();
	locked = lock_run(run);
	if (locked)
	{
		scope_enter(&scope);
		scope_execute(query, "li", Int64GetDatum(run->run_id),
					  Int32GetDatum(run->crashed ? 1 : 0));
		scope_leave(&scope);
	}
	transaction_commit();
	return locked;
}

/*
 * A runner that gives no sign of life is asked to leave, for it may be the clock
 * that was set; if it is still there the next time, the run is taken from it.
 */
static StartOutcome
dismiss_runner(const RunnableRun *run)
{
	if (!update_run(run, dismiss_query))
		return START_LOCKED;
	(void) kill(run->stale_pid, SIGTERM);
	return START_DONE;
}

/* The start is noted before: it counts if it brings the server down. */
static StartOutcome
start_run(const RunnableRun *run)
{
	RunnerOrder order = {MyDatabaseId, run->owner, run->run_id, -1};
	StartOutcome outcome = START_LOCKED;

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
	if (update_run(run, note_start_query))
	{
		if (runner_start(&order))
			return START_DONE;
		(void) update_run(run, forget_start_query);
		outcome = START_STARVED;
	}
	runner_slot_free(order.slot, order.database, order.run_id);
	return outcome;
}

/*
 * Without shared memory nobody counts the runners of the cluster: then
 * max_workers bounds those of this database.
 */
static int
count_startable(void)
{
	Scope		scope;
	int			running;

	if (shared_state_exists())
		return MAX_WORKERS_LIMIT;
	transaction_begin();
	scope_enter(&scope);
	scope_execute("SELECT count(*) FROM signalsmith.run WHERE status = 'running'", "");
	running = (int) scope_int64(0, 1);
	scope_leave(&scope);
	transaction_commit();
	return Max(0, setting_max_workers - running);
}

/* Starts runs until one has to wait for a slot; lowers *next_look. */
static StartOutcome
start_runs(MemoryContext context, TimestampTz *next_look)
{
	StartOutcome outcome = START_DONE;
	RunnableRun runs[MAX_WORKERS_LIMIT];
	int			count = read_runnable(runs, count_startable(), context);

	for (int i = 0; i < count && outcome == START_DONE; i++)
	{
		if (runs[i].crashed && runs[i].crashes + 1 >= MAX_CRASHES)
			runs[i].obstacle = QUARANTINE_REASON;
		else if (runs[i].starts >= MAX_STARTS)
			runs[i].obstacle = FUTILE_REASON;
		outcome = runs[i].obstacle ? refuse_run(&runs[i]) : start_run(&runs[i]);
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

		/* The postmaster signals us when a runner of ours has ended. */
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
