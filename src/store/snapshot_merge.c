/*
 * snapshot_merge.c
 *		Merging the segments of a snapshot when it pays.
 *
 * Runs append segments, so two things go wrong with time: entries that later
 * ones supersede pile up, and frequent runs with few changes leave many small
 * segments.  Against the first, the snapshot is rewritten from its beginning,
 * when what is superseded is worth it; against the second, its newest part is,
 * when that gets rid of enough segments for the records it has to move.  Either
 * way the entries keep the order in which their keys first appeared, which is
 * the order that the comparison expects.
 *
 * A merge is one transaction: it deletes the old segments and inserts the new
 * ones under ids from the same range.  Readers go on with the old ones, and a
 * crash leaves them.  It locks the sync's row, and so does whoever else removes
 * segments, lest a merge brings back what was forgotten meanwhile.
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/fault.h"
#include "base/settings.h"
#include "store/packed.h"
#include "store/scope.h"
#include "store/segment_format.h"
#include "store/snapshot_fold.h"

/*
 * Entries of superseding segments that are tolerated: a part of all entries.
 * Rewriting at 1/5 means that each change is written five times over, 80 bytes,
 * and that a comparison reads at most a quarter more than it has to.
 */
#define SUPERSEDING_PART 5

/*
 * A merge of the newest part has to get rid of that many segments, and may move
 * that many records for each: segments of about a thousand are fine as they are.
 */
#define MIN_SEGMENTS_SAVED 64
#define MAX_RECORDS_MOVED 512

typedef struct SegmentSummary
{
	int64		id;
	int64		count;
	Size		identity_bytes;
	bool		supersedes;
	bool		has_identities;
	int			key_width;
} SegmentSummary;

/* Some consecutive segments, and what they add up to. */
typedef struct SegmentRange
{
	int			first;			/* indexes of summaries */
	int			last;
	int64		records;
	Size		identity_bytes;
	bool		has_identities;
	int			key_width;
} SegmentRange;

typedef struct SegmentList
{
	int			count;
	int			allocated;
	SegmentSummary *summaries;
} SegmentList;

static SegmentList *
list_segments(int64 sync_id, Snapshot snapshot)
{
	SegmentList *list = palloc(sizeof(SegmentList));
	TableReader *reader = table_reader_open("segment", SEGMENT_COLUMNS, sync_id,
											InvalidStrategy, 0, snapshot);

	list->count = 0;
	list->allocated = 64;
	list->summaries = palloc(list->allocated * sizeof(SegmentSummary));
	while (table_reader_next(reader, ForwardScanDirection))
	{
		SegmentSummary *summary;
		Segment		segment;

		if (list->count == list->allocated)
		{
			list->allocated *= 2;
			list->summaries = repalloc(list->summaries,
									   list->allocated * sizeof(SegmentSummary));
		}
		segment_header_read(reader, sync_id, &segment);
		summary = &list->summaries[list->count++];
		summary->id = segment.id;
		summary->count = segment.count;
		summary->supersedes = segment.supersedes;
		summary->key_width = segment.key_width;
		summary->identity_bytes = table_reader_bytes_length(reader, SEGMENT_IDENTITIES);
		(void) table_reader_value(reader, SEGMENT_IDENTITIES, &summary->has_identities);
		summary->has_identities = !summary->has_identities;
	}
	table_reader_close(reader);
	return list;
}

static SegmentRange
make_range(const SegmentList *list, int first, int last)
{
	SegmentRange range = {first, last, 0, 0, false, KEY_WIDTH_NARROW};

	for (int i = first; i <= last; i++)
	{
		const SegmentSummary *summary = &list->summaries[i];

		range.records += summary->count;
		range.identity_bytes += summary->identity_bytes;
		range.has_identities |= summary->has_identities;
		range.key_width = Max(range.key_width, summary->key_width);
	}
	return range;
}

/*
 * The most segments that merging gives: those closed because they are full, and
 * those closed because the next identity did not fit, of which any two in a row
 * exceed the limit.
 */
static int64
max_merged_segments(int64 records, Size identity_bytes)
{
	/* Entries without an identity get an empty one beside those that have. */
	if (identity_bytes > 0)
		identity_bytes += records * IDENTITY_HEADER_BYTES;
	return records / SEGMENT_MAX_RECORDS +
		2 * (identity_bytes / SEGMENT_MAX_IDENTITY_BYTES) + 2;
}

/* --- what to merge --- */

/* Memory that folding takes for a segment. */
static Size
fold_memory(const SegmentSummary *summary)
{
	return summary->supersedes ?
		(Size) summary->count * FOLD_ENTRY_BYTES + 2 * summary->identity_bytes : 0;
}

/*
 * Too much is superseded: all segments from the first one on, up to where
 * memory ends; at least one that supersedes is among them.
 */
static bool
choose_oldest(const SegmentList *list, SegmentRange *range)
{
	int64		records = 0;
	int64		superseding = 0;
	Size		memory = 0;
	int			last = -1;

	for (int i = 0; i < list->count; i++)
	{
		records += list->summaries[i].count;
		if (list->summaries[i].supersedes)
			superseding += list->summaries[i].count;
	}
	if (superseding <= records / SUPERSEDING_PART)
		return false;

	for (int i = 0; i < list->count; i++)
	{
		memory += fold_memory(&list->summaries[i]);
		if (last >= 0 && memory > (Size) setting_diff_mem * 1024)
			break;
		if (list->summaries[i].supersedes)
			last = i;
	}
	*range = make_range(list, 0, last);
	return true;
}

/* Too many small ones: the longest range at the end that is worth its records. */
static bool
choose_newest(const SegmentList *list, SegmentRange *range)
{
	int64		records = 0;
	Size		identity_bytes = 0;
	Size		memory = 0;
	int			first = -1;

	for (int i = list->count - 1; i >= 0; i--)
	{
		int64		saved;

		records += list->summaries[i].count;
		identity_bytes += list->summaries[i].identity_bytes;
		memory += fold_memory(&list->summaries[i]);
		if (memory > (Size) setting_diff_mem * 1024)
			break;
		saved = list->count - i - max_merged_segments(records, identity_bytes);
		if (saved >= MIN_SEGMENTS_SAVED && records <= saved * MAX_RECORDS_MOVED)
			first = i;
	}
	if (first < 0)
		return false;
	*range = make_range(list, first, list->count - 1);
	return true;
}

static bool
choose_range(const SegmentList *list, SegmentRange *range)
{
	return choose_oldest(list, range) || choose_newest(list, range);
}

/* --- merging --- */

/*
 * New ids end where the old ones ended.  At the beginning of a snapshot there is
 * room below; elsewhere fewer segments are made than there were.
 */
static int64
first_new_id(const SegmentList *list, const SegmentRange *range)
{
	return list->summaries[range->last].id -
		max_merged_segments(range->records, range->identity_bytes) + 1;
}

static void
write_merged(int64 sync_id, const SegmentList *list, const SegmentRange *range,
			 Snapshot snapshot)
{
	bool		is_oldest = range->first == 0;
	TableWriter *table = table_writer_open("segment", SEGMENT_COLUMNS);
	SegmentBuilder *builder = segment_builder_create_at(sync_id, range->key_width,
														range->has_identities, table,
														first_new_id(list, range));
	SnapshotFold *fold = snapshot_fold_begin(sync_id, list->summaries[range->first].id,
											 list->summaries[range->last].id, snapshot);
	FoldedEntry entry;

	while (snapshot_fold_next(fold, &entry))
	{
		/* With nothing older, nothing is left to be deleted. */
		if (is_oldest && entry.hash == ROW_HASH_DELETED)
			continue;
		if (!segment_builder_has_room(builder, &entry.identity))
		{
			segment_builder_flush(builder);
			FAULT_POINT("snapshot-merge");
		}
		segment_builder_add(builder, entry.key, entry.hash, &entry.identity,
							entry.superseded && !is_oldest);
	}
	segment_builder_flush(builder);
	snapshot_fold_end(fold);
	table_writer_close(table);
}

static void
delete_range(int64 sync_id, const SegmentList *list, const SegmentRange *range)
{
	Scope		scope;
	uint64		deleted;

	scope_enter(&scope);
	deleted = scope_execute("DELETE FROM signalsmith.segment"
							" WHERE sync_id = $1 AND id BETWEEN $2 AND $3",
							"lll", Int64GetDatum(sync_id),
							Int64GetDatum(list->summaries[range->first].id),
							Int64GetDatum(list->summaries[range->last].id));
	scope_leave(&scope);
	if (deleted != (uint64) (range->last - range->first + 1))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("snapshot of sync sync_%lld has changed while it was merged",
						(long long) sync_id)));
}

static void
lock_sync(int64 sync_id)
{
	Scope		scope;

	scope_enter(&scope);
	scope_execute("SELECT FROM signalsmith.sync WHERE id = $1 FOR NO KEY UPDATE",
				  "l", Int64GetDatum(sync_id));
	scope_leave(&scope);
}

static void
merge_locked(int64 sync_id)
{
	Snapshot	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	SegmentList *list = list_segments(sync_id, snapshot);
	SegmentRange range;

	if (choose_range(list, &range))
	{
		delete_range(sync_id, list, &range);
		write_merged(sync_id, list, &range, snapshot);
		FAULT_POINT("snapshot-merged");
	}
	UnregisterSnapshot(snapshot);
}

void
snapshot_merge_if_due(int64 sync_id)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "signalsmith snapshot merge",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	SegmentRange range;

	/* Most runs need no merge, and then no lock either. */
	if (choose_range(list_segments(sync_id, InvalidSnapshot), &range))
	{
		lock_sync(sync_id);
		merge_locked(sync_id);
	}
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
}
