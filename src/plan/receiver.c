/*
 * receiver.c
 *		What every row of a model goes through.
 *
 * The query sends its rows here.  A row that has not changed costs packing its
 * key, hashing its values and looking at one entry of an array; everything else
 * is in changes.c.
 *
 * Reading the clock twice a row would show in the times it measures, so it is
 * read for one row in some: prime numbers, to keep out of step with whatever
 * happens each so many rows.
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "plan/planner.h"

/* One row in so many is timed. */
#define ROW_SAMPLE 61

/* So is one changed row in so many, after the first ones. */
#define STAGE_SAMPLE 7
#define STAGE_UNSAMPLED 4096

#define PROGRESS_SECONDS 0.5

static inline double
seconds_between(instr_time begin, instr_time end)
{
	INSTR_TIME_SUBTRACT(end, begin);
	return INSTR_TIME_GET_DOUBLE(end);
}

/* Everything that is not an unchanged row. */
static void
process_unusual(Planner *planner, TupleTableSlot *slot, DiffResult result,
				RecordKey key, uint64 hash, uint32 entry)
{
	int			weight = 1;
	instr_time	begin;
	instr_time	end;

	if (planner->changed_rows++ >= STAGE_UNSAMPLED)
		weight = planner->changed_rows % STAGE_SAMPLE == 0 ? STAGE_SAMPLE : 0;

	if (weight > 0 || planner->timing_row)
		INSTR_TIME_SET_CURRENT(begin);
	if (result == DIFF_REPEATED)
		planner_repeated_row(planner, slot->tts_values, slot->tts_isnull, key, entry);
	else
		planner_changed_row(planner, slot->tts_values, slot->tts_isnull, key,
							hash, entry, result == DIFF_CHANGED);
	if (weight > 0 || planner->timing_row)
	{
		INSTR_TIME_SET_CURRENT(end);
		planner->row_stage_seconds = seconds_between(begin, end);
		planner->stage_seconds += weight * planner->row_stage_seconds;
	}
}

static inline void
process_row(Planner *planner, TupleTableSlot *slot, const int width)
{
	RecordKey	key;
	uint64		hash;
	uint32		entry;
	DiffResult	result;

	if (unlikely(!row_key(planner->keyer, slot->tts_values, slot->tts_isnull, &key)))
	{
		planner_keyless_row(planner, slot->tts_values, slot->tts_isnull);
		return;
	}
	hash = row_hash(planner->hasher, slot->tts_values, slot->tts_isnull);
	result = diff_row(planner->diff, key, hash, width, &entry);
	if (likely(result == DIFF_UNCHANGED))
		planner->figures->rows_unchanged++;
	else
		process_unusual(planner, slot, result, key, hash, entry);
}

static void
process_sampled_row(Planner *planner, TupleTableSlot *slot)
{
	instr_time	begin;
	instr_time	end;

	planner->rows_until_sample = ROW_SAMPLE;
	planner->timing_row = true;
	planner->row_stage_seconds = 0;
	INSTR_TIME_SET_CURRENT(begin);
	if (planner->keyer->width == KEY_WIDTH_NARROW)
		process_row(planner, slot, KEY_WIDTH_NARROW);
	else
		process_row(planner, slot, KEY_WIDTH_WIDE);
	INSTR_TIME_SET_CURRENT(end);

	planner->timing_row = false;
	planner->diff_seconds += seconds_between(begin, end) - planner->row_stage_seconds;

	if (planner->options->progress != NULL &&
		seconds_between(planner->last_progress, end) > PROGRESS_SECONDS)
	{
		planner->last_progress = end;
		planner->options->progress(planner->options->progress_arg, planner->figures);
	}
}

static inline bool
receive(TupleTableSlot *slot, DestReceiver *self, const int width)
{
	Planner    *planner = (Planner *) self;
	MemoryContext old_context = MemoryContextSwitchTo(planner->row_context);

	slot_getallattrs(slot);		/* reading the row is still the query's work */
	planner->figures->rows_processed++;
	if (unlikely(--planner->rows_until_sample <= 0))
		process_sampled_row(planner, slot);
	else
		process_row(planner, slot, width);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(planner->row_context);
	return true;
}

static bool
receive_narrow(TupleTableSlot *slot, DestReceiver *self)
{
	return receive(slot, self, KEY_WIDTH_NARROW);
}

static bool
receive_wide(TupleTableSlot *slot, DestReceiver *self)
{
	return receive(slot, self, KEY_WIDTH_WIDE);
}

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc descriptor)
{
}

static void
receiver_shutdown(DestReceiver *self)
{
}

void
planner_prepare_receiver(Planner *planner)
{
	planner->receiver.receiveSlot = planner->keyer->width == KEY_WIDTH_NARROW ?
		receive_narrow : receive_wide;
	planner->receiver.rStartup = receiver_startup;
	planner->receiver.rShutdown = receiver_shutdown;
	planner->receiver.rDestroy = receiver_shutdown;
	planner->receiver.mydest = DestNone;
	planner->rows_until_sample = 1;
	INSTR_TIME_SET_CURRENT(planner->last_progress);
}

void
planner_sum_times(Planner *planner)
{
	int64		samples = (planner->figures->rows_processed + ROW_SAMPLE - 1) / ROW_SAMPLE;

	if (samples > 0)
		planner->figures->diff_ms = planner->diff_seconds * 1000.0 / samples *
			planner->figures->rows_processed;
	planner->figures->stage_ms = planner->stage_seconds * 1000.0;
}
