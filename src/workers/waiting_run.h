/*
 * waiting_run.h
 *		The runs that wait for a runner, and in which order they get one.
 */
#ifndef SIGNALSMITH_WAITING_RUN_H
#define SIGNALSMITH_WAITING_RUN_H

#include "postgres.h"

typedef struct WaitingRun
{
	int64		run_id;
	int64		sync_id;
	Oid			owner;
	int64		lease;
	int			stale_pid;		/* a runner that gives no sign of life; or 0 */
	bool		dismissed;		/* it has been asked to leave */
	bool		crashed;		/* the server did, while a runner was at it */
	int			crashes;		/* before that, since it last got anywhere */
	int			starts;			/* likewise */
} WaitingRun;

/* Those whose turn it is, up to "size". */
extern int	waiting_runs_read(WaitingRun *runs, int size);

/* Why its sync may not run (in "context"), or NULL. */
extern char *waiting_run_obstacle(const WaitingRun *run, MemoryContext context);

/*
 * Locks a run and its sync until the transaction ends.  False when somebody else
 * has: his transaction may stay open for hours, and everybody waits for us.
 */
extern bool waiting_run_lock(const WaitingRun *run);

/*
 * Each of these is a transaction of its own, and false when somebody else has
 * locked the run.  A start is noted before it is made, so that it counts if it
 * brings the server down; forgotten, it has not been made.
 */
extern bool waiting_run_note_start(const WaitingRun *run);
extern bool waiting_run_forget_start(const WaitingRun *run);
extern bool waiting_run_note_dismissal(const WaitingRun *run);

/* How many runs of this database are at work, as far as anybody knows. */
extern int	running_runs_count(void);

#endif							/* SIGNALSMITH_WAITING_RUN_H */
