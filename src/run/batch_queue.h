/*
 * batch_queue.h
 *		The batches of a run that are still to be sent, in order.
 *
 * Reads bundles from the outbox as they are needed, cuts them into batches, and
 * keeps those that have to be sent again.  An operation's batches come only
 * when those of the operation before it are settled: deletes free unique values
 * that updates take, updates those that creates take.
 */
#ifndef SIGNALSMITH_BATCH_QUEUE_H
#define SIGNALSMITH_BATCH_QUEUE_H

#include "postgres.h"

#include "lib/ilist.h"

#include "connector/connector.h"
#include "store/outbox.h"

typedef struct LoadedBundle
{
	dlist_node	node;
	Bundle	   *bundle;
	MemoryContext context;
	int			next_record;	/* what has been cut into batches so far */
	int			next_batch;
	int			open_records;
	int			batches;		/* that are out or waiting */
	struct RecordLookup *lookups;	/* of each record, see lookup.c; or NULL */
} LoadedBundle;

/*
 * A batch, or a part of one that was split: a range of a bundle's records.  Or a
 * lookup, which asks for some of them, here and there.
 */
typedef struct PendingBatch
{
	dlist_node	node;
	LoadedBundle *loaded;
	int			first;
	int			count;
	int		   *records;		/* of a lookup: their indexes */
	Operation	operation;		/* as it is sent: the bundle's at first */
	bool		fresh;			/* cut just now: it was never tried before */
	int			attempts;		/* of this runner */
	bool		ambiguous;		/* some attempt may have arrived */
	int64		token_generation;	/* of the access token it was sent with */
	bool		token_refused;	/* such a one, the last time */
	uint64		first_hash;		/* of the body, at the first attempt; 0: none yet */
	uint64		hash;			/* at the latest */
	int64		not_before_ms;	/* monotonic */
	bool		parked;			/* waits, or waited, for its partition */
	Batch	   *batch;			/* as it was rendered last */
	MemoryContext context;		/* holds this, batch and the request */
} PendingBatch;

typedef struct BatchQueue BatchQueue;

/*
 * Lives in CurrentMemoryContext.  read_ahead: bundles may be marked as begun a
 * little before anything of them is sent.
 */
extern BatchQueue *batch_queue_create(int64 run_id, bool without_deletes,
									  bool read_ahead);

/*
 * The next batch that may be sent now, or NULL.  May read bundles, in a short
 * transaction of its own.  The batch is the caller's until it is put back or
 * done.
 */
extern PendingBatch *batch_queue_next(BatchQueue *queue, int64 now_ms);

/* Nothing is left, neither here nor at the caller. */
extern bool batch_queue_is_done(BatchQueue *queue);

/* Milliseconds until a batch that waits may be sent; -1: none waits. */
extern int64 batch_queue_wait_ms(BatchQueue *queue, int64 now_ms);

/* To be sent again after a delay, as it is. */
extern void batch_queue_put_back(BatchQueue *queue, PendingBatch *batch,
								 int64 not_before_ms);

/* To wait until something of its bundle is known; see batch_queue_release. */
#define AWAITS_LOOKUP PG_INT64_MAX

/* Lets go of the batches of a bundle that await a lookup. */
extern void batch_queue_release(BatchQueue *queue, LoadedBundle *loaded);

/*
 * Queues a lookup, to be sent next.  The indexes are copied.  It is done with by
 * batch_queue_drop; it can be put back and split as any batch.
 */
extern void batch_queue_add_lookup(BatchQueue *queue, LoadedBundle *loaded,
								   const int *records, int count);
extern void batch_queue_drop(BatchQueue *queue, PendingBatch *batch);

/* To be sent as two batches, the first of them of that many records. */
extern void batch_queue_cut(BatchQueue *queue, PendingBatch *batch, int count);

/* To be sent as two halves: idempotency keys follow from the ranges. */
extern void batch_queue_split(BatchQueue *queue, PendingBatch *batch);

/*
 * Done with; the records that are still open go back as batches of neighbours,
 * with as many attempts behind them.
 */
extern void batch_queue_done(BatchQueue *queue, PendingBatch *batch,
							 int64 retry_not_before_ms);

/* Frees the bundles whose records are all settled, and recorded by now. */
extern void batch_queue_forget_settled(BatchQueue *queue);

/* The index in its bundle of a batch's, or a lookup's, record. */
static inline int
pending_record(const PendingBatch *batch, int index)
{
	return batch->records != NULL ? batch->records[index] : batch->first + index;
}

/* The bundle of a delivered answer has fewer open records now. */
static inline void
loaded_bundle_settled(LoadedBundle *loaded, int records)
{
	loaded->open_records -= records;
}

#endif							/* SIGNALSMITH_BATCH_QUEUE_H */
