/*
 * table_reader.h
 *		Reading our own tables in the order of their primary key.
 *
 * For the tables that the engine reads in bulk, or while it is not in a scope
 * (store/scope.h): always by an index scan, with no planner, no permission
 * check, and without fetching what is stored out of line.
 */
#ifndef SIGNALSMITH_TABLE_READER_H
#define SIGNALSMITH_TABLE_READER_H

#include "postgres.h"

#include "access/sdir.h"
#include "access/stratnum.h"
#include "storage/itemptr.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

typedef struct TableReader TableReader;

/*
 * Opens a table of the extension.  Raises ERRCODE_UNDEFINED_TABLE when there is
 * none of that name that belongs to the extension: a table that somebody put
 * in its place is not touched; and
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE when it has fewer columns than that:
 * it is an older version's.  More are allowed, and left null by a writer.
 */
extern Relation extension_table_open(const char *table_name, int column_count,
									 LOCKMODE lock_mode);

/*
 * Reads the rows whose first key column, a bigint, is "first" and whose second
 * key column compares to "second" as the strategy says: BTEqualStrategyNumber,
 * BTGreaterStrategyNumber, ..., or InvalidStrategy for all of them.  Lives in
 * CurrentMemoryContext.  Without a snapshot (InvalidSnapshot) the transaction's
 * own is taken, which sees what it has written up to the last command counter
 * increment.
 */
extern TableReader *table_reader_open(const char *table_name, int column_count,
									  int64 first, StrategyNumber strategy,
									  int64 second, Snapshot snapshot);

/*
 * Moves to the next row; false when there is none.  Values may point to where
 * the rest of them is stored; they are valid until the next call.
 */
extern bool table_reader_next(TableReader *reader, ScanDirection direction);
extern Datum table_reader_value(const TableReader *reader, int column, bool *isnull);
extern int64 table_reader_int64(const TableReader *reader, int column);
extern int32 table_reader_int32(const TableReader *reader, int column);

/* The columns of the row at once, for table_writer_update. */
extern const Datum *table_reader_values(const TableReader *reader);
extern const bool *table_reader_nulls(const TableReader *reader);
extern ItemPointer table_reader_tid(TableReader *reader);

/*
 * A bytea of the row, detoasted and aligned as palloc() does, in
 * CurrentMemoryContext; NULL when it is null.
 */
extern char *table_reader_bytes(const TableReader *reader, int column, Size *length);

/* How many bytes that would give, without fetching them. */
extern Size table_reader_bytes_length(const TableReader *reader, int column);

extern void table_reader_close(TableReader *reader);

#endif							/* SIGNALSMITH_TABLE_READER_H */
