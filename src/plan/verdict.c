/*
 * verdict.c
 *		What rows are that a comparison could not decide one by one.
 *
 * A join of those rows with the snapshot, built on the rows, since they are
 * usually few: their keys go into a table, the snapshot is read past it once,
 * and then the rows again, which gives each the verdict on its key.  Keys that
 * do not fit into memory are parted by some of their bits, as often as it takes,
 * and the verdicts on the parts are put together again in the order of the
 * rows.  So the order of changes, which becomes that of the snapshot, is always
 * the model's.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "plan/verdict.h"

/* Into how many parts rows are divided at once, and by how many bits. */
#define PARTS 16
#define PART_BITS 4

typedef struct Judge
{
	Diff	   *diff;
	Size		memory_limit;
	Size		peak_memory;
} Judge;

/* The rows whose part bits, as far as the mask goes, are these. */
typedef struct RowPart
{
	BufFile    *rows;
	int64		count;
	uint32		bits;
	uint32		mask;
} RowPart;

/* --- files --- */

void
file_write(BufFile *file, const void *data, Size size)
{
	BufFileWrite(file, unconstify(void *, data), size);
}

void
file_read(BufFile *file, void *data, Size size)
{
	if (BufFileRead(file, data, size) != size)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from temporary file")));
}

void
file_rewind(BufFile *file)
{
	if (BufFileSeek(file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not seek in temporary file")));
}

/* --- in memory --- */

/* The keys of a part, each with a preliminary verdict. */
typedef struct KeyVerdicts
{
	KeyTable   *keys;			/* with the hash of the first row */
	Verdict    *verdicts;
	uint32		room;
} KeyVerdicts;

static void
add_verdict(KeyVerdicts *all, uint32 index)
{
	Verdict    *verdict;

	if (index >= all->room)
	{
		all->room = all->keys->capacity;
		all->verdicts = all->verdicts == NULL ?
			MemoryContextAllocHuge(CurrentMemoryContext, all->room * sizeof(Verdict)) :
			repalloc_huge(all->verdicts, all->room * sizeof(Verdict));
	}
	verdict = &all->verdicts[index];
	memset(verdict, 0, sizeof(Verdict));
	verdict->entry = KEY_TABLE_NONE;
	verdict->kind = VERDICT_NEW;
}

/* False when they do not fit into memory. */
static bool
collect_keys(KeyVerdicts *all, const RowPart *part)
{
	file_rewind(part->rows);
	for (int64 i = 0; i < part->count; i++)
	{
		UndecidedKey row;
		uint32		index;
		bool		added;

		CHECK_FOR_INTERRUPTS();
		file_read(part->rows, &row, sizeof(row));
		index = key_table_find_or_add(all->keys, row.key, row.hash, &added);
		if (index == KEY_TABLE_NONE)
			return false;
		if (added)
			add_verdict(all, index);
		else
			all->verdicts[index].repeated = true;
	}
	return true;
}

/* An entry of the snapshot that some undecided row has the key of. */
static void
judge_entry(Diff *diff, KeyVerdicts *all, uint32 index, uint32 entry, uint64 known_hash)
{
	Verdict    *verdict = &all->verdicts[index];

	verdict->entry = entry;
	verdict->known = diff_hash_is_known(known_hash);
	if (diff_state(diff, entry) == ENTRY_SEEN)
		verdict->kind = VERDICT_REPEATS_UNCHANGED;
	else if (known_hash == key_table_value(all->keys, index) && !diff->forget_hashes)
		verdict->kind = VERDICT_UNCHANGED;
	else
		verdict->kind = verdict->known ? VERDICT_CHANGED : VERDICT_NEW;
	diff_set_state(diff, entry, ENTRY_SEEN);
}

static void
look_into_snapshot(Diff *diff, KeyVerdicts *all, const RowPart *part)
{
	SegmentScan *scan = segment_scan_begin(diff->map->sync_id, PG_INT64_MIN);
	Segment    *segment;

	for (int i = 0; (segment = segment_scan_next(scan)) != NULL; i++)
	{
		uint32		first = diff->map->segments[i].first;

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < segment->count; j++)
		{
			RecordKey	key = segment_key(segment, j);
			uint32		index;

			diff->has_doubtful |= segment->hashes[j] == ROW_HASH_DELETED ||
				segment->hashes[j] == ROW_HASH_MAYBE;
			if ((key_part_bits(key) & part->mask) != part->bits ||
				diff_state(diff, first + j) == ENTRY_DEAD)
				continue;
			index = key_table_find(all->keys, key);
			if (index != KEY_TABLE_NONE)
				judge_entry(diff, all, index, first + j, segment->hashes[j]);
		}
	}
	segment_scan_end(scan);
}

static BufFile *
write_verdicts(const KeyVerdicts *all, const RowPart *part)
{
	BufFile    *file = BufFileCreateTemp(false);

	file_rewind(part->rows);
	for (int64 i = 0; i < part->count; i++)
	{
		UndecidedKey row;
		Verdict    *verdict;
		Verdict		own;

		CHECK_FOR_INTERRUPTS();
		file_read(part->rows, &row, sizeof(row));
		verdict = &all->verdicts[key_table_find(all->keys, row.key)];
		own = *verdict;
		if (own.repeated && own.kind != VERDICT_REPEATS_UNCHANGED)
			own.kind = VERDICT_REPEATED;
		file_write(file, &own, sizeof(own));

		/* Only one of several rows has to say so. */
		if (own.kind == VERDICT_REPEATS_UNCHANGED)
		{
			verdict->repeated = true;
			verdict->kind = VERDICT_REPEATED;
		}
	}
	return file;
}

/* NULL when the keys do not fit into memory. */
static BufFile *
judge_in_memory(Judge *judge, const RowPart *part)
{
	KeyVerdicts all = {0};
	BufFile    *file = NULL;
	Size		memory_limit = judge->memory_limit;

	/* A key has at least its entry, and a verdict beside it. */
	memory_limit -= memory_limit / 3;
	all.keys = key_table_create(judge->diff->key_width, memory_limit);
	if (collect_keys(&all, part))
	{
		if (judge->diff->streaming)
			look_into_snapshot(judge->diff, &all, part);
		file = write_verdicts(&all, part);
	}
	judge->peak_memory = Max(judge->peak_memory,
							 all.keys->peak + all.room * sizeof(Verdict));
	key_table_free(all.keys);
	if (all.verdicts != NULL)
		pfree(all.verdicts);
	return file;
}

/* --- in parts --- */

static BufFile *judge_part(Judge *judge, const RowPart *part, int level);

static int
part_of(RecordKey key, int level)
{
	return (key_part_bits(key) >> (level * PART_BITS)) % PARTS;
}

static void
divide(const RowPart *whole, RowPart parts[PARTS], int level)
{
	for (int i = 0; i < PARTS; i++)
	{
		parts[i].rows = BufFileCreateTemp(false);
		parts[i].count = 0;
		parts[i].bits = whole->bits | ((uint32) i << (level * PART_BITS));
		parts[i].mask = whole->mask | ((uint32) (PARTS - 1) << (level * PART_BITS));
	}
	file_rewind(whole->rows);
	for (int64 i = 0; i < whole->count; i++)
	{
		UndecidedKey row;
		RowPart    *part;

		CHECK_FOR_INTERRUPTS();
		file_read(whole->rows, &row, sizeof(row));
		part = &parts[part_of(row.key, level)];
		file_write(part->rows, &row, sizeof(row));
		part->count++;
	}
}

/* Puts the verdicts on the parts together, in the order of the whole. */
static BufFile *
unite(const RowPart *whole, BufFile *verdicts[PARTS], int level)
{
	BufFile    *file = BufFileCreateTemp(false);

	file_rewind(whole->rows);
	for (int64 i = 0; i < whole->count; i++)
	{
		UndecidedKey row;
		Verdict		verdict;

		CHECK_FOR_INTERRUPTS();
		file_read(whole->rows, &row, sizeof(row));
		file_read(verdicts[part_of(row.key, level)], &verdict, sizeof(verdict));
		file_write(file, &verdict, sizeof(verdict));
	}
	return file;
}

static BufFile *
judge_in_parts(Judge *judge, const RowPart *whole, int level)
{
	RowPart		parts[PARTS];
	BufFile    *verdicts[PARTS];
	BufFile    *file;

	if (level * PART_BITS >= 32)
		elog(ERROR, "undecided rows cannot be divided any further");
	divide(whole, parts, level);
	for (int i = 0; i < PARTS; i++)
	{
		verdicts[i] = judge_part(judge, &parts[i], level + 1);
		file_rewind(verdicts[i]);
		BufFileClose(parts[i].rows);
	}
	file = unite(whole, verdicts, level);
	for (int i = 0; i < PARTS; i++)
		BufFileClose(verdicts[i]);
	return file;
}

static BufFile *
judge_part(Judge *judge, const RowPart *part, int level)
{
	bool		fits = key_table_memory(part->count, judge->diff->key_width) <=
		judge->memory_limit / 2;
	BufFile    *file = NULL;

	/* Rows of few keys may fit even if they are many. */
	if (fits || level > 0)
		file = judge_in_memory(judge, part);
	if (file == NULL)
		file = judge_in_parts(judge, part, level);
	return file;
}

BufFile *
verdicts_reach(Diff *diff, BufFile *rows, int64 count, Size memory_limit,
			   Size *peak_memory)
{
	Judge		judge = {diff, memory_limit, 0};
	RowPart		all = {rows, count, 0, 0};
	BufFile    *file = judge_part(&judge, &all, 0);

	*peak_memory = judge.peak_memory;
	file_rewind(file);
	return file;
}
