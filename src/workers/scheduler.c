/*
 * scheduler.c
 *		Looks into one database: queues what is due, starts runners, reports when
 *		to look again, and exits.
 *
 * It is connected as a superuser, so it evaluates nothing that a user of
 * signalsmith has written: only statements of ours, inside a scope.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "store/run_record.h"
#include "store/scope.h"
#include "workers/shared_state.h"
#include "workers/start.h"

typedef struct RunnableRun
{
	int64		run_id;
	Oid			owner;
	char	   *obstacle;		/* why its sync may not run; or NULL */
	int64		lease;
} RunnableRun;

/*
 * The first queued run of each sync that has none running, and running ones
 * whose runner is gone or has let its lease run out; oldest first.  A run that
 * was started in vain waits before the next try.
 */
static const char *const runnable_query =
"SELECT r.id, m.owner::oid::int8, signalsmith._obstacle_of(s.id), r.lease"
" FROM signalsmith.run r JOIN signalsmith.sync s ON s.id = r.sync_id"
"  JOIN signalsmith.model m ON m.id = s.model_id"
" WHERE (r.status = 'queued' AND NOT EXISTS ("
"    SELECT FROM signalsmith.run o WHERE o.sync_id = r.sync_id"
"     AND (o.status = 'running' OR o.status = 'queued' AND o.id < r.id))"
"  OR r.status = 'running' AND ("
"    NOT EXISTS (SELECT FROM pg_stat_get_activity(r.runner_pid) a"
"                WHERE a.backend_start = r.runner_started_at)"
"    OR r.phase = 'deliver' AND r.lease_until < clock_timestamp()))"
"  AND (r.start_after IS NULL OR r.start_after <= clock_timestamp())"
" ORDER BY r.queued_at, r.id LIMIT $1";

/* When a run that is live now may need somebody: the earliest such time. */
static const char *const next_check_query =
"SELECT min(CASE WHEN r.start_after > clock_timestamp() THEN r.start_after"
"  WHEN r.phase = 'deliver' THEN r.lease_until + interval '1 second' END)"
" FROM signalsmith.run r WHERE r.status IN ('queued', 'running')";

static const char *const note_start_query =
"UPDATE signalsmith.run SET starts = starts + 1,"
"  start_after = clock_timestamp() + make_interval(secs => least(60, 2 ^ least(starts, 6)))"
" WHERE id = $1";

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

static void
report(TimestampTz next_look, bool waiting)
{
	LauncherMail mail = {MAIL_REPORT, MyDatabaseId, next_look, waiting};

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

	begin_transaction();
	usable = extension_lookup(&owner, &version);
	if (usable && strcmp(version, SIGNALSMITH_VERSION) != 0)
	{
		ereport(LOG,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("signalsmith %s is installed in database \"%s\", but the library is version %s: its syncs wait",
						version, get_database_name(MyDatabaseId), SIGNALSMITH_VERSION),
				 errhint("Run ALTER EXTENSION signalsmith UPDATE in that database.")));
		usable = false;
	}
	commit_transaction();
	return usable;
}

static TimestampTz
queue_due_syncs(void)
{
	Scope		scope;
	Datum		next;
	bool		isnull;
	TimestampTz next_due;

	begin_transaction();
	scope_enter(&scope);
	scope_execute("SELECT signalsmith._enqueue_due()", "");
	next = scope_value(0, 1, &isnull);
	next_due = isnull ? DT_NOEND : DatumGetTimestampTz(next);
	scope_execute(next_check_query, "");
	next = scope_value(0, 1, &isnull);
	if (!isnull)
		next_due = Min(next_due, DatumGetTimestampTz(next));
	scope_leave(&scope);
	commit_transaction();
	return next_due;
}

static int
read_runnable(RunnableRun *runs, int size, MemoryContext context)
{
	Scope		scope;
	int			count;

	begin_transaction();
	scope_enter(&scope);
	count = scope_execute(runnable_query, "l", Int64GetDatum(size));
	for (int i = 0; i < count; i++)
	{
		runs[i].run_id = scope_int64(i, 1);
		runs[i].owner = (Oid) scope_int64(i, 2);
		runs[i].obstacle = scope_text(i, 3, context);
		runs[i].lease = scope_int64(i, 4);
	}
	scope_leave(&scope);
	commit_transaction();
	return count;
}

/*
 * A run whose owner cannot be connected as, or may not use the destination any
 * more, ends before it starts: nothing has been read or decrypted for it.
 */
static void
refuse_run(const RunnableRun *run)
{
	RunClaim	claim = {0};

	claim.run_id = run->run_id;
	claim.lease = run->lease;
	begin_transaction();
	(void) run_finish(&claim, "failed", run->obstacle, true);
	commit_transaction();
}

static void
note_start(const RunnableRun *run)
{
	Scope		scope;

	begin_transaction();
	scope_enter(&scope);
	scope_execute(note_start_query, "l", Int64GetDatum(run->run_id));
	scope_leave(&scope);
	commit_transaction();
}

/* False when no slot is free. */
static bool
start_run(const RunnableRun *run)
{
	RunnerOrder order = {MyDatabaseId, run->owner, run->run_id, -1};

	if (shared_state_exists())
	{
		if (runner_slot_is_taken(MyDatabaseId, run->run_id))
			return true;
		order.slot = runner_slot_take(MyDatabaseId, run->run_id);
		if (order.slot < 0)
			return false;
	}
	note_start(run);
	if (runner_start(&order))
		return true;
	if (order.slot >= 0)
		runner_slot_free(order.slot);
	return false;
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
	begin_transaction();
	scope_enter(&scope);
	scope_execute("SELECT count(*) FROM signalsmith.run WHERE status = 'running'", "");
	running = (int) scope_int64(0, 1);
	scope_leave(&scope);
	commit_transaction();
	return Max(0, setting_max_workers - running);
}

/* Returns whether runs are left that wait for a slot. */
static bool
start_runs(MemoryContext context)
{
	RunnableRun runs[MAX_WORKERS_LIMIT];
	int			count = read_runnable(runs, count_startable(), context);

	for (int i = 0; i < count; i++)
	{
		if (runs[i].obstacle)
			refuse_run(&runs[i]);
		else if (!start_run(&runs[i]))
			return true;
	}
	return count == MAX_WORKERS_LIMIT;
}

void
signalsmith_scheduler_main(Datum arg)
{
	MemoryContext context;
	TimestampTz next_look;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	pgstat_report_appname("signalsmith scheduler");

	context = AllocSetContextCreate(TopMemoryContext, "signalsmith scheduler",
									ALLOCSET_DEFAULT_SIZES);
	if (!extension_is_usable())
	{
		report(DT_NOEND, false);
		proc_exit(0);
	}
	next_look = queue_due_syncs();
	report(next_look, start_runs(context));
	proc_exit(0);
}
