/*
 * snapshot_function.c
 *		snapshot: what a sync's destination is known to hold, as rows.
 *
 * Reads the segments with the statement's own snapshot, each key once, and
 * leaves out what is known to be deleted.  It sends nothing and runs no model:
 * it shows what there is, for whoever wonders why a row is, or is not, sent.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "plan/identity.h"
#include "sql/call.h"
#include "store/definition.h"
#include "store/packed.h"
#include "store/snapshot_fold.h"

SQL_FUNCTION(signalsmith_snapshot);

typedef struct SnapshotRows
{
	const SyncDefinition *definition;
	bool		key_is_exact;	/* a packed key is the key itself */
	ReturnSetInfo *result;
} SnapshotRows;

static const char *
entry_state(uint64 hash)
{
	if (hash == ROW_HASH_UNKNOWN)
		return "unknown";
	if (hash == ROW_HASH_MAYBE)
		return "maybe";
	return "present";
}

/* An integer key reads as one: its highest byte comes first. */
static bytea *
key_bytes(const FoldedEntry *entry)
{
	uint64		big_endian;

	if (entry->key_width == KEY_WIDTH_WIDE)
		return bytea_build(&entry->key, KEY_WIDTH_WIDE);
	big_endian = pg_hton64(entry->key.low);
	return bytea_build(&big_endian, sizeof(big_endian));
}

static bytea *
hash_bytes(uint64 hash)
{
	uint64		big_endian = pg_hton64(hash);

	return bytea_build(&big_endian, sizeof(big_endian));
}

/* The key as it was sent; NULL where only its hash is known. */
static char *
key_json(const SnapshotRows *rows, const FoldedEntry *entry)
{
	StringInfoData text;

	if (entry->identity.key.length > 0)
		return pnstrdup(entry->identity.key.data, entry->identity.key.length);
	if (!rows->key_is_exact)
		return NULL;
	initStringInfo(&text);
	identity_append_key(rows->definition, entry->key, &text);
	return text.data;
}

/* JSON in UTF-8 as jsonb; NULL where there is none. */
static void
set_jsonb(Datum *value, bool *isnull, const char *json, size_t length)
{
	*isnull = length == 0;
	if (length > 0)
		*value = DirectFunctionCall1(jsonb_in,
									 CStringGetDatum(pg_any_to_server(pnstrdup(json, length),
																	  length, PG_UTF8)));
}

static void
return_entry(const SnapshotRows *rows, const FoldedEntry *entry)
{
	Datum		values[6] = {0};
	bool		nulls[6] = {false};
	const Record *identity = &entry->identity;
	char	   *key = key_json(rows, entry);

	set_jsonb(&values[0], &nulls[0], key, key ? strlen(key) : 0);
	values[1] = PointerGetDatum(key_bytes(entry));
	nulls[2] = entry->hash < ROW_HASH_FIRST;
	if (!nulls[2])
		values[2] = PointerGetDatum(hash_bytes(entry->hash));
	values[3] = CStringGetTextDatum(entry_state(entry->hash));
	set_jsonb(&values[4], &nulls[4], identity->id.data, identity->id.length);
	set_jsonb(&values[5], &nulls[5], identity->version.data, identity->version.length);
	tuplestore_putvalues(rows->result->setResult, rows->result->setDesc, values, nulls);
}

static void
return_snapshot(const SnapshotRows *rows)
{
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "signalsmith snapshot row",
													  ALLOCSET_SMALL_SIZES);
	SnapshotFold *fold = snapshot_fold_begin(rows->definition->sync_id,
											 PG_INT64_MIN, PG_INT64_MAX,
											 GetActiveSnapshot());
	FoldedEntry entry;

	while (snapshot_fold_next(fold, &entry))
	{
		MemoryContext old_context;

		if (entry.hash == ROW_HASH_DELETED)
			continue;
		old_context = MemoryContextSwitchTo(row_context);
		return_entry(rows, &entry);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(row_context);
	}
	snapshot_fold_end(fold);
}

Datum
signalsmith_snapshot(PG_FUNCTION_ARGS)
{
	SnapshotRows rows;
	int64		sync_id;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("sync must not be null")));
	InitMaterializedSRF(fcinfo, 0);
	sync_id = find_for_caller("sync", text_to_cstring(PG_GETARG_TEXT_PP(0)), true);
	rows.definition = definition_read(sync_id);
	rows.key_is_exact = identity_key_is_exact(rows.definition);
	rows.result = (ReturnSetInfo *) fcinfo->resultinfo;
	return_snapshot(&rows);
	return (Datum) 0;
}
