/*
 * planning.h
 *		The first phase of a run: what has to be sent, committed to the outbox.
 */
#ifndef SIGNALSMITH_PLANNING_H
#define SIGNALSMITH_PLANNING_H

#include "postgres.h"

#include "run/run.h"
#include "store/run_record.h"

/*
 * Runs the model and commits the plan, in one transaction: read only and
 * repeatable for the model's query, which runs as the current user.  Raises
 * whatever makes the model unable to run; nothing is planned then.
 */
extern void run_plan(RunClaim *claim, ShowProgress show_progress);

#endif							/* SIGNALSMITH_PLANNING_H */
