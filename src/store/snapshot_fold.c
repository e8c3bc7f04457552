/*
 * snapshot_fold.c
 *		The entries of a snapshot as they are now, each key once.
 *
 * Two passes.  The first collects what superseding segments say, the last word
 * for each key; the second streams all segments and looks every entry up among
 * those.  So the order of the first appearance is kept, which is the order that
 * models tend to return their rows in, and memory is needed for the superseding
 * entries only, which merging keeps few.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/fault.h"
#include "store/packed.h"
#include "store/segment_format.h"
#include "store/snapshot_fold.h"

/* Key, identifier, id and version. */
#define IDENTITY_TEXTS 4

/* The last word on a key. */
typedef struct LastWord
{
	RecordKey	key;
	uint64		hash;
	char	   *texts;			/* of the identity, one after the other; or NULL */
	uint32		lengths[IDENTITY_TEXTS];
	bool		given;			/* by snapshot_fold_next already */
	char		status;
} LastWord;

static inline uint32
hash_key(RecordKey key)
{
	uint64		mixed = key.low ^ (key.high * UINT64CONST(0x9e3779b97f4a7c15));

	return murmurhash32((uint32) mixed ^ (uint32) (mixed >> 32));
}

#define SH_PREFIX last_word
#define SH_ELEMENT_TYPE LastWord
#define SH_KEY_TYPE RecordKey
#define SH_KEY key
#define SH_HASH_KEY(table, key) hash_key(key)
#define SH_EQUAL(table, left, right) ((left).low == (right).low && (left).high == (right).high)
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

struct SnapshotFold
{
	int64		sync_id;
	int64		first_id;
	int64		last_id;
	Snapshot	snapshot;
	MemoryContext context;		/* of the fold and its table */
	MemoryContext segment_context;	/* of the segment at hand */
	TableReader *reader;
	last_word_hash *last_words;

	bool		in_segment;
	Segment		segment;
	SegmentIdentities *identities;
	int			index;			/* of the next entry */
};

static TableReader *
open_reader(const SnapshotFold *fold)
{
	return table_reader_open("segment", SEGMENT_COLUMNS, fold->sync_id,
							 BTGreaterEqualStrategyNumber, fold->first_id,
							 fold->snapshot);
}

/* Moves to the next segment of the range; reads its header only. */
static bool
next_header(SnapshotFold *fold)
{
	MemoryContextReset(fold->segment_context);
	fold->identities = NULL;
	if (!table_reader_next(fold->reader, ForwardScanDirection))
		return false;
	segment_header_read(fold->reader, fold->sync_id, &fold->segment);
	return fold->segment.id <= fold->last_id;
}

static void
load_segment(SnapshotFold *fold)
{
	MemoryContext old_context = MemoryContextSwitchTo(fold->segment_context);

	segment_entries_read(fold->reader, fold->sync_id, &fold->segment);
	fold->identities = segment_identities_read(fold->reader, fold->sync_id, &fold->segment);
	MemoryContextSwitchTo(old_context);
}

static void
keep_identity(SnapshotFold *fold, LastWord *word, int index)
{
	const Record *identity;
	Slice		texts[IDENTITY_TEXTS];
	Size		size = 0;

	word->texts = NULL;
	memset(word->lengths, 0, sizeof(word->lengths));
	if (fold->identities == NULL)
		return;

	identity = &fold->identities->records[index];
	texts[0] = identity->key;
	texts[1] = identity->identifier;
	texts[2] = identity->id;
	texts[3] = identity->version;
	for (int i = 0; i < IDENTITY_TEXTS; i++)
		size += texts[i].length;
	word->texts = MemoryContextAlloc(fold->context, size + 1);
	size = 0;
	for (int i = 0; i < IDENTITY_TEXTS; i++)
	{
		memcpy(word->texts + size, texts[i].data, texts[i].length);
		word->lengths[i] = texts[i].length;
		size += texts[i].length;
	}
}

static void
collect_segment(SnapshotFold *fold)
{
	for (int i = 0; i < fold->segment.count; i++)
	{
		bool		found;
		LastWord   *word = last_word_insert(fold->last_words,
											packed_key(fold->segment.keys,
													   fold->segment.key_width, i),
											&found);

		if (found && word->texts)
			pfree(word->texts);
		word->hash = fold->segment.hashes[i];
		word->given = false;
		keep_identity(fold, word, i);
	}
}

static void
collect_last_words(SnapshotFold *fold)
{
	fold->reader = open_reader(fold);
	while (next_header(fold))
	{
		if (!fold->segment.supersedes)
			continue;
		CHECK_FOR_INTERRUPTS();
		FAULT_POINT("snapshot-fold");
		load_segment(fold);
		collect_segment(fold);
	}
	table_reader_close(fold->reader);
}

SnapshotFold *
snapshot_fold_begin(int64 sync_id, int64 first_id, int64 last_id, Snapshot snapshot)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "signalsmith snapshot fold",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	SnapshotFold *fold = palloc0(sizeof(SnapshotFold));

	fold->sync_id = sync_id;
	fold->first_id = first_id;
	fold->last_id = last_id;
	fold->snapshot = snapshot;
	fold->context = context;
	fold->segment_context = AllocSetContextCreate(context, "signalsmith segment",
												  ALLOCSET_DEFAULT_SIZES);
	fold->last_words = last_word_create(context, 1024, NULL);
	collect_last_words(fold);
	fold->reader = open_reader(fold);

	MemoryContextSwitchTo(old_context);
	return fold;
}

/* Makes sure that the next entry is in the segment at hand. */
static bool
advance(SnapshotFold *fold)
{
	if (fold->in_segment && fold->index < fold->segment.count)
		return true;

	CHECK_FOR_INTERRUPTS();
	fold->in_segment = next_header(fold);
	if (!fold->in_segment)
		return false;
	load_segment(fold);
	fold->index = 0;
	return true;
}

static const Record no_identity = {{"", 0}, {"", 0}, {"", 0}, {"", 0}, {"", 0}};

static void
set_from_segment(const SnapshotFold *fold, int index, FoldedEntry *entry)
{
	entry->superseded = false;
	entry->hash = fold->segment.hashes[index];
	entry->identity = fold->identities ? fold->identities->records[index] : no_identity;
}

static void
set_from_last_word(const LastWord *word, FoldedEntry *entry)
{
	Record	   *identity = &entry->identity;
	const char *text = word->texts;

	entry->superseded = true;
	entry->hash = word->hash;
	*identity = no_identity;
	if (text == NULL)
		return;
	identity->key = (Slice) {text, word->lengths[0]};
	text += word->lengths[0];
	identity->identifier = (Slice) {text, word->lengths[1]};
	text += word->lengths[1];
	identity->id = (Slice) {text, word->lengths[2]};
	text += word->lengths[2];
	identity->version = (Slice) {text, word->lengths[3]};
}

bool
snapshot_fold_next(SnapshotFold *fold, FoldedEntry *entry)
{
	while (advance(fold))
	{
		int			index = fold->index++;
		LastWord   *word;

		entry->key = packed_key(fold->segment.keys, fold->segment.key_width, index);
		entry->key_width = fold->segment.key_width;
		word = last_word_lookup(fold->last_words, entry->key);
		if (word == NULL)
			set_from_segment(fold, index, entry);
		else if (!word->given)
		{
			set_from_last_word(word, entry);
			word->given = true;
		}
		else
			continue;
		return true;
	}
	return false;
}

void
snapshot_fold_end(SnapshotFold *fold)
{
	table_reader_close(fold->reader);
	MemoryContextDelete(fold->context);
}
