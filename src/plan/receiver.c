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
 * happens each so many rows.  A row that takes long stands for itself alone, and
 * the next one is timed too: it is large, or we had to wait for a processor.
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/fault.h"
#include "plan/planner.h"

/* One row in so many is timed. */
#define ROW_SAMPLE 61

/* So is one changed row in so many, after the first ones. */
#define STAGE_SAMPLE 7
#define STAGE_UNSAMPLED 4096

/* What is no longer a usual row. */
#define SLOW_ROW_SECONDS 0.0005

#define PROGRESS_SECONDS 0.5

static inline double
seconds_between(instr_time begin, instr_time end)
{
	INSTR_TIME_SUBTRACT(end, begin);
	return INSTR_TIME_GET_DOUBLE(end);
}

/*
 * A row whose key was there before: the first of them was counted, and perhaps
 * planned, before the second came.
 */
static void
take_repeated_row(Planner *planner, TupleTableSlot *slot, uint32 entry)
{
	Diff	   *diff = planner->diff;
	EntryState	state = diff_state(diff, entry);
	bool		known = diff_hash_is_known(key_table_value(diff->table, entry));

	diff_set_state(diff, entry, ENTRY_REJECTED);
	if (state == ENTRY_UNCHANGED)
		planner->figures->rows_unchanged--;
	else if (state == ENTRY_CHANGED && planner_leaves_alone(planner, known))
		planner->figures->rows_left_alone--;
	else if (state == ENTRY_CHANGED && planner->options->skips &&
			 skip_list_has_met(planner->options->skips, key_table_key(diff->table, entry)))
		planner->figures->rows_skipped--;
	else if (state == ENTRY_CHANGED)
		planner->withdrawn[planner_operation(planner, known)]++;
	planner_repeated_row(planner, slot->tts_values, slot->tts_isnull, known,
						 state == ENTRY_REJECTED ? 1 : 2);
}

static void
take_unusual_row(Planner *planner, TupleTableSlot *slot, DiffResult result,
				 RecordKey key, uint64 hash, uint32 entry)
{
	bool		taken;

	if (result == DIFF_REPEATED)
	{
		take_repeated_row(planner, slot, entry);
		return;
	}
	taken = planner_changed_row(planner, slot->tts_values, slot->tts_isnull, key,
								hash, entry, result == DIFF_CHANGED);
	diff_set_state(planner->diff, entry, taken ? ENTRY_CHANGED : ENTRY_REJECTED);
}

void
planner_unusual_row(Planner *planner, TupleTableSlot *slot, DiffResult result,
					RecordKey key, uint64 hash, uint32 entry)
{
	int			weight = 1;
	double		seconds;
	instr_time	begin;
	instr_time	end;

	if (planner->changed_rows++ >= STAGE_UNSAMPLED)
		weight = planner->changed_rows % STAGE_SAMPLE == 0 ? STAGE_SAMPLE : 0;
	if (weight == 0 && !planner->timing_row)
	{
		take_unusual_row(planner, slot, result, key, hash, entry);
		return;
	}

	INSTR_TIME_SET_CURRENT(begin);
	take_unusual_row(planner, slot, result, key, hash, entry);
	INSTR_TIME_SET_CURRENT(end);
	seconds = seconds_between(begin, end);
	planner->row_stage_seconds += seconds;
	if (weight > 0 && seconds > SLOW_ROW_SECONDS)
		weight = 1;
	planner->stage_seconds += weight * seconds;
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
	else if (result == DIFF_UNEXPECTED)
		planner_defer_row(planner, slot, key, hash);
	else
		planner_unusual_row(planner, slot, result, key, hash, entry);
}

/* Building an index happens once, and stands for itself. */
static double
index_seconds(const Diff *diff)
{
	return (diff->table ? diff->table->index_seconds : 0) +
		(diff->landmarks ? diff->landmarks->index_seconds : 0);
}

static void
process_sampled_row(Planner *planner, TupleTableSlot *slot)
{
	double		index_before = index_seconds(planner->diff);
	double		seconds;
	bool		is_slow;
	instr_time	begin;
	instr_time	end;

	planner->timing_row = true;
	planner->row_stage_seconds = 0;
	INSTR_TIME_SET_CURRENT(begin);
	if (planner->keyer->width == KEY_WIDTH_NARROW)
		process_row(planner, slot, KEY_WIDTH_NARROW);
	else
		process_row(planner, slot, KEY_WIDTH_WIDE);
	INSTR_TIME_SET_CURRENT(end);

	planner->timing_row = false;
	seconds = seconds_between(begin, end) - planner->row_stage_seconds -
		(index_seconds(planner->diff) - index_before);
	is_slow = seconds > SLOW_ROW_SECONDS;
	planner->diff_seconds += seconds * (is_slow ? 1 : planner->sample_interval);
	planner->sample_interval = is_slow ? 1 : ROW_SAMPLE;
	planner->rows_until_sample = planner->sample_interval;

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
	FAULT_POINT("model-row");
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
	Planner    *planner = (Planner *) self;
	MemoryContext old_context = MemoryContextSwitchTo(planner->context);

	planner->deferred = deferred_create(CreateTupleDescCopy(descriptor));
	MemoryContextSwitchTo(old_context);
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
	planner->sample_interval = 1;
	INSTR_TIME_SET_CURRENT(planner->last_progress);
}

void
planner_sum_times(Planner *planner)
{
	planner->figures->diff_ms =
		(planner->diff_seconds + index_seconds(planner->diff)) * 1000.0;
	planner->figures->stage_ms = planner->stage_seconds * 1000.0;
}
