/*
 * batch_queue.c
 *		The batches of a run that are still to be sent, in order.
 *
 * Memory is bounded by the number of bundles loaded, whatever the size of the
 * plan: while MAX_LOADED of them have something open, no further one is read.
 * Several are read at a time, since that a runner begins them is committed
 * before anything of them is sent, and a commit costs a flush of the log.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "run/batch_queue.h"
#include "store/scope.h"
#include "store/transaction.h"

#define MAX_LOADED 16

/* Bundles read at a time: so many, or until they have so many bytes. */
#define READ_AHEAD 8
#define READ_AHEAD_BYTES (8 * 1024 * 1024)

struct BatchQueue
{
	int64		run_id;
	MemoryContext context;
	dlist_head	loaded;			/* of LoadedBundle, oldest first */
	int			loaded_count;
	dlist_head	begun;			/* of LoadedBundle, whose turn has not come */
	int			read_ahead;		/* how many to read at a time */
	Bundle		last_read;		/* where to go on in the outbox */
	bool		any_read;
	bool		all_read;
	dlist_head	waiting;		/* of PendingBatch, to be sent again */
	int			out;			/* batches at the caller */
};

BatchQueue *
batch_queue_create(int64 run_id, bool without_deletes, bool read_ahead)
{
	BatchQueue *queue = palloc0(sizeof(BatchQueue));

	queue->run_id = run_id;
	queue->context = CurrentMemoryContext;
	queue->read_ahead = read_ahead ? READ_AHEAD : 1;
	dlist_init(&queue->loaded);
	dlist_init(&queue->begun);
	dlist_init(&queue->waiting);
	if (without_deletes)
	{
		/* Deletes come first: start after the last of them. */
		queue->last_read.run_id = run_id;
		queue->last_read.operation = OPERATION_DELETE;
		queue->last_read.sequence = PG_INT32_MAX;
		queue->any_read = true;
	}
	return queue;
}

/* --- reading bundles --- */

static int
count_open(const Bundle *bundle)
{
	int			open = 0;

	for (int i = 0; i < bundle->record_count; i++)
		open += bundle->outcomes[i] == OUTCOME_OPEN;
	return open;
}

/* The next one of the outbox, in a context of its own; NULL: there is none. */
static LoadedBundle *
read_bundle(BatchQueue *queue)
{
	MemoryContext context = AllocSetContextCreate(queue->context,
												  "signalsmith bundle",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	LoadedBundle *loaded = NULL;
	Bundle	   *bundle = outbox_next_bundle(queue->run_id,
											queue->any_read ? &queue->last_read : NULL);

	if (bundle)
	{
		loaded = palloc0(sizeof(LoadedBundle));
		loaded->bundle = bundle;
		loaded->context = context;
		loaded->open_records = count_open(bundle);
		queue->last_read = *bundle;
		queue->any_read = true;
	}
	MemoryContextSwitchTo(old_context);
	if (loaded == NULL)
		MemoryContextDelete(context);
	return loaded;
}

/* Reads some, of one operation but for the last, and notes that they begin. */
static void
read_bundles(BatchQueue *queue)
{
	Bundle	   *bundles[READ_AHEAD];
	int			count = 0;
	Size		bytes = 0;
	Scope		scope;

	transaction_begin();
	scope_enter(&scope);
	while (count < queue->read_ahead && bytes < READ_AHEAD_BYTES &&
		   (count == 0 || bundles[count - 1]->operation == bundles[0]->operation))
	{
		LoadedBundle *loaded = read_bundle(queue);

		queue->all_read = loaded == NULL;
		if (loaded == NULL)
			break;
		dlist_push_tail(&queue->begun, &loaded->node);
		bundles[count++] = loaded->bundle;
		bytes += MemoryContextMemAllocated(loaded->context, true);
	}
	if (count > 0)
		outbox_begin_bundles(bundles, count);
	scope_leave(&scope);
	transaction_commit();
	MemoryContextSwitchTo(queue->context);
}

static bool
anything_open(BatchQueue *queue)
{
	dlist_iter	iter;

	dlist_foreach(iter, &queue->loaded)
	{
		if (dlist_container(LoadedBundle, node, iter.cur)->open_records > 0)
			return true;
	}
	return false;
}

static Operation
current_operation(BatchQueue *queue)
{
	return dlist_tail_element(LoadedBundle, node, &queue->loaded)->bundle->operation;
}

/* Takes one more bundle, if there is one and its turn has come. */
static bool
load_bundle(BatchQueue *queue)
{
	LoadedBundle *loaded;

	if (queue->loaded_count >= MAX_LOADED)
		return false;
	if (dlist_is_empty(&queue->begun) && !queue->all_read)
		read_bundles(queue);
	if (dlist_is_empty(&queue->begun))
		return false;
	loaded = dlist_head_element(LoadedBundle, node, &queue->begun);
	if (anything_open(queue) &&
		loaded->bundle->operation != current_operation(queue))
		return false;
	dlist_delete(&loaded->node);
	dlist_push_tail(&queue->loaded, &loaded->node);
	queue->loaded_count++;
	return true;
}

/* --- cutting batches --- */

static PendingBatch *
make_batch(BatchQueue *queue, LoadedBundle *loaded, int first, int count)
{
	MemoryContext context = AllocSetContextCreate(queue->context,
												  "signalsmith batch",
												  ALLOCSET_START_SMALL_SIZES);
	PendingBatch *batch = MemoryContextAllocZero(context, sizeof(PendingBatch));

	batch->loaded = loaded;
	batch->first = first;
	batch->count = count;
	batch->operation = loaded->bundle->operation;
	batch->context = context;
	loaded->batches++;
	return batch;
}

/* The same records once more. */
static PendingBatch *
copy_batch(BatchQueue *queue, const PendingBatch *batch, int first, int count)
{
	PendingBatch *copy = make_batch(queue, batch->loaded, batch->first + first, count);

	copy->attempts = batch->attempts;
	copy->ambiguous = batch->ambiguous;
	if (count == batch->count)
		copy->first_hash = batch->first_hash;
	if (batch->records != NULL)
	{
		copy->records = MemoryContextAlloc(copy->context, count * sizeof(int));
		memcpy(copy->records, batch->records + first, count * sizeof(int));
	}
	return copy;
}

static int
count_open_in_range(const Bundle *bundle, int first, int count)
{
	int			open = 0;

	for (int i = first; i < first + count; i++)
		open += bundle->outcomes[i] == OUTCOME_OPEN;
	return open;
}

/*
 * Queues what is open in a range that an earlier runner may have split: the
 * parts it would have come to, so that each is sent with the key it had.
 */
static void
queue_open_parts(BatchQueue *queue, LoadedBundle *loaded, int first, int count)
{
	int			open = count_open_in_range(loaded->bundle, first, count);

	if (open == 0)
		return;
	if (open == count)
	{
		PendingBatch *batch = make_batch(queue, loaded, first, count);

		dlist_push_tail(&queue->waiting, &batch->node);
		return;
	}
	queue_open_parts(queue, loaded, first, count / 2);
	queue_open_parts(queue, loaded, first + count / 2, count - count / 2);
}

/* Cuts the next batch of a bundle; NULL when it is used up. */
static PendingBatch *
cut_batch(BatchQueue *queue, LoadedBundle *loaded)
{
	Bundle	   *bundle = loaded->bundle;

	while (loaded->next_batch < bundle->batch_count)
	{
		int			first = loaded->next_record;
		int			count = (int) bundle->batch_ends[loaded->next_batch] - first;
		int			open = count_open_in_range(bundle, first, count);

		loaded->next_record += count;
		loaded->next_batch++;
		if (open == count)
		{
			PendingBatch *batch = make_batch(queue, loaded, first, count);

			batch->fresh = true;
			return batch;
		}
		queue_open_parts(queue, loaded, first, count);
	}
	return NULL;
}

static PendingBatch *
next_waiting(BatchQueue *queue, int64 now_ms)
{
	dlist_iter	iter;

	dlist_foreach(iter, &queue->waiting)
	{
		PendingBatch *batch = dlist_container(PendingBatch, node, iter.cur);

		if (batch->not_before_ms <= now_ms)
		{
			dlist_delete(&batch->node);
			return batch;
		}
	}
	return NULL;
}

static PendingBatch *
next_fresh(BatchQueue *queue)
{
	do
	{
		dlist_iter	iter;

		dlist_foreach(iter, &queue->loaded)
		{
			PendingBatch *batch = cut_batch(queue, dlist_container(LoadedBundle, node, iter.cur));

			if (batch)
				return batch;
		}
	} while (load_bundle(queue));
	return NULL;
}

PendingBatch *
batch_queue_next(BatchQueue *queue, int64 now_ms)
{
	PendingBatch *batch = next_waiting(queue, now_ms);

	if (batch == NULL)
		batch = next_fresh(queue);
	if (batch == NULL)
		batch = next_waiting(queue, now_ms);	/* cutting may have queued some */
	if (batch)
		queue->out++;
	return batch;
}

/* --- what became of them --- */

bool
batch_queue_is_done(BatchQueue *queue)
{
	return queue->all_read && dlist_is_empty(&queue->begun) &&
		queue->out == 0 && dlist_is_empty(&queue->waiting) &&
		!anything_open(queue);
}

int64
batch_queue_wait_ms(BatchQueue *queue, int64 now_ms)
{
	int64		wait_ms = -1;
	dlist_iter	iter;

	dlist_foreach(iter, &queue->waiting)
	{
		PendingBatch *batch = dlist_container(PendingBatch, node, iter.cur);
		int64		batch_ms = Max(0, batch->not_before_ms - now_ms);

		if (batch->not_before_ms == AWAITS_LOOKUP)
			continue;
		wait_ms = wait_ms < 0 ? batch_ms : Min(wait_ms, batch_ms);
	}
	return wait_ms;
}

void
batch_queue_drop(BatchQueue *queue, PendingBatch *batch)
{
	queue->out--;
	batch->loaded->batches--;
	MemoryContextDelete(batch->context);
}

void
batch_queue_put_back(BatchQueue *queue, PendingBatch *batch, int64 not_before_ms)
{
	PendingBatch *again = copy_batch(queue, batch, 0, batch->count);

	again->not_before_ms = not_before_ms;
	dlist_push_tail(&queue->waiting, &again->node);
	batch_queue_drop(queue, batch);
}

void
batch_queue_cut(BatchQueue *queue, PendingBatch *batch, int count)
{
	PendingBatch *left = copy_batch(queue, batch, 0, count);
	PendingBatch *right = copy_batch(queue, batch, count, batch->count - count);

	dlist_push_tail(&queue->waiting, &left->node);
	dlist_push_tail(&queue->waiting, &right->node);
	batch_queue_drop(queue, batch);
}

/* What was refused as a whole has not arrived: the halves start afresh. */
void
batch_queue_split(BatchQueue *queue, PendingBatch *batch)
{
	batch->attempts = 0;
	batch->ambiguous = false;
	batch_queue_cut(queue, batch, batch->count / 2);
}

void
batch_queue_add_lookup(BatchQueue *queue, LoadedBundle *loaded, const int *records, int count)
{
	PendingBatch *lookup = make_batch(queue, loaded, 0, count);

	lookup->records = MemoryContextAlloc(lookup->context, count * sizeof(int));
	memcpy(lookup->records, records, count * sizeof(int));
	dlist_push_head(&queue->waiting, &lookup->node);
}

void
batch_queue_release(BatchQueue *queue, LoadedBundle *loaded)
{
	dlist_iter	iter;

	dlist_foreach(iter, &queue->waiting)
	{
		PendingBatch *batch = dlist_container(PendingBatch, node, iter.cur);

		if (batch->loaded == loaded && batch->not_before_ms == AWAITS_LOOKUP)
			batch->not_before_ms = 0;
	}
}

void
batch_queue_done(BatchQueue *queue, PendingBatch *batch, int64 retry_not_before_ms)
{
	const Bundle *bundle = batch->loaded->bundle;
	int			end = batch->first + batch->count;
	int			index = batch->first;

	while (index < end)
	{
		int			first = index;

		while (index < end && bundle->outcomes[index] == OUTCOME_OPEN)
			index++;
		if (index > first)
		{
			PendingBatch *part = copy_batch(queue, batch, first - batch->first,
											index - first);

			part->not_before_ms = retry_not_before_ms;
			dlist_push_tail(&queue->waiting, &part->node);
		}
		else
			index++;
	}
	batch_queue_drop(queue, batch);
}

void
batch_queue_forget_settled(BatchQueue *queue)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &queue->loaded)
	{
		LoadedBundle *loaded = dlist_container(LoadedBundle, node, iter.cur);

		if (loaded->open_records > 0 || loaded->batches > 0)
			continue;
		dlist_delete(&loaded->node);
		queue->loaded_count--;
		MemoryContextDelete(loaded->context);
	}
}
