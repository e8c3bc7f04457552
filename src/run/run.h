/*
 * run.h
 *		One run of a sync, from claim to end.
 */
#ifndef SIGNALSMITH_RUN_H
#define SIGNALSMITH_RUN_H

#include "postgres.h"

/* Shows how far the plan is, while its transaction is open. */
typedef void (*ShowProgress) (int64 rows_read, int64 changes_planned);

/*
 * Claims the run and carries it out, as the user that this process is connected
 * as; does nothing when somebody else has it or it is over.  Must be called
 * outside a transaction.  An error that leaves the run as it is, to be taken up
 * again, is raised; every other one ends the run.
 */
extern void run_execute(int64 run_id, ShowProgress show_progress);

#endif							/* SIGNALSMITH_RUN_H */
