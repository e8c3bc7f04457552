/*
 * table_writer.h
 *		Inserting into our own tables through the table access method.
 *
 * For rows that are written while a model's query is running: SPI would refuse
 * in its read-only transaction.  No permission is checked, no trigger runs, no
 * default is filled in; indexes are maintained.  The caller has made sure that
 * the transaction had its xid and command id before the query's executor
 * started (table_writer_prepare_transaction), since a parallel plan forbids
 * assigning them later.
 */
#ifndef SIGNALSMITH_TABLE_WRITER_H
#define SIGNALSMITH_TABLE_WRITER_H

#include "postgres.h"

#include "storage/itemptr.h"

typedef struct TableWriter TableWriter;

extern void table_writer_prepare_transaction(void);

/*
 * Opens a table of the extension, as extension_table_open does; lives in
 * CurrentMemoryContext.
 */
extern TableWriter *table_writer_open(const char *table_name, int column_count);

/* Inserts a row: "column_count" values, in the order of the columns. */
extern void table_writer_insert(TableWriter *writer, const Datum *values,
								const bool *nulls);

/*
 * Replaces or removes a row, as found by a TableReader.  Not while a query's
 * executor is running.  A row changed twice, or changed after it was inserted
 * here, needs a command counter increment in between.
 */
extern void table_writer_update(TableWriter *writer, ItemPointer tid,
								const Datum *values, const bool *nulls);
extern void table_writer_delete(TableWriter *writer, ItemPointer tid);

/*
 * Closes the table, after the query's executor has ended, and makes what was
 * written visible to what follows in the transaction.
 */
extern void table_writer_close(TableWriter *writer);

#endif							/* SIGNALSMITH_TABLE_WRITER_H */
