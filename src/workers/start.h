/*
 * start.h
 *		Starting our background workers.
 */
#ifndef SIGNALSMITH_START_H
#define SIGNALSMITH_START_H

#include "postgres.h"

#include "postmaster/bgworker.h"

/* What a runner is told: travels in bgw_extra. */
typedef struct RunnerOrder
{
	Oid			database;
	Oid			owner;			/* whom it connects as */
	int64		run_id;
	int			slot;			/* -1: none */
} RunnerOrder;

/* At preload time: registers the launcher. */
extern void launcher_register(void);

/*
 * Starts a scheduler in a database; NULL: no slot for a background worker is
 * free.  notify_pid gets SIGUSR1 when its state changes (0: nobody).
 */
extern BackgroundWorkerHandle *scheduler_start(Oid database, pid_t notify_pid);

/*
 * Starts a runner and waits until it has started, or failed to, which its run
 * tells.  False: no slot for a background worker is free.
 */
extern bool runner_start(const RunnerOrder *order);

extern PGDLLEXPORT void signalsmith_launcher_main(Datum arg);
extern PGDLLEXPORT void signalsmith_scheduler_main(Datum arg);
extern PGDLLEXPORT void signalsmith_runner_main(Datum arg);

#endif							/* SIGNALSMITH_START_H */
