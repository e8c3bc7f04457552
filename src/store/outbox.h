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

#include "nodes/pg_list.h"
#include "utils/uuid.h"

#include "base/types.h"

#define BUNDLE_RECORDS 1000

/* The largest record that can be planned: key, identifier and data as JSON. */
#define RECORD_MAX_BYTES (256 * 1024 * 1024)

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
	int32		sequence;		/* ascending in the order of delivery */
	Operation	operation;
	int			record_count;
	int			batch_count;
	uint32	   *batch_ends;		/* index after the last record of each batch */
	pg_uuid_t	seed;
	int			key_width;
	RecordKey  *keys;
	uint64	   *hashes;
	Record	   *records;		/* slices into memory of the bundle */
	pg_uuid_t  *record_ids;		/* idempotency keys */
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

/* Bytes of a record, as OutboxLimits counts them. */
extern uint64 outbox_record_size(const Record *record);

/* Lives in CurrentMemoryContext.  One bundle an operation is open at a time. */
extern OutboxWriter *outbox_writer_create(int64 run_id, int key_width,
										  const OutboxLimits limits[OPERATION_COUNT]);

/*
 * Adds a change; may be called while the model's query runs.  A record larger
 * than RECORD_MAX_BYTES is an error (ERRCODE_PROGRAM_LIMIT_EXCEEDED): the
 * caller rejects such rows beforehand.
 */
extern void outbox_writer_add(OutboxWriter *writer, Operation operation,
							  RecordKey key, uint64 hash, const Record *record);

/*
 * Withdraws what has been added for the keys that the test is true for,
 * including in bundles already written.  Sets "withdrawn" to how many records of
 * each operation that were.  Not before the query has ended.
 */
extern void outbox_writer_withdraw(OutboxWriter *writer, KeyTest is_withdrawn,
								   void *arg, int64 withdrawn[OPERATION_COUNT]);

/*
 * Writes the open bundles, after the query has ended, and frees the writer.
 * Returns the number of batches in all, without those wholly withdrawn, and the
 * bytes written before compression.
 */
extern int64 outbox_writer_finish(OutboxWriter *writer, int64 *bytes_staged);

/* --- delivering: each in a short transaction --- */

/*
 * Reads the next bundle of a run after the given one, in the order of delivery:
 * deletes, then updates, then creates.  NULL for "after": the first; one with
 * sequence PG_INT32_MAX: the first of the next operation.  NULL when there is
 * no more.  The result is one palloc'ed tree in CurrentMemoryContext.
 * Needs no scope.
 */
extern Bundle *outbox_next_bundle(int64 run_id, const Bundle *after);

/*
 * The rest runs inside a scope.
 *
 * Records that a runner begins to send bundles that follow each other in the
 * outbox: attempts + 1, here and there.  Raises
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE when one is gone: then none must be
 * sent.
 */
extern void outbox_begin_bundles(Bundle **bundles, int count);

/* Stores the outcomes of a List of Bundle; deletes those with none open. */
extern void outbox_store_outcomes(int64 run_id, const List *bundles);

/* Deletes whatever a run has left. */
extern void outbox_discard(int64 run_id);

/* --- keys --- */

/*
 * The idempotency key of the batch of records first .. first + count - 1.
 * Needs no transaction.
 */
extern pg_uuid_t outbox_batch_id(const Bundle *bundle, int first, int count);

/* The idempotency key of one record, in whatever batch it travels. */
extern pg_uuid_t outbox_record_id(const Bundle *bundle, int index);

#endif							/* SIGNALSMITH_OUTBOX_H */
