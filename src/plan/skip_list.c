/*
 * skip_list.c
 *		Rows that failed and that somebody has accepted as they are.
 *
 * Mostly there are none.  How many there can be is limited where they are
 * written (_skip_rows), so they are held in memory.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"

#include "plan/skip_list.h"
#include "store/packed.h"
#include "store/scope.h"
#include "store/table_reader.h"

/* Columns of signalsmith.skipped_row, in the table's order; the rest is for people. */
enum SkippedRowColumn
{
	SKIPPED_SYNC_ID = 1,
	SKIPPED_ID,
	SKIPPED_PACKED_KEY,
	SKIPPED_ROW_HASH
};

#define SKIPPED_COLUMNS SKIPPED_ROW_HASH

typedef struct SkippedRow
{
	RecordKey	key;			/* must be first */
	uint64		hash;
	int64		id;
	bool		met;
} SkippedRow;

struct SkipList
{
	HTAB	   *rows;			/* NULL: there are none */
};

static HTAB *
create_rows(void)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(RecordKey);
	control.entrysize = sizeof(SkippedRow);
	control.hcxt = CurrentMemoryContext;
	return hash_create("signalsmith skipped rows", 128, &control,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
add_row(SkipList *list, const TableReader *reader)
{
	Size		length;
	char	   *bytes = table_reader_bytes(reader, SKIPPED_PACKED_KEY, &length);
	RecordKey	key;
	SkippedRow *row;

	if (length != KEY_WIDTH_WIDE)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("key of a skipped row has %zu bytes", length)));
	key = packed_read_single_key(bytes);
	if (list->rows == NULL)
		list->rows = create_rows();
	row = hash_search(list->rows, &key, HASH_ENTER, NULL);
	row->hash = (uint64) table_reader_int64(reader, SKIPPED_ROW_HASH);
	row->id = table_reader_int64(reader, SKIPPED_ID);
	row->met = false;
	pfree(bytes);
}

SkipList *
skip_list_load(int64 sync_id)
{
	SkipList   *list = palloc0(sizeof(SkipList));
	TableReader *reader = table_reader_open("skipped_row", SKIPPED_COLUMNS, sync_id,
											InvalidStrategy, 0, InvalidSnapshot);

	while (table_reader_next(reader, ForwardScanDirection))
		add_row(list, reader);
	table_reader_close(reader);
	return list;
}

static SkippedRow *
find_row(const SkipList *list, RecordKey key)
{
	if (list->rows == NULL)
		return NULL;
	return hash_search(list->rows, &key, HASH_FIND, NULL);
}

bool
skip_list_meets(SkipList *list, RecordKey key, uint64 hash)
{
	SkippedRow *row = find_row(list, key);

	if (row == NULL || row->hash != hash)
		return false;
	row->met = true;
	return true;
}

bool
skip_list_has_met(const SkipList *list, RecordKey key)
{
	const SkippedRow *row = find_row(list, key);

	return row != NULL && row->met;
}

/* The ids of rows that were not met, as texts. */
static ArrayBuildState *
collect_unmet(SkipList *list)
{
	ArrayBuildState *ids = NULL;
	HASH_SEQ_STATUS scan;
	SkippedRow *row;

	hash_seq_init(&scan, list->rows);
	while ((row = hash_seq_search(&scan)) != NULL)
		if (!row->met)
			ids = accumArrayResult(ids,
								   CStringGetTextDatum(psprintf(INT64_FORMAT, row->id)),
								   false, TEXTOID, CurrentMemoryContext);
	return ids;
}

void
skip_list_forget_unmet(SkipList *list)
{
	ArrayBuildState *ids;
	Scope		scope;

	if (list->rows == NULL || (ids = collect_unmet(list)) == NULL)
		return;
	scope_enter(&scope);
	scope_execute("DELETE FROM signalsmith.skipped_row s"
				  " USING unnest($1) AS unmet WHERE s.id = unmet::bigint",
				  "a", makeArrayResult(ids, CurrentMemoryContext));
	scope_leave(&scope);
}
