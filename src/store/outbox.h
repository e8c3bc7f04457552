/*
 * outbox.h
 *		Planned changes that are not settled yet, as bundles of batches.
 *
 * A batch is the unit of delivery: what one request carries.  A bundle is the
 * unit of storage: about BUNDLE_RECORDS records of one operation, in one row,
 * however small its batches are.  The plan writes bundles while the model's
 * query runs and commits all or none; deliveries read them in order, record
 * outcomes in them, and delete those that are settled.
 *
 * A batch is a range of a bundle's records, and its idempotency key derives
 * from the bundle's random seed and the range.  So the parts of a batch that is
 * split have keys of their own without a write, and the same ones after a
 * crash.
 */
#ifndef SIGNALSMITH_OUTBOX_H
#define SIGNALSMITH_OUTBOX_H

#include "postgres.h"

#include "utils/uuid.h"

#include "base/types.h"

#define BUNDLE_RECORDS 1000

/*
 * Outcomes in outbox.outcomes, one byte a record.  Everything but OPEN is
 * settled; a bundle with nothing open is deleted.
 */
#define OUTCOME_OPEN 0
#define OUTCOME_ACKNOWLEDGED 1
#define OUTCOME_FAILED 2		/* listed in row_failure */
#define OUTCOME_WITHDRAWN 3		/* planned, then found to be a duplicate */

typedef struct Bundle
{
	int64		run_id;
	int32		sequence;
	Operation	operation;
	int			record_count;
	int			batch_count;
	uint32	   *batch_ends;		/* index after the last record of each batch */
	pg_uuid_t	seed;
	int			key_width;
	RecordKey  *keys;
	uint64	   *hashes;
	Record	   *records;		/* slices into memory of the bundle */
	int			attempts;
	uint8	   *outcomes;		/* record_count of them */
} Bundle;

/* --- writing, in the plan's transaction --- */

typedef struct OutboxWriter OutboxWriter;

typedef struct OutboxLimits
{
	int			max_records;	/* of a batch */
	int			max_bytes;		/* of a batch's records; 0: any */
} OutboxLimits;

/* Lives in CurrentMemoryContext.  One bundle an operation is open at a time. */
extern OutboxWriter *outbox_writer_create(int64 run_id, int key_width,
										  const OutboxLimits limits[OPERATION_COUNT]);
extern void outbox_writer_add(OutboxWriter *writer, Operation operation,
							  RecordKey key, uint64 hash, const Record *record);

/*
 * Withdraws what has been added for these keys (sorted, as memcmp orders
 * RecordKey), including in bundles already written.  Returns how many records
 * of each operation that were.
 */
extern void outbox_writer_withdraw(OutboxWriter *writer, const RecordKey *keys,
								   int key_count, int64 withdrawn[OPERATION_COUNT]);

/* Writes the open bundles; returns the number of batches in all. */
extern int64 outbox_writer_finish(OutboxWriter *writer, int64 *bytes_staged);

/* --- delivering: each in a short transaction, inside a scope --- */

/*
 * Reads the next bundle of a run after the given one, in the order of delivery:
 * deletes, then updates, then creates, each by sequence.  NULL for "after": the
 * first.  NULL when there is no more.  The result is one palloc'ed tree in
 * CurrentMemoryContext.
 */
extern Bundle *outbox_next_bundle(int64 run_id, const Bundle *after);

/* Records that a runner begins to send it: attempts + 1, here and there. */
extern void outbox_begin_bundle(Bundle *bundle);

/* Stores the outcomes; deletes the bundle when none is open any more. */
extern void outbox_store_outcomes(const Bundle *bundle);

/* Deletes whatever a run has left. */
extern void outbox_discard(int64 run_id);

/* --- keys --- */

/* The idempotency key of the batch of records first .. first + count - 1. */
extern pg_uuid_t outbox_batch_id(const Bundle *bundle, int first, int count);

/* The idempotency key of one record, in whatever batch it travels. */
extern pg_uuid_t outbox_record_id(const Bundle *bundle, int index);

#endif							/* SIGNALSMITH_OUTBOX_H */
