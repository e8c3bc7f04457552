/*
 * start.c
 *		Starting our background workers.
 *
 * Only the launcher is restarted by the postmaster.  Schedulers and runners are
 * not: the launcher finds out what they have left undone, and where a database
 * or role is gone, nobody tries for ever.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"

#include "workers/shared_state.h"
#include "workers/start.h"

#define LAUNCHER_RESTART_SECONDS 5

static void
describe_worker(BackgroundWorker *worker, const char *type, const char *function)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_library_name, "signalsmith", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function, sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_type, type, sizeof(worker->bgw_type));
	strlcpy(worker->bgw_name, type, sizeof(worker->bgw_name));
}

void
launcher_register(void)
{
	BackgroundWorker worker;

	describe_worker(&worker, "signalsmith launcher", "signalsmith_launcher_main");
	worker.bgw_restart_time = LAUNCHER_RESTART_SECONDS;
	RegisterBackgroundWorker(&worker);
}

BackgroundWorkerHandle *
scheduler_start(Oid database, pid_t notify_pid)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	describe_worker(&worker, "signalsmith scheduler", "signalsmith_scheduler_main");
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = notify_pid;
	return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : NULL;
}

bool
runner_start(const RunnerOrder *order)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	pid_t		pid;

	StaticAssertStmt(sizeof(RunnerOrder) <= BGW_EXTRALEN,
					 "a runner's order must fit into bgw_extra");
	describe_worker(&worker, "signalsmith runner", "signalsmith_runner_main");
	snprintf(worker.bgw_name, sizeof(worker.bgw_name),
			 "signalsmith runner for run_" INT64_FORMAT, order->run_id);
	memcpy(worker.bgw_extra, order, sizeof(RunnerOrder));
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return false;
	if (WaitForBackgroundWorkerStartup(handle, &pid) == BGWH_STOPPED)
		runner_slot_free(order->slot, order->database, order->run_id);
	return true;
}
