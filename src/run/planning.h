/*
 * planning.h
 *		The first phase of a run: what has to be sent, committed to the outbox.
 */
#ifndef SIGNALSMITH_PLANNING_H
#define SIGNALSMITH_PLANNING_H

#include "postgres.h"

#include "connector/connector.h"
#include "plan/plan.h"
#include "run/run.h"
#include "store/outbox.h"
#include "store/run_record.h"

/*
 * Runs the model and commits the plan, in one transaction: read only and
 * repeatable for the model's query, which runs as the current user.  Raises
 * whatever makes the model unable to run; nothing is planned then.
 */
extern void run_plan(RunClaim *claim, ShowProgress show_progress);

/*
 * The rules of a plan, which a preview applies too.
 *
 * Batches are as large as the sync wants and the connector can.
 */
extern void run_batch_limits(const SyncDefinition *definition,
							 const Connector *connector,
							 OutboxLimits limits[OPERATION_COUNT]);

/* What the connector asks of a plan, beyond the definition. */
extern PlanOptions run_plan_options(const Connector *connector);

/*
 * Deletes beyond the sync's threshold wait for somebody to approve them: most
 * often the model is wrong, not the world.  After a promotion or a recovery all
 * of them wait.
 */
extern bool run_must_hold_deletes(const SyncDefinition *definition,
								  const PlanFigures *figures);

/*
 * Nobody watches a run that waits behind somebody's ALTER TABLE, so it does not
 * wait for ever.  Until the end of the transaction.
 */
extern void run_limit_lock_wait(void);

#endif							/* SIGNALSMITH_PLANNING_H */
