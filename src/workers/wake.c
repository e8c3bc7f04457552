/*
 * wake.c
 *		What a backend sets in motion when its transaction commits.
 *
 * Wake-ups are hints: the queued run is the truth, and the launcher looks by
 * itself now and then.  So it does no harm that a prepared transaction wakes
 * nobody, or a rolled-back savepoint somebody.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/procarray.h"

#include "base/settings.h"
#include "workers/shared_state.h"
#include "workers/start.h"
#include "workers/wake.h"

/* As many as there can be at work. */
#define MAX_CANCELS MAX_WORKERS_LIMIT

static bool wake_pending = false;
static int	cancel_count = 0;
static int	cancel_pids[MAX_CANCELS];

void
wake_now(Oid database)
{
	LauncherMail mail = {MAIL_LOOK, database, 0, false, false};

	/* Our own DDL is played back by pg_upgrade, which may wake nobody. */
	if (IsBinaryUpgrade)
		return;
	if (shared_state_exists())
		launcher_send(&mail);
	else
		(void) scheduler_start(database, 0);
}

/* The process may be another one by now: it must at least be a neighbour. */
static void
cancel_runner(int pid)
{
	PGPROC	   *proc = BackendPidGetProc(pid);

	if (proc != NULL && proc->databaseId == MyDatabaseId)
		(void) kill(pid, SIGINT);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
	{
		if (wake_pending)
			wake_now(MyDatabaseId);
		for (int i = 0; i < cancel_count; i++)
			cancel_runner(cancel_pids[i]);
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
	{
		wake_pending = false;
		cancel_count = 0;
	}
}

void
wake_register(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
}

void
wake_at_commit(void)
{
	wake_pending = true;
}

void
cancel_runner_at_commit(int pid)
{
	if (cancel_count == MAX_CANCELS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("cannot cancel more than %d runs in one transaction",
						MAX_CANCELS),
				 errhint("Cancel the others in another transaction.")));
	cancel_pids[cancel_count++] = pid;
}
