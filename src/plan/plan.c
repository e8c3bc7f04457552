/*
 * plan.c
 *		From a model's query to the changes that a destination needs.
 *
 * The snapshot is loaded, the query is run once with its rows going to our own
 * receiver, and what is not as it was goes to the sink (section 4 of the
 * design): receiver.c has what each row goes through, diff.c the comparison,
 * changes.c what is made of a difference.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "executor/executor.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/settings.h"
#include "plan/fixed_settings.h"
#include "plan/model_query.h"
#include "plan/planner.h"
#include "store/table_writer.h"

void
model_check_mappings(const SyncDefinition *definition)
{
	int			nest_level = fixed_settings_enter(definition->search_path);
	ModelQuery *query = model_query_build(definition);

	(void) record_writer_create(definition, query);
	(void) row_keyer_create(definition, query);
	model_query_check_startable(query->query, query->source);
	fixed_settings_leave(nest_level);
}

static Planner *
create_planner(const SyncDefinition *definition, const PlanOptions *options,
			   PlanSink *sink, PlanFigures *figures, const ModelQuery *query)
{
	Planner    *planner = palloc0(sizeof(Planner));

	planner->definition = definition;
	planner->options = options;
	planner->sink = sink;
	planner->figures = figures;
	planner->context = CurrentMemoryContext;
	planner->row_context = AllocSetContextCreate(CurrentMemoryContext,
												 "signalsmith row",
												 ALLOCSET_DEFAULT_SIZES);
	planner->keyer = row_keyer_create(definition, query);
	planner->hasher = row_hasher_create(definition, query);
	planner->writer = record_writer_create(definition, query);
	planner->stores_identities = plan_stores_identities(definition);
	planner_prepare_receiver(planner);
	return planner;
}

static Size
memory_limit(void)
{
	return (Size) setting_diff_mem * 1024;
}

static void
load_snapshot(Planner *planner)
{
	SnapshotMap *map = snapshot_map_load(planner->definition->sync_id,
										 planner->keyer->width);

	planner->diff = diff_create(map, memory_limit(), planner->options->full_resync);
	planner->figures->snapshot_rows = planner->diff->live_count;
	planner->figures->creates_supersede = planner->diff->has_doubtful;
}

/*
 * A parallel plan forbids assigning the transaction's xid and command id once
 * it runs, and the sink may write; so that comes first.  On a standby, where a
 * preview is all there can be, there is none to assign.
 */
static void
run_query(Planner *planner, const ModelQuery *query)
{
	List	   *rewritten = pg_rewrite_query(query->query);
	const char *text = query->source->joined.data;
	PlannedStmt *plan;
	QueryDesc  *description;

	if (!RecoveryInProgress())
		table_writer_prepare_transaction();
	plan = pg_plan_query(linitial_node(Query, rewritten), text,
						 CURSOR_OPT_PARALLEL_OK, NULL);
	description = CreateQueryDesc(plan, text, GetActiveSnapshot(), InvalidSnapshot,
								  &planner->receiver, NULL, NULL, 0);
	ExecutorStart(description, 0);
	executor_run_once(description);
	ExecutorFinish(description);
	ExecutorEnd(description);
	FreeQueryDesc(description);
}

static double
milliseconds_since(instr_time begin)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, begin);
	return INSTR_TIME_GET_MILLISEC(now);
}

/* What is left for settling undecided rows: always something. */
static Size
memory_left(const Diff *diff)
{
	Size		limit = memory_limit();
	Size		kept = diff_kept_memory(diff);

	return Max(limit / 4, limit - Min(kept, limit));
}

/*
 * Once all rows are in.  A comparison in memory knows all entries, but perhaps
 * not all rows; one that streams knows of an entry what has become of it when
 * all rows are settled.
 */
static void
settle_rest(Planner *planner)
{
	Diff	   *diff = planner->diff;
	bool		mirror = planner->definition->mode == MODE_MIRROR;
	bool		all_seen;

	planner_resolve_deferred(planner);
	all_seen = planner->figures->rows_unchanged == diff->live_count;
	planner_withdraw_repeated(planner);
	if (mirror && !diff->streaming)
		planner_delete_unseen(planner);
	diff_release(diff);
	if (planner_undecided_count(planner) > 0)
		planner_settle_undecided(planner, memory_left(diff));
	if (mirror && diff->streaming && !all_seen)
		planner_delete_unseen(planner);
}

/* Loads, runs, compares; fills in the figures. */
static void
plan_in_context(const SyncDefinition *definition, const PlanOptions *options,
				PlanSink *sink, PlanFigures *figures)
{
	ModelQuery *query = model_query_build(definition);
	Planner    *planner = create_planner(definition, options, sink, figures, query);
	instr_time	begin;
	double		load_ms;
	double		run_ms;

	INSTR_TIME_SET_CURRENT(begin);
	load_snapshot(planner);
	load_ms = milliseconds_since(begin);

	INSTR_TIME_SET_CURRENT(begin);
	run_query(planner, query);
	run_ms = milliseconds_since(begin);
	planner_sum_times(planner);
	figures->stage_ms = Min(figures->stage_ms, run_ms);
	figures->diff_ms = Min(figures->diff_ms, run_ms - figures->stage_ms);
	figures->query_ms = run_ms - figures->diff_ms - figures->stage_ms;
	figures->diff_ms += load_ms;

	INSTR_TIME_SET_CURRENT(begin);
	settle_rest(planner);
	figures->stage_ms += milliseconds_since(begin);
	figures->peak_memory = planner->diff->peak_memory;
}

void
plan_changes(const SyncDefinition *definition, const PlanOptions *options,
			 PlanSink *sink, PlanFigures *figures)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "signalsmith plan",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	int			nest_level = fixed_settings_enter(definition->search_path);

	memset(figures, 0, sizeof(PlanFigures));
	PushActiveSnapshot(GetTransactionSnapshot());
	plan_in_context(definition, options, sink, figures);
	PopActiveSnapshot();

	fixed_settings_leave(nest_level);
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
}
