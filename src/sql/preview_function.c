/*
 * preview_function.c
 *		preview_sync and preview_counts: the changes that a run would send now.
 *
 * Deletes that the run would hold are shown too, after what it would send, and a
 * NOTICE says that they would wait.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/compat.h"
#include "sql/preview.h"

SQL_FUNCTION(signalsmith_preview_sync);
SQL_FUNCTION(signalsmith_preview_counts);

/* --- changes --- */

static Datum
json_datum(Slice utf8)
{
	char	   *json = pg_any_to_server(pnstrdup(utf8.data, utf8.length),
										utf8.length, PG_UTF8);

	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
}

/* Returns how many more may be shown. */
static int64
return_changes(ReturnSetInfo *result, const Preview *preview, Operation operation,
			   int64 room)
{
	ListCell   *cell;

	foreach(cell, preview->kept[operation])
	{
		const PreviewedChange *change = lfirst(cell);
		Datum		values[3] = {0};
		bool		nulls[3] = {false};

		if (room-- <= 0)
			return 0;
		values[0] = CStringGetTextDatum(operation_name(operation));
		values[1] = json_datum(change->record.key);
		nulls[2] = operation == OPERATION_DELETE;
		if (!nulls[2])
			values[2] = json_datum(change->record.data);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return room;
}

/* In the order of sending; what would be held comes last. */
static void
return_all_changes(ReturnSetInfo *result, const Preview *preview)
{
	int64		room = preview->max_kept;

	for (int i = 0; i < OPERATION_COUNT; i++)
		if (preview_order[i] != OPERATION_DELETE || !preview->holds_deletes)
			room = return_changes(result, preview, preview_order[i], room);
	if (preview->holds_deletes)
		return_changes(result, preview, OPERATION_DELETE, room);
}

/* Said when not everything is shown. */
static void
tell_counts(const Preview *preview)
{
	const int64 *changes = preview->figures.changes;

	if (preview_count(preview) > preview->max_kept || preview->max_kept == 0)
		ereport(NOTICE,
				(errmsg("changes in all: %lld creates, %lld updates, %lld deletes",
						(long long) changes[OPERATION_CREATE],
						(long long) changes[OPERATION_UPDATE],
						(long long) changes[OPERATION_DELETE])));
}

/* preview_sync(sync text, max_rows integer, render boolean) */
Datum
signalsmith_preview_sync(PG_FUNCTION_ARGS)
{
	Preview    *preview;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("sync, max_rows and render must not be null")));
	InitMaterializedSRF(fcinfo, 0);
	if (PG_GETARG_BOOL(2))
	{
		preview_return_requests((ReturnSetInfo *) fcinfo->resultinfo,
								PG_GETARG_TEXT_PP(0), PG_GETARG_INT32(1), true);
		return (Datum) 0;
	}

	preview = preview_create(PG_GETARG_TEXT_PP(0), PG_GETARG_INT32(1));
	preview_plan(preview);
	tell_counts(preview);
	preview_tell(preview);
	return_all_changes((ReturnSetInfo *) fcinfo->resultinfo, preview);
	return (Datum) 0;
}

/* --- counts --- */

static void
return_count(ReturnSetInfo *result, const char *outcome, int64 count, const char *remark)
{
	Datum		values[3] = {0};
	bool		nulls[3] = {false};

	values[0] = CStringGetTextDatum(outcome);
	values[1] = Int64GetDatum(count);
	nulls[2] = remark == NULL;
	if (remark != NULL)
		values[2] = CStringGetTextDatum(remark);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* preview_counts(sync text) */
Datum
signalsmith_preview_counts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Preview    *preview;
	const int64 *changes;
	bool		held;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("sync must not be null")));
	InitMaterializedSRF(fcinfo, 0);

	preview = preview_create(PG_GETARG_TEXT_PP(0), 0);
	preview_plan(preview);
	changes = preview->figures.changes;
	held = preview->holds_deletes;
	return_count(result, "create", changes[OPERATION_CREATE], NULL);
	return_count(result, "update", changes[OPERATION_UPDATE], NULL);
	return_count(result, "delete", held ? 0 : changes[OPERATION_DELETE], NULL);
	return_count(result, "held", held ? changes[OPERATION_DELETE] : 0,
				 held ? psprintf(_("Deletes that wait for approval.  %s"),
								 preview_hold_reason(preview)) : NULL);
	return_count(result, "unchanged", preview->figures.rows_unchanged, NULL);
	return_count(result, "left alone", preview->figures.rows_left_alone,
				 preview->figures.rows_left_alone > 0 ?
				 psprintf(_("Changed or new, but not for mode \"%s\"."),
						  preview->definition->mode_name) : NULL);
	return_count(result, "skipped", preview->figures.rows_skipped,
				 preview->figures.rows_skipped > 0 ?
				 _("Failed before, and accepted as they are with skip_rows().") : NULL);
	return_count(result, "rejected", preview->rejected,
				 preview->rejected > 0 ?
				 psprintf(_("The first one: %s"), preview->first_reason) : NULL);
	return (Datum) 0;
}
