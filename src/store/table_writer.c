/*
 * table_writer.c
 *		Inserting into our own tables through the table access method.
 *
 * Works as the apply worker of logical replication does: an executor state
 * without a plan, for constraints and indexes.  Triggers are left out on
 * purpose: we may be running as a sync's owner, in a read-only transaction, and
 * nothing that others defined may run as part of it.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store/table_reader.h"
#include "store/table_writer.h"

struct TableWriter
{
	Relation	relation;
	int			column_count;	/* that callers know of */
	EState	   *estate;
	ResultRelInfo *result_relation;
	TupleTableSlot *slot;
	TupleTableSlot *old_slot;	/* carries nothing but the place of a row */
};

void
table_writer_prepare_transaction(void)
{
	(void) GetCurrentTransactionId();
	(void) GetCurrentCommandId(true);
}

TableWriter *
table_writer_open(const char *table_name, int column_count)
{
	TableWriter *writer = palloc(sizeof(TableWriter));
	MemoryContext old_context;

	writer->relation = extension_table_open(table_name, column_count, RowExclusiveLock);
	writer->column_count = column_count;
	writer->estate = CreateExecutorState();

	old_context = MemoryContextSwitchTo(writer->estate->es_query_cxt);
	writer->result_relation = makeNode(ResultRelInfo);

	/* Range table index 0: no permissions, and no columns known as changed. */
	InitResultRelInfo(writer->result_relation, writer->relation, 0, NULL, 0);
	writer->result_relation->ri_TrigDesc = NULL;
	ExecOpenIndices(writer->result_relation, false);
	writer->slot = table_slot_create(writer->relation, NULL);
	writer->old_slot = table_slot_create(writer->relation, NULL);
	MemoryContextSwitchTo(old_context);

	return writer;
}

static void
fill_slot(TableWriter *writer, const Datum *values, const bool *nulls)
{
	TupleTableSlot *slot = writer->slot;

	ExecClearTuple(slot);
	memcpy(slot->tts_values, values, writer->column_count * sizeof(Datum));
	memcpy(slot->tts_isnull, nulls, writer->column_count * sizeof(bool));
	for (int i = writer->column_count; i < RelationGetNumberOfAttributes(writer->relation); i++)
	{
		slot->tts_values[i] = (Datum) 0;
		slot->tts_isnull[i] = true;
	}
	ExecStoreVirtualTuple(slot);
}

/*
 * Compression, constraints and index entries leave garbage behind.  Without the
 * reset a run of a million rows would keep hundreds of megabytes of it.
 */
static MemoryContext
begin_row(TableWriter *writer)
{
	return MemoryContextSwitchTo(GetPerTupleMemoryContext(writer->estate));
}

static void
end_row(TableWriter *writer, MemoryContext old_context)
{
	ExecClearTuple(writer->slot);
	MemoryContextSwitchTo(old_context);
	ResetPerTupleExprContext(writer->estate);
}

void
table_writer_insert(TableWriter *writer, const Datum *values, const bool *nulls)
{
	MemoryContext old_context = begin_row(writer);

	fill_slot(writer, values, nulls);
	ExecSimpleRelationInsert(writer->result_relation, writer->estate, writer->slot);
	end_row(writer, old_context);
}

void
table_writer_update(TableWriter *writer, ItemPointer tid, const Datum *values,
					const bool *nulls)
{
	MemoryContext old_context = begin_row(writer);

	fill_slot(writer, values, nulls);
	writer->old_slot->tts_tid = *tid;
	writer->estate->es_snapshot = GetTransactionSnapshot();
	ExecSimpleRelationUpdate(writer->result_relation, writer->estate, NULL,
							 writer->old_slot, writer->slot);
	end_row(writer, old_context);
}

void
table_writer_delete(TableWriter *writer, ItemPointer tid)
{
	MemoryContext old_context = begin_row(writer);

	writer->old_slot->tts_tid = *tid;
	writer->estate->es_snapshot = GetTransactionSnapshot();
	ExecSimpleRelationDelete(writer->result_relation, writer->estate, NULL,
							 writer->old_slot);
	end_row(writer, old_context);
}

void
table_writer_close(TableWriter *writer)
{
	ExecDropSingleTupleTableSlot(writer->slot);
	ExecDropSingleTupleTableSlot(writer->old_slot);
	ExecCloseIndices(writer->result_relation);
	FreeExecutorState(writer->estate);

	/* The lock stays until the transaction ends, as it does for any writer. */
	table_close(writer->relation, NoLock);
	pfree(writer);
	CommandCounterIncrement();
}
