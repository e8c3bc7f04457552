/*
 * preview.c
 *		What a run would do now, planned and thrown away.
 *
 * The model runs as the owner of the sync, as in a run: in a
 * security-restricted operation, read only, and never with more rights than the
 * owner has.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "run/planning.h"
#include "sql/call.h"
#include "sql/preview.h"
#include "store/scope.h"

const Operation preview_order[OPERATION_COUNT] = {
	OPERATION_DELETE, OPERATION_UPDATE, OPERATION_CREATE
};

/* --- the sink --- */

static Slice
copy_slice(Slice slice)
{
	if (slice.length > 0)
		slice.data = pnstrdup(slice.data, slice.length);
	return slice;
}

static void
keep_change(PlanSink *sink, const PlannedChange *planned)
{
	Preview    *preview = (Preview *) sink;
	List	  **kept = &preview->kept[planned->operation];
	MemoryContext old_context;
	PreviewedChange *change;

	if (list_length(*kept) >= preview->max_kept)
		return;
	old_context = MemoryContextSwitchTo(preview->context);
	change = palloc(sizeof(PreviewedChange));
	change->key = planned->key;
	change->record.key = copy_slice(planned->record.key);
	change->record.identifier = copy_slice(planned->record.identifier);
	change->record.id = copy_slice(planned->record.id);
	change->record.version = copy_slice(planned->record.version);
	change->record.data = copy_slice(planned->record.data);
	*kept = lappend(*kept, change);
	MemoryContextSwitchTo(old_context);
}

static void
count_rejection(PlanSink *sink, const RejectedRow *row)
{
	Preview    *preview = (Preview *) sink;

	if (preview->rejected++ == 0)
		preview->first_reason = MemoryContextStrdup(preview->context, row->message);
}

/* Of rows whose changes were not kept, the planner's word on the operation counts. */
static void
drop_changes(PlanSink *sink, KeyTest is_withdrawn, void *arg,
			 int64 withdrawn[OPERATION_COUNT])
{
	Preview    *preview = (Preview *) sink;

	for (int i = 0; i < OPERATION_COUNT; i++)
	{
		bool		all_kept = list_length(preview->kept[i]) < preview->max_kept;
		int64		dropped = 0;
		ListCell   *cell;

		foreach(cell, preview->kept[i])
		{
			PreviewedChange *change = lfirst(cell);

			if (!is_withdrawn(arg, change->key))
				continue;
			dropped++;
			preview->kept[i] = foreach_delete_current(preview->kept[i], cell);
		}
		if (all_kept)
			withdrawn[i] = dropped;
	}
}

/* --- planning --- */

Preview *
preview_create(text *sync, int64 max_kept)
{
	Preview    *preview = palloc0(sizeof(Preview));

	preview->sink.change = keep_change;
	preview->sink.reject = count_rejection;
	preview->sink.withdraw = drop_changes;
	preview->context = CurrentMemoryContext;
	preview->max_kept = Max(0, max_kept);
	preview->definition =
		definition_read(find_for_caller("sync", text_to_cstring(sync), true));
	return preview;
}

void
preview_plan(Preview *preview)
{
	const SyncDefinition *definition = preview->definition;
	PlanOptions options = run_plan_options(connector_of_sync(definition));
	Scope		scope;

	options.skips = skip_list_load(definition->sync_id);
	owner_scope_enter(&scope, definition->owner);
	plan_changes(definition, &options, &preview->sink, &preview->figures);
	owner_scope_leave(&scope);

	preview->holds_deletes = run_must_hold_deletes(definition, &preview->figures);
}

int64
preview_count(const Preview *preview)
{
	int64		count = 0;

	for (int i = 0; i < OPERATION_COUNT; i++)
		count += preview->figures.changes[i];
	return count;
}

char *
preview_hold_reason(const Preview *preview)
{
	const PlanFigures *figures = &preview->figures;

	if (preview->definition->hold_deletes)
		return pstrdup(_("The server was promoted or recovered since the last run."));
	if (figures->rows_processed == 0)
		return pstrdup(_("The model returns no rows."));
	return psprintf(_("The model lacks %.1f %% of the %lld records sent before."),
					100.0 * figures->changes[OPERATION_DELETE] / figures->snapshot_rows,
					(long long) figures->snapshot_rows);
}

void
preview_tell(const Preview *preview)
{
	if (preview->holds_deletes)
		ereport(NOTICE,
				(errmsg_plural("%lld delete would be held until somebody approves it",
							   "%lld deletes would be held until somebody approves them",
							   (unsigned long) preview->figures.changes[OPERATION_DELETE],
							   (long long) preview->figures.changes[OPERATION_DELETE]),
				 errdetail_internal("%s", preview_hold_reason(preview))));
	if (preview->rejected > 0)
		ereport(NOTICE,
				(errmsg_plural("%lld row would be rejected before it is sent",
							   "%lld rows would be rejected before they are sent",
							   (unsigned long) preview->rejected,
							   (long long) preview->rejected),
				 errdetail("The first one: %s", preview->first_reason)));
}
