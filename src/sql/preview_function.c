/*
 * preview_function.c
 *		preview_sync: what a run would send now.
 *
 * The plan is made by the same code as a run's, but in the caller's own
 * transaction, so it sees what the caller has not committed.  The model runs as
 * the owner of the sync, as in a run: in a security-restricted operation, read
 * only, and never with more rights than the owner has.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "plan/plan.h"
#include "sql/call.h"
#include "store/definition.h"
#include "store/scope.h"

SQL_FUNCTION(signalsmith_preview_sync);

typedef struct PreviewedChange
{
	Operation	operation;
	RecordKey	key;
	char	   *key_json;		/* UTF-8 */
	char	   *data_json;		/* UTF-8; NULL for a delete */
} PreviewedChange;

typedef struct PreviewSink
{
	PlanSink	sink;
	MemoryContext context;		/* of what is kept */
	int64		max_rows;
	List	   *changes;		/* of PreviewedChange */
	int64		rejected;
	char	   *first_reason;
} PreviewSink;

static char *
copy_slice(Slice slice)
{
	return slice.length == 0 ? NULL : pnstrdup(slice.data, slice.length);
}

static void
keep_change(PlanSink *sink, const PlannedChange *planned)
{
	PreviewSink *preview = (PreviewSink *) sink;
	MemoryContext old_context;
	PreviewedChange *change;

	if (list_length(preview->changes) >= preview->max_rows)
		return;
	old_context = MemoryContextSwitchTo(preview->context);
	change = palloc(sizeof(PreviewedChange));
	change->operation = planned->operation;
	change->key = planned->key;
	change->key_json = copy_slice(planned->record.key);
	change->data_json = copy_slice(planned->record.data);
	preview->changes = lappend(preview->changes, change);
	MemoryContextSwitchTo(old_context);
}

static void
count_rejection(PlanSink *sink, Operation operation, Slice key,
				const char *code, const char *message)
{
	PreviewSink *preview = (PreviewSink *) sink;

	if (preview->rejected++ == 0)
		preview->first_reason = MemoryContextStrdup(preview->context, message);
}

static int
compare_keys(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(RecordKey));
}

static void
drop_changes(PlanSink *sink, const RecordKey *keys, int key_count,
			 int64 withdrawn[OPERATION_COUNT])
{
	PreviewSink *preview = (PreviewSink *) sink;
	ListCell   *cell;

	foreach(cell, preview->changes)
	{
		PreviewedChange *change = lfirst(cell);

		if (bsearch(&change->key, keys, key_count, sizeof(RecordKey), compare_keys) == NULL)
			continue;
		withdrawn[change->operation]++;
		preview->changes = foreach_delete_current(preview->changes, cell);
	}
}

static void
plan_as_owner(const SyncDefinition *definition, PreviewSink *preview)
{
	PlanOptions options = {0};
	PlanFigures figures = {0};
	Scope		scope;

	owner_scope_enter(&scope, definition->owner);
	plan_changes(definition, &options, &preview->sink, &figures);
	owner_scope_leave(&scope);
}

static Datum
json_datum(const char *utf8)
{
	char	   *json = pg_any_to_server(utf8, strlen(utf8), PG_UTF8);

	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
}

static void
return_changes(ReturnSetInfo *result, const PreviewSink *preview)
{
	ListCell   *cell;

	foreach(cell, preview->changes)
	{
		const PreviewedChange *change = lfirst(cell);
		Datum		values[3] = {0};
		bool		nulls[3] = {false};

		values[0] = CStringGetTextDatum(operation_name(change->operation));
		values[1] = json_datum(change->key_json);
		nulls[2] = change->data_json == NULL;
		if (!nulls[2])
			values[2] = json_datum(change->data_json);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

static void
tell_rejections(const PreviewSink *preview)
{
	if (preview->rejected > 0)
		ereport(NOTICE,
				(errmsg_plural("%lld row would be rejected before it is sent",
							   "%lld rows would be rejected before they are sent",
							   (unsigned long) preview->rejected,
							   (long long) preview->rejected),
				 errdetail("The first one: %s", preview->first_reason)));
}

Datum
signalsmith_preview_sync(PG_FUNCTION_ARGS)
{
	PreviewSink preview = {0};
	SyncDefinition *definition;
	int64		sync_id;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("sync and max_rows must not be null")));
	InitMaterializedSRF(fcinfo, 0);

	preview.sink.change = keep_change;
	preview.sink.reject = count_rejection;
	preview.sink.withdraw = drop_changes;
	preview.context = CurrentMemoryContext;
	preview.max_rows = Max(0, PG_GETARG_INT32(1));

	sync_id = find_for_caller("sync", text_to_cstring(PG_GETARG_TEXT_PP(0)), true);
	definition = definition_read(sync_id);
	plan_as_owner(definition, &preview);
	tell_rejections(&preview);
	return_changes((ReturnSetInfo *) fcinfo->resultinfo, &preview);
	return (Datum) 0;
}
