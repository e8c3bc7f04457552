/*
 * planning.c
 *		The first phase of a run: what has to be sent, committed to the outbox.
 *
 * The model, the comparison with the snapshot and the staging are one
 * transaction with one snapshot of the database.  Secrets are not touched here:
 * while the owner's SQL runs, there are none in this process.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "base/fault.h"
#include "base/settings.h"
#include "run/planning.h"
#include "store/row_failure.h"
#include "target/target_check.h"

/* Fewer deletes than this are never held. */
#define GUARD_MINIMUM_ROWS 10

/* Takes the changes that the plan finds and stages them. */
typedef struct StagingSink
{
	PlanSink	sink;
	OutboxWriter *outbox;
	RowFailureWriter *failures;
} StagingSink;

static void
stage_change(PlanSink *sink, const PlannedChange *change)
{
	StagingSink *staging = (StagingSink *) sink;

	outbox_writer_add(staging->outbox, change->operation, change->key,
					  change->hash, &change->record);
}

static void
stage_rejection(PlanSink *sink, const RejectedRow *row)
{
	StagingSink *staging = (StagingSink *) sink;
	RowFailure	failure = {0};

	failure.operation = row->operation;
	failure.key = row->key;
	failure.code = row->code;
	failure.message = row->message;
	failure.skippable = row->skippable;
	failure.packed_key = row->packed_key;
	failure.row_hash = row->hash;
	row_failure_writer_add(staging->failures, &failure);
}

static void
stage_withdrawal(PlanSink *sink, KeyTest is_withdrawn, void *arg,
				 int64 withdrawn[OPERATION_COUNT])
{
	outbox_writer_withdraw(((StagingSink *) sink)->outbox, is_withdrawn, arg,
						   withdrawn);
}

static int64
count_changes(const PlanFigures *figures)
{
	return figures->changes[OPERATION_CREATE] +
		figures->changes[OPERATION_UPDATE] +
		figures->changes[OPERATION_DELETE];
}

static void
show_plan_progress(void *arg, const PlanFigures *figures)
{
	((ShowProgress) arg) (figures->rows_processed, count_changes(figures));
}

void
run_batch_limits(const SyncDefinition *definition, const Connector *connector,
				 OutboxLimits limits[OPERATION_COUNT])
{
	for (int i = 0; i < OPERATION_COUNT; i++)
	{
		ConnectorLimits able = connector_limits(connector, (Operation) i);

		limits[i].max_records = able.batch_size > 0 ? able.batch_size : setting_batch_size;
		if (definition->batch_size > 0)
			limits[i].max_records = Min(limits[i].max_records, definition->batch_size);
		limits[i].max_bytes = able.max_bytes;
	}
}

PlanOptions
run_plan_options(const Connector *connector)
{
	PlanOptions options = {
		.with_ids = connector_captures(connector),
		.update_unknown = connector_table(connector) != NULL ||
			connector_lookup_when(connector) >= LOOKUP_MISSING
	};

	return options;
}

/* Before the model runs: a connector that cannot do it need not be asked. */
static Connector *
prepare_connector(const SyncDefinition *definition, OutboxLimits limits[OPERATION_COUNT])
{
	Connector  *connector = connector_of_sync(definition);

	connector_check_mode(connector, definition->mode);
	if (connector_table(connector) != NULL)
		target_check(connector_table(connector), definition);
	run_batch_limits(definition, connector, limits);
	return connector;
}

void
run_limit_lock_wait(void)
{
	char		value[32];

	if (LockTimeout > 0 || setting_lock_timeout == 0)
		return;
	snprintf(value, sizeof(value), "%d", setting_lock_timeout);
	(void) set_config_option("lock_timeout", value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * A background worker has no statement timer of its own: the role's
 * statement_timeout would not stop its model.
 */
static void
run_model(const SyncDefinition *definition, const PlanOptions *options,
		  PlanSink *sink, PlanFigures *figures)
{
	if (GetSessionUserId() != definition->owner)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the owner of model \"%s\" has changed since the run was started",
						definition->model_name),
				 errhint("Trigger the sync again: the next run is the new owner's.")));
	pgstat_report_activity(STATE_RUNNING, definition->query);
	if (StatementTimeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
	plan_changes(definition, options, sink, figures);
	disable_timeout(STATEMENT_TIMEOUT, false);
	pgstat_report_activity(STATE_RUNNING, "signalsmith: staging the plan");
}

bool
run_must_hold_deletes(const SyncDefinition *definition, const PlanFigures *figures)
{
	int64		deletes = figures->changes[OPERATION_DELETE];

	if (definition->hold_deletes)
		return deletes > 0;
	if (deletes <= GUARD_MINIMUM_ROWS)
		return false;
	if (figures->rows_processed == 0)
		return true;
	return deletes > figures->snapshot_rows * definition->max_delete_percent / 100.0;
}

static void
check_snapshot_key(const SyncDefinition *definition, const char *snapshot_key)
{
	if (definition->snapshot_key == NULL ||
		strcmp(definition->snapshot_key, snapshot_key) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the snapshot of sync \"%s\" was taken with another key or object",
					definition->sync_name),
			 errdetail("It was taken with %s; now it would be %s.",
					   definition->snapshot_key, snapshot_key),
			 errhint("Run SELECT signalsmith.reset_sync('%s') to forget it; the next run then sends every row.",
					 definition->sync_name)));
}

static void
plan_and_stage(RunClaim *claim, ShowProgress show_progress)
{
	SyncDefinition *definition = definition_read(claim->sync_id);
	Connector  *connector;
	OutboxLimits limits[OPERATION_COUNT];
	StagingSink staging;
	PlanOptions options;
	PlanFigures plan = {0};
	RunPlanFigures figures = {0};
	SkipList   *skips = skip_list_load(claim->sync_id);
	char	   *snapshot_key;

	run_limit_lock_wait();
	connector = prepare_connector(definition, limits);
	snapshot_key = plan_snapshot_key(definition);
	check_snapshot_key(definition, snapshot_key);

	staging.sink.change = stage_change;
	staging.sink.reject = stage_rejection;
	staging.sink.withdraw = stage_withdrawal;
	staging.outbox = outbox_writer_create(claim->run_id,
										  plan_key_width(definition), limits);
	staging.failures = row_failure_writer_create(claim->run_id, claim->sync_id);

	options = run_plan_options(connector);
	options.full_resync = claim->full_resync;
	options.skips = claim->full_resync ? NULL : skips;
	options.progress = show_plan_progress;
	options.progress_arg = show_progress;
	run_model(definition, &options, &staging.sink, &plan);
	FAULT_POINT("staging");

	row_failure_writer_finish(staging.failures);
	figures.batches_planned = outbox_writer_finish(staging.outbox,
												   &figures.bytes_staged);
	figures.rows_processed = plan.rows_processed;
	figures.rows_unchanged = plan.rows_unchanged;
	figures.rows_failed = plan.rows_rejected;
	figures.changes_planned = count_changes(&plan);
	if (run_must_hold_deletes(definition, &plan))
		figures.deletes_held = plan.changes[OPERATION_DELETE];
	figures.snapshot_rows = plan.snapshot_rows;
	figures.creates_supersede = plan.creates_supersede;
	figures.peak_memory = plan.peak_memory;
	figures.query_ms = plan.query_ms;
	figures.diff_ms = plan.diff_ms;
	figures.stage_ms = plan.stage_ms;

	/*
	 * The model has been read.  Somebody may have paused the sync meanwhile, or
	 * its schedule may have moved on: what follows takes rows as they are now.
	 */
	XactIsoLevel = XACT_READ_COMMITTED;
	run_record_plan(claim, definition, &figures, snapshot_key);
	skip_list_forget_unmet(skips);
}

void
run_plan(RunClaim *claim, ShowProgress show_progress)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactIsoLevel = XACT_REPEATABLE_READ;
	XactReadOnly = true;
	PushActiveSnapshot(GetTransactionSnapshot());

	plan_and_stage(claim, show_progress);

	PopActiveSnapshot();
	FAULT_POINT("before-plan-commit");
	CommitTransactionCommand();
	FAULT_POINT("after-plan-commit");
	pgstat_report_stat(true);
}
