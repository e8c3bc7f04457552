/*
 * outbox_format.h
 *		What a row of signalsmith.outbox looks like; for outbox_*.c alone.
 */
#ifndef SIGNALSMITH_OUTBOX_FORMAT_H
#define SIGNALSMITH_OUTBOX_FORMAT_H

#include "postgres.h"

#include "store/outbox.h"
#include "store/table_reader.h"

/* Columns, in the table's order. */
enum OutboxColumn
{
	OUTBOX_RUN_ID = 1,
	OUTBOX_SEQUENCE,
	OUTBOX_OPERATION,
	OUTBOX_RECORD_COUNT,
	OUTBOX_SEED,
	OUTBOX_BATCH_ENDS,
	OUTBOX_KEY_WIDTH,
	OUTBOX_ENTRIES,
	OUTBOX_RECORDS,
	OUTBOX_ATTEMPTS,
	OUTBOX_OUTCOMES
};

#define OUTBOX_COLUMNS OUTBOX_OUTCOMES

/*
 * Sequence numbers are in the order of delivery: each operation has a range of
 * its own, deletes before updates before creates.
 */
#define SEQUENCES_PER_OPERATION (1 << 29)

static inline int32
first_sequence(Operation operation)
{
	switch (operation)
	{
		case OPERATION_DELETE:
			return 0;
		case OPERATION_UPDATE:
			return SEQUENCES_PER_OPERATION;
		case OPERATION_CREATE:
			return 2 * SEQUENCES_PER_OPERATION;
	}
	return 0;
}

static inline int32
last_sequence(Operation operation)
{
	return first_sequence(operation) + (SEQUENCES_PER_OPERATION - 1);
}

/* Before each record's texts: their lengths, in the order of struct Record. */
#define RECORD_HEADER_BYTES (5 * sizeof(uint32))

/*
 * Reads the bundle that the reader is at, checking everything that a damaged
 * row could lead astray (ERRCODE_DATA_CORRUPTED).  Records and their ids are
 * left out if not asked for.
 */
extern Bundle *outbox_bundle_read(TableReader *reader, bool with_records);

#endif							/* SIGNALSMITH_OUTBOX_FORMAT_H */
