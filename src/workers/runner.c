/*
 * runner.c
 *		The process of one run.
 *
 * It is connected as the owner of the sync: what the model's SQL could climb to
 * is what its owner may do anyway.  It carries out one run and exits.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"

#include "run/run.h"
#include "workers/shared_state.h"
#include "workers/start.h"
#include "workers/wake.h"

static RunnerOrder order;

/*
 * However the runner ends, its slot is free, and somebody looks whether its run
 * is over and which one waits.
 */
static void
leave_slot(int code, Datum arg)
{
	runner_slot_free(order.slot, order.database, order.run_id);
	wake_now(order.database);
}

void
signalsmith_runner_main(Datum arg)
{
	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(RunnerOrder));
	before_shmem_exit(leave_slot, (Datum) 0);
	runner_slot_use(order.slot);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(order.database, order.owner, 0);
	pgstat_report_appname("signalsmith runner");

	run_execute(order.run_id, runner_show_progress);
	proc_exit(0);
}
