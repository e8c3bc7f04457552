/*
 * row_failure.c
 *		Rows that failed: what signalsmith.row_errors shows.
 *
 * A run can have as many failures as rows, so each costs one insert and keeps
 * no memory.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/fault.h"
#include "store/packed.h"
#include "store/row_failure.h"
#include "store/table_reader.h"
#include "store/table_writer.h"

/* Columns, in the table's order. */
enum RowFailureColumn
{
	FAILURE_RUN_ID = 1,
	FAILURE_NUMBER,
	FAILURE_SYNC_ID,
	FAILURE_OPERATION,
	FAILURE_KEY,
	FAILURE_OUTCOME,
	FAILURE_ATTEMPTS,
	FAILURE_HTTP_STATUS,
	FAILURE_CODE,
	FAILURE_MESSAGE,
	FAILURE_OCCURRED_AT,
	FAILURE_PACKED_KEY,
	FAILURE_ROW_HASH
};

#define FAILURE_COLUMNS FAILURE_ROW_HASH

struct RowFailureWriter
{
	MemoryContext row_context;	/* reset after each row */
	int64		run_id;
	int64		sync_id;
	int64		last_number;
	TableWriter *table;
};

static int64
find_last_number(int64 run_id)
{
	TableReader *reader = table_reader_open("row_failure", FAILURE_COLUMNS, run_id,
											InvalidStrategy, 0, InvalidSnapshot);
	int64		number = 0;

	if (table_reader_next(reader, BackwardScanDirection))
		number = table_reader_int64(reader, FAILURE_NUMBER);
	table_reader_close(reader);
	return number;
}

RowFailureWriter *
row_failure_writer_create(int64 run_id, int64 sync_id)
{
	RowFailureWriter *writer = palloc(sizeof(RowFailureWriter));

	writer->row_context = AllocSetContextCreate(CurrentMemoryContext,
												"signalsmith row failure",
												ALLOCSET_SMALL_SIZES);
	writer->run_id = run_id;
	writer->sync_id = sync_id;
	writer->last_number = find_last_number(run_id);
	writer->table = table_writer_open("row_failure", FAILURE_COLUMNS);
	return writer;
}

/* NULL gives NULL. */
static Datum
text_cut_to(const char *text, int max_bytes, bool *isnull)
{
	int			length;

	*isnull = text == NULL;
	if (text == NULL)
		return (Datum) 0;
	length = strlen(text);
	if (length > max_bytes)
		length = pg_mbcliplen(text, length, max_bytes);
	return PointerGetDatum(cstring_to_text_with_len(text, length));
}

static Datum
key_to_jsonb(const Slice *key, bool *isnull)
{
	char	   *utf8;

	*isnull = key->length == 0 || key->length > ROW_FAILURE_KEY_BYTES;
	if (*isnull)
		return (Datum) 0;
	utf8 = pnstrdup(key->data, key->length);
	return DirectFunctionCall1(jsonb_in,
							   CStringGetDatum(pg_any_to_server(utf8, key->length, PG_UTF8)));
}

static void
insert_failure(RowFailureWriter *writer, const RowFailure *failure)
{
	Datum		values[FAILURE_COLUMNS];
	bool		nulls[FAILURE_COLUMNS] = {false};

	values[FAILURE_RUN_ID - 1] = Int64GetDatum(writer->run_id);
	values[FAILURE_NUMBER - 1] = Int64GetDatum(++writer->last_number);
	values[FAILURE_SYNC_ID - 1] = Int64GetDatum(writer->sync_id);
	values[FAILURE_OPERATION - 1] = CStringGetTextDatum(operation_name(failure->operation));
	values[FAILURE_KEY - 1] = key_to_jsonb(&failure->key, &nulls[FAILURE_KEY - 1]);
	values[FAILURE_OUTCOME - 1] = CStringGetTextDatum(failure->unknown ? "unknown" : "rejected");
	values[FAILURE_ATTEMPTS - 1] = Int32GetDatum(failure->attempts);
	values[FAILURE_HTTP_STATUS - 1] = Int32GetDatum(failure->http_status);
	nulls[FAILURE_HTTP_STATUS - 1] = failure->http_status == 0;
	values[FAILURE_CODE - 1] = text_cut_to(failure->code, ROW_FAILURE_CODE_BYTES,
										   &nulls[FAILURE_CODE - 1]);
	values[FAILURE_MESSAGE - 1] = text_cut_to(failure->message, ROW_FAILURE_MESSAGE_BYTES,
											  &nulls[FAILURE_MESSAGE - 1]);
	values[FAILURE_OCCURRED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[FAILURE_PACKED_KEY - 1] = PointerGetDatum(packed_single_key(failure->packed_key));
	nulls[FAILURE_PACKED_KEY - 1] = !failure->skippable;
	values[FAILURE_ROW_HASH - 1] = Int64GetDatum((int64) failure->row_hash);
	nulls[FAILURE_ROW_HASH - 1] = !failure->skippable;
	table_writer_insert(writer->table, values, nulls);
}

void
row_failure_writer_add(RowFailureWriter *writer, const RowFailure *failure)
{
	MemoryContext old_context = MemoryContextSwitchTo(writer->row_context);

	FAULT_POINT("row-failure");
	insert_failure(writer, failure);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(writer->row_context);
}

void
row_failure_writer_finish(RowFailureWriter *writer)
{
	table_writer_close(writer->table);
	MemoryContextDelete(writer->row_context);
	pfree(writer);
}

void
row_failure_insert(int64 run_id, int64 sync_id, List *failures)
{
	RowFailureWriter *writer;
	ListCell   *cell;

	if (failures == NIL)
		return;
	writer = row_failure_writer_create(run_id, sync_id);
	foreach(cell, failures)
		row_failure_writer_add(writer, (RowFailure *) lfirst(cell));
	row_failure_writer_finish(writer);
}
