/*
 * deferred.c
 *		Rows that the comparison did not expect, set aside until it can say what
 *		they are.
 *
 * For a moment: where rows come in no order, each lookup waits for memory
 * twice.  So unexpected rows are copied, and looked up many at a time, with the
 * memory asked for beforehand.  A single one among expected rows is looked up
 * at once, since the rows behind it depend on where it is.
 *
 * Or until the query has ended: what is still undecided then goes to temporary
 * files, one with keys and hashes, which the verdicts depend on, and one with
 * the rows.  Both are in the model's order, and so are the verdicts.
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/fault.h"
#include "plan/planner.h"
#include "plan/verdict.h"

/* How many rows are looked up together, and how many bytes they may have. */
#define DEFERRED_ROWS 64
#define DEFERRED_BYTES (256 * 1024)

typedef struct DeferredRow
{
	RecordKey	key;
	uint64		hash;
	MinimalTuple tuple;
} DeferredRow;

struct Deferred
{
	MemoryContext context;		/* of the batch's tuples */
	TupleTableSlot *slot;
	DeferredRow rows[DEFERRED_ROWS];
	int			count;
	int			limit;			/* of the batch: 1, 2, 4 ... */
	Size		bytes;
	int64		last_row;		/* number of the row that was deferred last */

	/* undecided rows */
	BufFile    *keys_file;
	BufFile    *rows_file;
	int64		undecided_count;
};

Deferred *
deferred_create(TupleDesc descriptor)
{
	Deferred   *deferred = palloc0(sizeof(Deferred));

	deferred->context = AllocSetContextCreate(CurrentMemoryContext,
											  "signalsmith deferred rows",
											  ALLOCSET_DEFAULT_SIZES);
	deferred->slot = MakeSingleTupleTableSlot(descriptor, &TTSOpsMinimalTuple);
	deferred->limit = 1;
	return deferred;
}

/* --- undecided rows --- */

static void
keep_undecided(Planner *planner, RecordKey key, uint64 hash, MinimalTuple tuple)
{
	Deferred   *deferred = planner->deferred;
	UndecidedKey row = {key, hash};

	if (deferred->keys_file == NULL)
	{
		MemoryContext old_context = MemoryContextSwitchTo(planner->context);

		deferred->keys_file = BufFileCreateTemp(false);
		deferred->rows_file = BufFileCreateTemp(false);
		MemoryContextSwitchTo(old_context);
	}
	file_write(deferred->keys_file, &row, sizeof(row));
	file_write(deferred->rows_file, tuple, tuple->t_len);
	deferred->undecided_count++;
}

int64
planner_undecided_count(const Planner *planner)
{
	return planner->deferred == NULL ? 0 : planner->deferred->undecided_count;
}

/* Reads the next row back, into row_context. */
static MinimalTuple
read_tuple(BufFile *file)
{
	uint32		length;
	MinimalTuple tuple;

	file_read(file, &length, sizeof(length));
	tuple = palloc(length);
	tuple->t_len = length;
	file_read(file, (char *) tuple + sizeof(length), length - sizeof(length));
	return tuple;
}

static void
act_on_verdict(Planner *planner, TupleTableSlot *slot, const UndecidedKey *row,
			   const Verdict *verdict)
{
	switch (verdict->kind)
	{
		case VERDICT_UNCHANGED:
			planner->figures->rows_unchanged++;
			break;
		case VERDICT_CHANGED:
		case VERDICT_NEW:
			(void) planner_changed_row(planner, slot->tts_values, slot->tts_isnull,
									   row->key, row->hash, verdict->entry, verdict->known);
			break;
		case VERDICT_REPEATED:
			planner_repeated_row(planner, slot->tts_values, slot->tts_isnull,
								 verdict->known, 1);
			break;
		case VERDICT_REPEATS_UNCHANGED:
			planner->figures->rows_unchanged--;
			planner_repeated_row(planner, slot->tts_values, slot->tts_isnull,
								 verdict->known, 2);
			break;
	}
}

void
planner_settle_undecided(Planner *planner, Size memory_limit)
{
	Deferred   *deferred = planner->deferred;
	MemoryContext old_context = MemoryContextSwitchTo(planner->row_context);
	Size		peak_memory;
	BufFile    *verdicts;

	MemoryContextSwitchTo(planner->context);
	verdicts = verdicts_reach(planner->diff, deferred->keys_file,
							  deferred->undecided_count, memory_limit, &peak_memory);
	planner->diff->peak_memory = Max(planner->diff->peak_memory,
									 diff_kept_memory(planner->diff) + peak_memory);
	planner->figures->creates_supersede |= planner->diff->has_doubtful;

	MemoryContextSwitchTo(planner->row_context);
	file_rewind(deferred->keys_file);
	file_rewind(deferred->rows_file);
	for (int64 i = 0; i < deferred->undecided_count; i++)
	{
		UndecidedKey row;
		Verdict		verdict;

		CHECK_FOR_INTERRUPTS();
		FAULT_POINT("undecided-row");
		file_read(deferred->keys_file, &row, sizeof(row));
		file_read(verdicts, &verdict, sizeof(verdict));
		ExecStoreMinimalTuple(read_tuple(deferred->rows_file), deferred->slot, false);
		slot_getallattrs(deferred->slot);
		act_on_verdict(planner, deferred->slot, &row, &verdict);
		MemoryContextReset(planner->row_context);
	}
	ExecClearTuple(deferred->slot);
	BufFileClose(verdicts);
	BufFileClose(deferred->keys_file);
	BufFileClose(deferred->rows_file);
	deferred->undecided_count = 0;
	MemoryContextSwitchTo(old_context);
}

/* --- a batch of rows --- */

static void
resolve_row(Planner *planner, TupleTableSlot *slot, RecordKey key, uint64 hash,
			MinimalTuple tuple)
{
	uint32		entry;
	DiffResult	result = diff_resolve(planner->diff, key, hash, &entry);

	if (result == DIFF_UNCHANGED)
		planner->figures->rows_unchanged++;
	else if (result != DIFF_UNDECIDED)
		planner_unusual_row(planner, slot, result, key, hash, entry);
	else
		keep_undecided(planner, key, hash,
					   tuple ? tuple : ExecCopySlotMinimalTuple(slot));
}

static void
prefetch(Planner *planner)
{
	const Deferred *deferred = planner->deferred;
	const KeyTable *table = planner->diff->streaming ?
	planner->diff->landmarks : planner->diff->table;

	if (table == NULL || table->slots == NULL)
		return;
	for (int i = 0; i < deferred->count; i++)
		key_table_prefetch_slot(table, deferred->rows[i].key);
	for (int i = 0; i < deferred->count; i++)
		key_table_prefetch_entry(table, deferred->rows[i].key);
}

void
planner_resolve_deferred(Planner *planner)
{
	Deferred   *deferred = planner->deferred;

	if (deferred == NULL || deferred->count == 0)
		return;
	prefetch(planner);
	for (int i = 0; i < deferred->count; i++)
	{
		DeferredRow *row = &deferred->rows[i];

		ExecStoreMinimalTuple(row->tuple, deferred->slot, false);
		slot_getallattrs(deferred->slot);
		resolve_row(planner, deferred->slot, row->key, row->hash, row->tuple);
		MemoryContextReset(planner->row_context);
	}
	ExecClearTuple(deferred->slot);
	MemoryContextReset(deferred->context);
	deferred->count = 0;
	deferred->bytes = 0;
}

/*
 * Batches grow while nothing else comes in between.  Rows are not overtaken by
 * much: what precedes a batch has been acted upon, the rest follows.
 */
void
planner_defer_row(Planner *planner, TupleTableSlot *slot, RecordKey key, uint64 hash)
{
	Deferred   *deferred = planner->deferred;
	MemoryContext old_context;
	DeferredRow *row;

	if (planner->figures->rows_processed != deferred->last_row + 1)
		deferred->limit = 1;
	deferred->last_row = planner->figures->rows_processed;
	if (deferred->limit == 1 && deferred->count == 0)
	{
		deferred->limit = 2;
		resolve_row(planner, slot, key, hash, NULL);
		return;
	}

	old_context = MemoryContextSwitchTo(deferred->context);
	row = &deferred->rows[deferred->count++];
	row->key = key;
	row->hash = hash;
	row->tuple = ExecCopySlotMinimalTuple(slot);
	deferred->bytes += row->tuple->t_len;
	MemoryContextSwitchTo(old_context);

	if (deferred->count >= deferred->limit || deferred->bytes > DEFERRED_BYTES)
	{
		planner_resolve_deferred(planner);
		deferred->limit = Min(deferred->limit * 2, DEFERRED_ROWS);
	}
}
