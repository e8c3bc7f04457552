/*
 * outbox_write.c
 *		Filling bundles of batches while a plan is made.
 *
 * One bundle an operation is open at a time, and is written when it is full,
 * through the table access method in the plan's own transaction: so the plan is
 * committed whole or not at all.  A bundle ends where a batch ends, so that only
 * the last batch of an operation can be smaller than the connector wants.
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/bytes.h"
#include "base/compat.h"
#include "base/fault.h"
#include "base/idempotency.h"
#include "store/outbox.h"
#include "store/outbox_format.h"
#include "store/packed.h"
#include "store/table_writer.h"

/* A bundle is full with that many bytes of records, if not before. */
#define BUNDLE_BYTES (8 * 1024 * 1024)

/* The largest batch in bytes, whatever a connector allows. */
#define BATCH_MAX_BYTES (64 * 1024 * 1024)

typedef struct OpenBundle
{
	Operation	operation;
	int			max_batch_records;
	Size		max_batch_bytes;
	int			capacity;		/* records */
	int32		next_sequence;

	/* What is in it.  The arrays have room for "capacity". */
	int			record_count;
	int			batch_count;	/* that are complete */
	uint32	   *batch_ends;
	Size		batch_start;	/* in records: where the open batch begins */
	RecordKey  *keys;
	uint64	   *hashes;
	uint8	   *outcomes;
	StringInfoData records;		/* begins with room for a bytea's length */
} OpenBundle;

struct OutboxWriter
{
	MemoryContext context;		/* of everything below */
	MemoryContext row_context;	/* reset after each row */
	int64		run_id;
	int			key_width;
	TableWriter *table;
	OpenBundle	bundles[OPERATION_COUNT];
	int64		batch_count;	/* that are written and not withdrawn */
	int64		bytes_staged;
	bool		written;		/* any bundle */
};

/* --- filling a bundle --- */

static void
empty_bundle(OpenBundle *bundle)
{
	bundle->record_count = 0;
	bundle->batch_count = 0;
	bundle->batch_start = VARHDRSZ;

	/* A single large record must not hold its memory for the rest of the run. */
	if (bundle->records.maxlen > 2 * BUNDLE_BYTES)
	{
		pfree(bundle->records.data);
		initStringInfo(&bundle->records);
	}
	resetStringInfo(&bundle->records);
	appendStringInfoSpaces(&bundle->records, VARHDRSZ);
}

static void
init_bundle(OpenBundle *bundle, Operation operation, const OutboxLimits *limits)
{
	int			batch_records = Max(limits->max_records, 1);

	bundle->operation = operation;
	bundle->max_batch_records = batch_records;
	bundle->max_batch_bytes = limits->max_bytes > 0 ?
		Min(limits->max_bytes, BATCH_MAX_BYTES) : BUNDLE_BYTES;
	bundle->capacity = batch_records >= BUNDLE_RECORDS ?
		batch_records : BUNDLE_RECORDS / batch_records * batch_records;
	bundle->next_sequence = first_sequence(operation);

	bundle->batch_ends = palloc(bundle->capacity * sizeof(uint32));
	bundle->keys = palloc(bundle->capacity * sizeof(RecordKey));
	bundle->hashes = palloc(bundle->capacity * sizeof(uint64));
	bundle->outcomes = palloc(bundle->capacity * sizeof(uint8));
	initStringInfo(&bundle->records);
	empty_bundle(bundle);
}

static int
open_batch_records(const OpenBundle *bundle)
{
	int			first = bundle->batch_count == 0 ? 0 :
		(int) bundle->batch_ends[bundle->batch_count - 1];

	return bundle->record_count - first;
}

static void
end_batch(OpenBundle *bundle)
{
	if (open_batch_records(bundle) == 0)
		return;
	bundle->batch_ends[bundle->batch_count++] = bundle->record_count;
	bundle->batch_start = bundle->records.len;
}

/* Is it better to begin the next batch, and a record of that size, elsewhere? */
static bool
is_full(const OpenBundle *bundle, Size size)
{
	return bundle->record_count > 0 && open_batch_records(bundle) == 0 &&
		(bundle->record_count + bundle->max_batch_records > bundle->capacity ||
		 bundle->records.len + size > BUNDLE_BYTES);
}

static inline void
append_slice(OpenBundle *bundle, Slice slice)
{
	appendBinaryStringInfo(&bundle->records, slice.data, slice.length);
}

static void
append_record(OpenBundle *bundle, RecordKey key, uint64 hash, const Record *record)
{
	char		header[RECORD_HEADER_BYTES];

	write_uint32(header, record->key.length);
	write_uint32(header + 4, record->identifier.length);
	write_uint32(header + 8, record->id.length);
	write_uint32(header + 12, record->version.length);
	write_uint32(header + 16, record->data.length);
	appendBinaryStringInfo(&bundle->records, header, sizeof(header));
	append_slice(bundle, record->key);
	append_slice(bundle, record->identifier);
	append_slice(bundle, record->id);
	append_slice(bundle, record->version);
	append_slice(bundle, record->data);

	bundle->keys[bundle->record_count] = key;
	bundle->hashes[bundle->record_count] = hash;
	bundle->outcomes[bundle->record_count] = OUTCOME_OPEN;
	bundle->record_count++;
}

/* --- writing it --- */

/* Batches with a record that is still to be sent. */
static int
count_open_batches(const uint32 *batch_ends, int batch_count, const uint8 *outcomes)
{
	int			open = 0;

	for (int batch = 0, i = 0; batch < batch_count; batch++)
	{
		bool		found = false;

		for (; i < (int) batch_ends[batch]; i++)
			found |= outcomes[i] == OUTCOME_OPEN;
		open += found;
	}
	return open;
}

static bool
any_withdrawn(const OpenBundle *bundle)
{
	return memchr(bundle->outcomes, OUTCOME_WITHDRAWN, bundle->record_count) != NULL;
}

static bytea *
build_batch_ends(const OpenBundle *bundle)
{
	bytea	   *result = bytea_build(bundle->batch_ends,
									 bundle->batch_count * sizeof(uint32));

	for (int i = 0; i < bundle->batch_count; i++)
		write_uint32(VARDATA(result) + i * sizeof(uint32), bundle->batch_ends[i]);
	return result;
}

static void
insert_bundle(OutboxWriter *writer, OpenBundle *bundle)
{
	Datum		values[OUTBOX_COLUMNS];
	bool		nulls[OUTBOX_COLUMNS] = {false};
	pg_uuid_t	seed;
	bytea	   *entries = packed_build(bundle->keys, bundle->hashes,
									   bundle->record_count, writer->key_width);

	idempotency_seed(&seed);
	SET_VARSIZE(bundle->records.data, bundle->records.len);

	values[OUTBOX_RUN_ID - 1] = Int64GetDatum(writer->run_id);
	values[OUTBOX_SEQUENCE - 1] = Int32GetDatum(bundle->next_sequence++);
	values[OUTBOX_OPERATION - 1] = CStringGetTextDatum(operation_name(bundle->operation));
	values[OUTBOX_RECORD_COUNT - 1] = Int32GetDatum(bundle->record_count);
	values[OUTBOX_SEED - 1] = UUIDPGetDatum(&seed);
	values[OUTBOX_BATCH_ENDS - 1] = PointerGetDatum(build_batch_ends(bundle));
	values[OUTBOX_KEY_WIDTH - 1] = Int16GetDatum(writer->key_width);
	values[OUTBOX_ENTRIES - 1] = PointerGetDatum(entries);
	values[OUTBOX_RECORDS - 1] = PointerGetDatum(bundle->records.data);
	values[OUTBOX_ATTEMPTS - 1] = Int32GetDatum(0);
	values[OUTBOX_OUTCOMES - 1] = PointerGetDatum(bytea_build(bundle->outcomes, bundle->record_count));
	nulls[OUTBOX_OUTCOMES - 1] = !any_withdrawn(bundle);

	table_writer_insert(writer->table, values, nulls);
	writer->written = true;
	writer->bytes_staged += VARSIZE(entries) + bundle->records.len;
}

static void
write_bundle(OutboxWriter *writer, OpenBundle *bundle)
{
	MemoryContext old_context;
	int			open_batches;

	end_batch(bundle);
	open_batches = count_open_batches(bundle->batch_ends, bundle->batch_count,
									  bundle->outcomes);
	if (open_batches > 0)
	{
		FAULT_POINT("outbox-write");
		if (bundle->next_sequence >= last_sequence(bundle->operation))
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many changes in one run"),
					 errhint("Have the model return a part of the rows at a time.")));

		old_context = MemoryContextSwitchTo(writer->row_context);
		insert_bundle(writer, bundle);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(writer->row_context);
		writer->batch_count += open_batches;
	}

	old_context = MemoryContextSwitchTo(writer->context);
	empty_bundle(bundle);
	MemoryContextSwitchTo(old_context);
}

/* --- what the plan calls --- */

OutboxWriter *
outbox_writer_create(int64 run_id, int key_width,
					 const OutboxLimits limits[OPERATION_COUNT])
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "signalsmith outbox writer",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	OutboxWriter *writer = palloc0(sizeof(OutboxWriter));

	Assert(key_width_is_valid(key_width));
	writer->context = context;
	writer->row_context = AllocSetContextCreate(context,
												"signalsmith outbox row",
												ALLOCSET_DEFAULT_SIZES);
	writer->run_id = run_id;
	writer->key_width = key_width;
	writer->table = table_writer_open("outbox", OUTBOX_COLUMNS);
	for (int i = 0; i < OPERATION_COUNT; i++)
		init_bundle(&writer->bundles[i], (Operation) i, &limits[i]);

	MemoryContextSwitchTo(old_context);
	return writer;
}

uint64
outbox_record_size(const Record *record)
{
	return RECORD_HEADER_BYTES + (uint64) record->key.length +
		(uint64) record->identifier.length + (uint64) record->id.length +
		(uint64) record->version.length + (uint64) record->data.length;
}

void
outbox_writer_add(OutboxWriter *writer, Operation operation, RecordKey key,
				  uint64 hash, const Record *record)
{
	OpenBundle *bundle = &writer->bundles[operation];
	uint64		size = outbox_record_size(record);

	if (size > RECORD_MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("record of %llu bytes is too large to be sent",
						(unsigned long long) size),
				 errdetail("Records may have up to %d bytes as JSON.", RECORD_MAX_BYTES)));

	if (bundle->records.len - bundle->batch_start + size > bundle->max_batch_bytes)
		end_batch(bundle);
	if (is_full(bundle, size))
		write_bundle(writer, bundle);

	append_record(bundle, key, hash, record);
	if (open_batch_records(bundle) == bundle->max_batch_records)
		end_batch(bundle);
}

int64
outbox_writer_finish(OutboxWriter *writer, int64 *bytes_staged)
{
	int64		batch_count;

	for (int i = 0; i < OPERATION_COUNT; i++)
		write_bundle(writer, &writer->bundles[i]);
	table_writer_close(writer->table);

	batch_count = writer->batch_count;
	*bytes_staged = writer->bytes_staged;
	MemoryContextDelete(writer->context);
	return batch_count;
}

/* --- withdrawing --- */

/* Which keys are withdrawn. */
typedef struct Withdrawal
{
	KeyTest		is_withdrawn;
	void	   *arg;
} Withdrawal;

/* Marks the open records that are withdrawn; returns how many. */
static int
mark_withdrawn(uint8 *outcomes, const RecordKey *candidates, int count,
			   const Withdrawal *withdrawal)
{
	int			marked = 0;

	for (int i = 0; i < count; i++)
	{
		if (outcomes[i] == OUTCOME_OPEN &&
			withdrawal->is_withdrawn(withdrawal->arg, candidates[i]))
		{
			outcomes[i] = OUTCOME_WITHDRAWN;
			marked++;
		}
	}
	return marked;
}

static void
replace_outcomes(OutboxWriter *writer, TableReader *reader, const uint8 *outcomes,
				 int record_count)
{
	Datum		values[OUTBOX_COLUMNS];
	bool		nulls[OUTBOX_COLUMNS];

	memcpy(values, table_reader_values(reader), sizeof(values));
	memcpy(nulls, table_reader_nulls(reader), sizeof(nulls));
	values[OUTBOX_OUTCOMES - 1] = PointerGetDatum(bytea_build(outcomes, record_count));
	nulls[OUTBOX_OUTCOMES - 1] = false;
	FAULT_POINT("outbox-withdraw");
	table_writer_update(writer->table, table_reader_tid(reader), values, nulls);
}

/* Withdraws from the bundle that the reader is at; returns how many records. */
static int
withdraw_from_row(OutboxWriter *writer, TableReader *reader,
				  const Withdrawal *withdrawal, Operation *operation)
{
	Bundle	   *bundle = outbox_bundle_read(reader, false);
	int			open_before;
	int			open_after;
	int			marked;

	open_before = count_open_batches(bundle->batch_ends, bundle->batch_count,
									 bundle->outcomes);
	marked = mark_withdrawn(bundle->outcomes, bundle->keys, bundle->record_count,
							withdrawal);
	*operation = bundle->operation;
	if (marked == 0)
		return 0;

	open_after = count_open_batches(bundle->batch_ends, bundle->batch_count,
									bundle->outcomes);
	if (open_after == 0)
		table_writer_delete(writer->table, table_reader_tid(reader));
	else
		replace_outcomes(writer, reader, bundle->outcomes, bundle->record_count);
	writer->batch_count -= open_before - open_after;
	return marked;
}

static void
withdraw_written(OutboxWriter *writer, const Withdrawal *withdrawal,
				 int64 withdrawn[OPERATION_COUNT])
{
	TableReader *reader;

	/* Own rows can be seen, and changed, by later commands only. */
	CommandCounterIncrement();
	reader = table_reader_open("outbox", OUTBOX_COLUMNS, writer->run_id,
							   InvalidStrategy, 0, InvalidSnapshot);
	while (table_reader_next(reader, ForwardScanDirection))
	{
		MemoryContext old_context = MemoryContextSwitchTo(writer->row_context);
		Operation	operation;
		int			marked = withdraw_from_row(writer, reader, withdrawal, &operation);

		withdrawn[operation] += marked;
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(writer->row_context);
	}
	table_reader_close(reader);
}

void
outbox_writer_withdraw(OutboxWriter *writer, KeyTest is_withdrawn, void *arg,
					   int64 withdrawn[OPERATION_COUNT])
{
	Withdrawal	withdrawal = {is_withdrawn, arg};

	for (int i = 0; i < OPERATION_COUNT; i++)
	{
		OpenBundle *bundle = &writer->bundles[i];

		withdrawn[i] = mark_withdrawn(bundle->outcomes, bundle->keys,
									   bundle->record_count, &withdrawal);
	}
	if (writer->written)
		withdraw_written(writer, &withdrawal, withdrawn);
}
