/*
 * outbox_read.c
 *		Reading bundles back for delivery, and recording what became of them.
 *
 * A runner in any later process goes on from here, so nothing is believed:
 * every length of a stored bundle is checked before it is used.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/bytes.h"
#include "base/fault.h"
#include "base/idempotency.h"
#include "store/outbox.h"
#include "store/outbox_format.h"
#include "store/packed.h"
#include "store/scope.h"
#include "store/table_reader.h"

/* In place of a record count: the key is a record's, not a batch's. */
#define RECORD_MARK PG_UINT32_MAX

static void
bundle_damaged(const Bundle *bundle, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("bundle %d of run %lld in signalsmith.outbox is damaged",
					bundle->sequence, (long long) bundle->run_id),
			 errdetail_internal("%s", detail)));
}

/* A bytea of exactly that length. */
static char *
read_bytes(TableReader *reader, const Bundle *bundle, int column, Size expected)
{
	Size		length;
	char	   *bytes = table_reader_bytes(reader, column, &length);

	if (bytes == NULL || length != expected)
		bundle_damaged(bundle, psprintf("Column %d has %zu bytes instead of %zu.",
										column, length, expected));
	return bytes;
}

static void
read_scalars(TableReader *reader, Bundle *bundle)
{
	bool		isnull;
	Datum		operation;
	Datum		seed;

	bundle->run_id = table_reader_int64(reader, OUTBOX_RUN_ID);
	bundle->sequence = table_reader_int32(reader, OUTBOX_SEQUENCE);
	operation = table_reader_value(reader, OUTBOX_OPERATION, &isnull);
	bundle->operation = operation_from_name(TextDatumGetCString(operation));
	bundle->record_count = table_reader_int32(reader, OUTBOX_RECORD_COUNT);
	seed = table_reader_value(reader, OUTBOX_SEED, &isnull);
	bundle->seed = *DatumGetUUIDP(seed);
	bundle->key_width = DatumGetInt16(table_reader_value(reader, OUTBOX_KEY_WIDTH, &isnull));
	bundle->attempts = table_reader_int32(reader, OUTBOX_ATTEMPTS);

	if (bundle->record_count <= 0 || !key_width_is_valid(bundle->key_width))
		bundle_damaged(bundle, psprintf("It claims %d records with keys of %d bytes.",
										bundle->record_count, bundle->key_width));
}

static void
read_batch_ends(TableReader *reader, Bundle *bundle)
{
	Size		length;
	uint32		previous = 0;

	bundle->batch_ends = (uint32 *) table_reader_bytes(reader, OUTBOX_BATCH_ENDS, &length);
	bundle->batch_count = length / sizeof(uint32);
	if (length == 0 || length % sizeof(uint32) != 0 ||
		bundle->batch_count > bundle->record_count)
		bundle_damaged(bundle, psprintf("Its batch ends have %zu bytes.", length));

	swap_words_32(bundle->batch_ends, bundle->batch_count);
	for (int i = 0; i < bundle->batch_count; i++)
	{
		if (bundle->batch_ends[i] <= previous)
			bundle_damaged(bundle, psprintf("Batch %d is empty.", i));
		previous = bundle->batch_ends[i];
	}
	if (previous != (uint32) bundle->record_count)
		bundle_damaged(bundle, psprintf("Its batches have %u records instead of %d.",
										previous, bundle->record_count));
}

static void
read_entries(TableReader *reader, Bundle *bundle)
{
	int			count = bundle->record_count;
	char	   *entries = read_bytes(reader, bundle, OUTBOX_ENTRIES,
									 packed_size(count, bundle->key_width));

	packed_to_native(entries, count, bundle->key_width);
	bundle->keys = palloc(mul_size(count, sizeof(RecordKey)));
	for (int i = 0; i < count; i++)
		bundle->keys[i] = packed_key(entries, bundle->key_width, i);
	bundle->hashes = (uint64 *) (entries + (Size) count * bundle->key_width);
}

static void
read_outcomes(TableReader *reader, Bundle *bundle)
{
	bool		isnull;

	(void) table_reader_value(reader, OUTBOX_OUTCOMES, &isnull);
	if (isnull)
		bundle->outcomes = palloc0(bundle->record_count);
	else
		bundle->outcomes = (uint8 *) read_bytes(reader, bundle, OUTBOX_OUTCOMES,
												bundle->record_count);
}

/* Cuts a slice off the bytes that are left. */
static void
take_slice(const Bundle *bundle, Slice *slice, uint32 length,
		   const char **position, const char *end)
{
	if (length > (Size) (end - *position))
		bundle_damaged(bundle, "A record reaches beyond the end.");
	slice->data = *position;
	slice->length = length;
	*position += length;
}

static void
read_records(TableReader *reader, Bundle *bundle)
{
	Size		length;
	const char *position = table_reader_bytes(reader, OUTBOX_RECORDS, &length);
	const char *end = position + length;

	bundle->records = palloc(mul_size(bundle->record_count, sizeof(Record)));
	for (int i = 0; i < bundle->record_count; i++)
	{
		Record	   *record = &bundle->records[i];
		Slice		header;

		take_slice(bundle, &header, RECORD_HEADER_BYTES, &position, end);
		take_slice(bundle, &record->key, read_uint32(header.data), &position, end);
		take_slice(bundle, &record->identifier, read_uint32(header.data + 4), &position, end);
		take_slice(bundle, &record->id, read_uint32(header.data + 8), &position, end);
		take_slice(bundle, &record->version, read_uint32(header.data + 12), &position, end);
		take_slice(bundle, &record->data, read_uint32(header.data + 16), &position, end);
	}
	if (position != end)
		bundle_damaged(bundle, "Bytes follow the last record.");

	bundle->record_ids = palloc(mul_size(bundle->record_count, sizeof(pg_uuid_t)));
	idempotency_derive(&bundle->seed, 0, RECORD_MARK, bundle->record_count,
					   bundle->record_ids);
}

Bundle *
outbox_bundle_read(TableReader *reader, bool with_records)
{
	Bundle	   *bundle = palloc0(sizeof(Bundle));

	read_scalars(reader, bundle);
	read_batch_ends(reader, bundle);
	read_entries(reader, bundle);
	read_outcomes(reader, bundle);
	if (with_records)
		read_records(reader, bundle);
	return bundle;
}

/* "after" need not exist: it may be behind the last one of its operation. */
static int32
sequence_after(const Bundle *after)
{
	if (after == NULL)
		return -1;
	return Min(after->sequence, last_sequence(after->operation));
}

Bundle *
outbox_next_bundle(int64 run_id, const Bundle *after)
{
	TableReader *reader = table_reader_open("outbox", OUTBOX_COLUMNS, run_id,
											BTGreaterStrategyNumber,
											sequence_after(after), InvalidSnapshot);
	Bundle	   *bundle = NULL;

	if (table_reader_next(reader, ForwardScanDirection))
		bundle = outbox_bundle_read(reader, true);
	table_reader_close(reader);
	return bundle;
}

void
outbox_begin_bundles(Bundle **bundles, int count)
{
	uint64		begun;

	begun = scope_execute("UPDATE signalsmith.outbox SET attempts = attempts + 1"
						  " WHERE run_id = $1 AND sequence BETWEEN $2 AND $3",
						  "lii", Int64GetDatum(bundles[0]->run_id),
						  Int32GetDatum(bundles[0]->sequence),
						  Int32GetDatum(bundles[count - 1]->sequence));
	if (begun != (uint64) count)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("planned changes of run %lld are gone",
						(long long) bundles[0]->run_id),
				 errdetail("They were discarded while the run was at work.")));
	for (int i = 0; i < count; i++)
		bundles[i]->attempts++;
	FAULT_POINT("outbox-begin");
}

static bool
is_settled(const Bundle *bundle)
{
	return memchr(bundle->outcomes, OUTCOME_OPEN, bundle->record_count) == NULL;
}

static void
store_outcomes(const Bundle *bundle)
{
	scope_execute("UPDATE signalsmith.outbox SET outcomes = $3"
				  " WHERE run_id = $1 AND sequence = $2",
				  "liy", Int64GetDatum(bundle->run_id),
				  Int32GetDatum(bundle->sequence),
				  PointerGetDatum(bytea_build(bundle->outcomes, bundle->record_count)));
}

void
outbox_store_outcomes(int64 run_id, const List *bundles)
{
	Datum	   *settled = palloc(list_length(bundles) * sizeof(Datum));
	int			settled_count = 0;
	ListCell   *cell;

	foreach(cell, bundles)
	{
		const Bundle *bundle = lfirst(cell);

		if (is_settled(bundle))
			settled[settled_count++] = Int64GetDatum(bundle->sequence);
		else
			store_outcomes(bundle);
	}
	if (settled_count > 0)
		scope_execute("DELETE FROM signalsmith.outbox WHERE run_id = $1 AND sequence = ANY ($2)",
					  "lm", Int64GetDatum(run_id),
					  scope_bigint_array(settled, settled_count));
	pfree(settled);
}

void
outbox_discard(int64 run_id)
{
	scope_execute("DELETE FROM signalsmith.outbox WHERE run_id = $1",
				  "l", Int64GetDatum(run_id));
}

pg_uuid_t
outbox_batch_id(const Bundle *bundle, int first, int count)
{
	pg_uuid_t	key;

	Assert(first >= 0 && count > 0 && first + count <= bundle->record_count);
	idempotency_derive(&bundle->seed, first, count, 1, &key);
	return key;
}

pg_uuid_t
outbox_record_id(const Bundle *bundle, int index)
{
	Assert(index >= 0 && index < bundle->record_count);
	return bundle->record_ids[index];
}
