/*
 * held_deletes.c
 *		The deletes that a run has held back: showing them, releasing some.
 *
 * Which ones somebody means is said by the bundle that a delete is in and its
 * place there, which _deletes_held has given out: so SQL does the matching of
 * keys.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "store/outbox.h"
#include "store/scope.h"
#include "store/table_writer.h"

SQL_FUNCTION(signalsmith_deletes_held);
SQL_FUNCTION(signalsmith_release_deletes);

/* --- reading bundles one by one --- */

typedef struct DeleteScan
{
	int64		run_id;
	MemoryContext context;		/* of the bundle at hand */
	Bundle		last;			/* its number and operation alone are kept */
	bool		begun;
} DeleteScan;

static DeleteScan
begin_scan(int64 run_id)
{
	DeleteScan	scan = {.run_id = run_id};

	scan.context = AllocSetContextCreate(CurrentMemoryContext,
										 "signalsmith held deletes",
										 ALLOCSET_DEFAULT_SIZES);
	return scan;
}

/* The next bundle of deletes, valid until the one after it; NULL at the end. */
static Bundle *
next_bundle(DeleteScan *scan)
{
	MemoryContext old_context;
	Bundle	   *bundle;

	CHECK_FOR_INTERRUPTS();
	MemoryContextReset(scan->context);
	old_context = MemoryContextSwitchTo(scan->context);
	bundle = outbox_next_bundle(scan->run_id, scan->begun ? &scan->last : NULL);
	MemoryContextSwitchTo(old_context);
	if (bundle == NULL || bundle->operation != OPERATION_DELETE)
		return NULL;
	scan->last = *bundle;
	scan->begun = true;
	return bundle;
}

/* --- showing --- */

static Datum
json_datum(Slice utf8, bool *isnull)
{
	char	   *json;

	*isnull = utf8.length == 0;
	if (*isnull)
		return (Datum) 0;
	json = pg_any_to_server(pnstrdup(utf8.data, utf8.length), utf8.length, PG_UTF8);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
}

static void
return_bundle(ReturnSetInfo *result, const Bundle *bundle)
{
	for (int i = 0; i < bundle->record_count; i++)
	{
		Datum		values[4] = {0};
		bool		nulls[4] = {false};

		if (bundle->outcomes[i] != OUTCOME_OPEN)
			continue;
		values[0] = Int32GetDatum(bundle->sequence);
		values[1] = Int32GetDatum(i);
		values[2] = json_datum(bundle->records[i].key, &nulls[2]);
		values[3] = json_datum(bundle->records[i].identifier, &nulls[3]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/* _deletes_held(run bigint) */
Datum
signalsmith_deletes_held(PG_FUNCTION_ARGS)
{
	DeleteScan	scan;
	Bundle	   *bundle;

	InitMaterializedSRF(fcinfo, 0);
	scan = begin_scan(PG_GETARG_INT64(0));
	while ((bundle = next_bundle(&scan)) != NULL)
	{
		MemoryContext old_context = MemoryContextSwitchTo(scan.context);

		return_bundle((ReturnSetInfo *) fcinfo->resultinfo, bundle);
		MemoryContextSwitchTo(old_context);
	}
	return (Datum) 0;
}

/* --- releasing --- */

/* Places in bundles, in their order. */
typedef struct Places
{
	int			count;
	int			next;
	Datum	   *sequences;
	Datum	   *indexes;
} Places;

static Datum *
read_integers(ArrayType *array, int *count)
{
	Datum	   *elements;

	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT,
					  &elements, NULL, count);
	return elements;
}

static inline bool
next_place_is_in(const Places *places, const Bundle *bundle)
{
	return places->next < places->count &&
		DatumGetInt32(places->sequences[places->next]) == bundle->sequence;
}

/* Batches are no larger than the one that the plan has made largest here. */
static void
limits_of_bundle(const Bundle *bundle, OutboxLimits limits[OPERATION_COUNT])
{
	OutboxLimits largest = {1, 1};

	for (int batch = 0, i = 0; batch < bundle->batch_count; batch++)
	{
		OutboxLimits size = {0, 0};

		for (; i < (int) bundle->batch_ends[batch]; i++)
		{
			size.max_records++;
			size.max_bytes += (int) outbox_record_size(&bundle->records[i]);
		}
		largest.max_records = Max(largest.max_records, size.max_records);
		largest.max_bytes = Max(largest.max_bytes, size.max_bytes);
	}
	for (int i = 0; i < OPERATION_COUNT; i++)
		limits[i] = largest;
}

/*
 * Copies the chosen records of a bundle to the writer, with idempotency keys of
 * their own since nothing was sent of them, and withdraws them here.
 */
static void
release_from_bundle(Bundle *bundle, Places *places, OutboxWriter *writer)
{
	Scope		scope;

	while (next_place_is_in(places, bundle))
	{
		int			index = DatumGetInt32(places->indexes[places->next++]);

		if (index < 0 || index >= bundle->record_count || bundle->outcomes[index] != OUTCOME_OPEN)
			elog(ERROR, "there is no delete at place %d", index);
		outbox_writer_add(writer, OPERATION_DELETE, bundle->keys[index],
						  bundle->hashes[index], &bundle->records[index]);
		bundle->outcomes[index] = OUTCOME_WITHDRAWN;
	}
	scope_enter(&scope);
	outbox_store_outcomes(bundle->run_id, list_make1(bundle));
	scope_leave(&scope);
}

/* _release_deletes(from_run bigint, to_run bigint, sequences int[], indexes int[]) */
Datum
signalsmith_release_deletes(PG_FUNCTION_ARGS)
{
	DeleteScan	scan = begin_scan(PG_GETARG_INT64(0));
	Places		places = {0};
	OutboxWriter *writer = NULL;
	int64		bytes_staged;
	int			index_count;
	Bundle	   *bundle;

	places.sequences = read_integers(PG_GETARG_ARRAYTYPE_P(2), &places.count);
	places.indexes = read_integers(PG_GETARG_ARRAYTYPE_P(3), &index_count);
	if (places.count == 0 || places.count != index_count)
		elog(ERROR, "places of deletes are incomplete");

	table_writer_prepare_transaction();
	while (places.next < places.count && (bundle = next_bundle(&scan)) != NULL)
	{
		if (!next_place_is_in(&places, bundle))
			continue;
		if (writer == NULL)
		{
			OutboxLimits limits[OPERATION_COUNT];

			limits_of_bundle(bundle, limits);
			writer = outbox_writer_create(PG_GETARG_INT64(1), bundle->key_width, limits);
		}
		release_from_bundle(bundle, &places, writer);
	}
	if (places.next < places.count)
		elog(ERROR, "there is no bundle %d", DatumGetInt32(places.sequences[places.next]));
	PG_RETURN_INT64(outbox_writer_finish(writer, &bytes_staged));
}
