/*
 * table_reader.c
 *		Reading our own tables in the order of their primary key.
 *
 * A thin layer over the scans that the server reads its catalogs with: they
 * keep the order of the index and their interface is the same in all versions.
 * The planner is left out on purpose: it could choose a sequential scan over a
 * table that holds the snapshots of every sync.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "store/table_reader.h"

#define READER_MAX_KEYS 2

struct TableReader
{
	Relation	relation;
	Relation	index;
	Snapshot	snapshot;
	bool		registered;		/* the snapshot, by us */
	SysScanDesc scan;
	ItemPointerData tid;
	Datum	   *values;
	bool	   *nulls;
};

Relation
extension_table_open(const char *table_name, int column_count, LOCKMODE lock_mode)
{
	Relation	relation;
	Oid			schema = get_namespace_oid("signalsmith", true);
	Oid			table = OidIsValid(schema) ? get_relname_relid(table_name, schema) : InvalidOid;
	Oid			extension = get_extension_oid("signalsmith", true);

	if (!OidIsValid(table) || !OidIsValid(extension) ||
		getExtensionOfObject(RelationRelationId, table) != extension)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"signalsmith.%s\" of extension \"signalsmith\" does not exist",
						table_name),
				 errhint("Run CREATE EXTENSION signalsmith, or drop and create it again.")));

	relation = table_open(table, lock_mode);
	if (RelationGetNumberOfAttributes(relation) < column_count)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"signalsmith.%s\" has %d columns instead of %d",
						table_name, RelationGetNumberOfAttributes(relation), column_count),
				 errdetail("The objects of the extension are older than its library."),
				 errhint("Run ALTER EXTENSION signalsmith UPDATE.")));
	return relation;
}

/* Fills in a condition on a column of the index, 0 or 1. */
static void
init_key(ScanKey key, Relation index, int column, StrategyNumber strategy, int64 value)
{
	Oid			type = TupleDescAttr(RelationGetDescr(index), column)->atttypid;
	Oid			comparison = get_opfamily_member(index->rd_opfamily[column],
												 type, type, strategy);

	if (!OidIsValid(comparison))
		elog(ERROR, "no operator of strategy %d for type %u", strategy, type);
	ScanKeyInit(key, index->rd_index->indkey.values[column], strategy,
				get_opcode(comparison),
				type == INT4OID ? Int32GetDatum((int32) value) : Int64GetDatum(value));
}

TableReader *
table_reader_open(const char *table_name, int column_count, int64 first,
				  StrategyNumber strategy, int64 second, Snapshot snapshot)
{
	TableReader *reader = palloc0(sizeof(TableReader));
	ScanKeyData keys[READER_MAX_KEYS];
	int			key_count = 0;

	reader->relation = extension_table_open(table_name, column_count, AccessShareLock);
	reader->index = index_open(primary_key_index(reader->relation), AccessShareLock);
	reader->registered = snapshot == InvalidSnapshot;
	reader->snapshot = reader->registered ? RegisterSnapshot(GetTransactionSnapshot()) : snapshot;

	init_key(&keys[key_count++], reader->index, 0, BTEqualStrategyNumber, first);
	if (strategy != InvalidStrategy)
		init_key(&keys[key_count++], reader->index, 1, strategy, second);
	reader->scan = systable_beginscan_ordered(reader->relation, reader->index,
											  reader->snapshot, key_count, keys);

	reader->values = palloc(RelationGetNumberOfAttributes(reader->relation) * sizeof(Datum));
	reader->nulls = palloc(RelationGetNumberOfAttributes(reader->relation) * sizeof(bool));
	return reader;
}

bool
table_reader_next(TableReader *reader, ScanDirection direction)
{
	HeapTuple	tuple = systable_getnext_ordered(reader->scan, direction);

	if (!HeapTupleIsValid(tuple))
		return false;
	reader->tid = tuple->t_self;
	heap_deform_tuple(tuple, RelationGetDescr(reader->relation),
					  reader->values, reader->nulls);
	return true;
}

Datum
table_reader_value(const TableReader *reader, int column, bool *isnull)
{
	*isnull = reader->nulls[column - 1];
	return reader->values[column - 1];
}

/* Columns that are never null, as the table says. */
static Datum
not_null_value(const TableReader *reader, int column)
{
	if (reader->nulls[column - 1])
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("column \"%s\" of table \"signalsmith.%s\" is null",
						NameStr(TupleDescAttr(RelationGetDescr(reader->relation), column - 1)->attname),
						RelationGetRelationName(reader->relation))));
	return reader->values[column - 1];
}

int64
table_reader_int64(const TableReader *reader, int column)
{
	return DatumGetInt64(not_null_value(reader, column));
}

int32
table_reader_int32(const TableReader *reader, int column)
{
	return DatumGetInt32(not_null_value(reader, column));
}

const Datum *
table_reader_values(const TableReader *reader)
{
	return reader->values;
}

const bool *
table_reader_nulls(const TableReader *reader)
{
	return reader->nulls;
}

ItemPointer
table_reader_tid(TableReader *reader)
{
	return &reader->tid;
}

char *
table_reader_bytes(const TableReader *reader, int column, Size *length)
{
	struct varlena *stored;
	struct varlena *plain;
	char	   *bytes;

	*length = 0;
	if (reader->nulls[column - 1])
		return NULL;

	stored = (struct varlena *) DatumGetPointer(reader->values[column - 1]);
	plain = pg_detoast_datum_packed(stored);
	*length = VARSIZE_ANY_EXHDR(plain);

	/* What follows the length word is not aligned for 8-byte integers. */
	bytes = palloc(*length);
	memcpy(bytes, VARDATA_ANY(plain), *length);
	if (plain != stored)
		pfree(plain);
	return bytes;
}

Size
table_reader_bytes_length(const TableReader *reader, int column)
{
	if (reader->nulls[column - 1])
		return 0;
	return toast_raw_datum_size(reader->values[column - 1]) - VARHDRSZ;
}

void
table_reader_close(TableReader *reader)
{
	systable_endscan_ordered(reader->scan);
	index_close(reader->index, AccessShareLock);
	table_close(reader->relation, AccessShareLock);
	if (reader->registered)
		UnregisterSnapshot(reader->snapshot);
	pfree(reader->values);
	pfree(reader->nulls);
	pfree(reader);
}
