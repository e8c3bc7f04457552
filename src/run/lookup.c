/*
 * lookup.c
 *		Asking the destination for what it calls a record, before it is changed.
 *
 * What is found is kept with the loaded bundle and nowhere else until the change
 * is acknowledged: after a crash it is asked for again.  A lookup asks for as
 * many records of the bundle as it may, whatever batches they are in; the batches
 * wait for it.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "base/backoff.h"
#include "run/answer.h"
#include "run/lookup.h"

typedef enum LookupState
{
	LOOKUP_NOT_DONE,
	LOOKUP_WANTED,				/* an answer says so */
	LOOKUP_UNDER_WAY,
	LOOKUP_FOUND,
	LOOKUP_ABSENT				/* the destination does not have the record */
} LookupState;

struct RecordLookup
{
	LookupState state;
	bool		repeated;		/* one repeat is all there is */
};

static struct RecordLookup *
record_lookup(LoadedBundle *loaded, int record)
{
	if (loaded->lookups == NULL)
		loaded->lookups = MemoryContextAllocZero(loaded->context,
												 loaded->bundle->record_count *
												 sizeof(struct RecordLookup));
	return &loaded->lookups[record];
}

static LookupState
lookup_state(const LoadedBundle *loaded, int record)
{
	return loaded->lookups == NULL ? LOOKUP_NOT_DONE : loaded->lookups[record].state;
}

/* --- before a batch is sent --- */

/*
 * Mode update sends what is known to be there: what no answer ever spoke of is
 * asked for.
 */
static bool
may_not_be_there(const Delivery *delivery, const LoadedBundle *loaded, int record)
{
	const Record *known = &loaded->bundle->records[record];

	return delivery->definition->mode == MODE_UPDATE &&
		loaded->bundle->operation == OPERATION_UPDATE &&
		known->id.length == 0 && known->version.length == 0;
}

/* Is the record to be asked for before it is sent? */
static bool
is_wanted(const Delivery *delivery, const LoadedBundle *loaded, int record)
{
	const Bundle *bundle = loaded->bundle;
	const Record *known = &bundle->records[record];

	if (bundle->outcomes[record] != OUTCOME_OPEN)
		return false;
	switch (lookup_state(loaded, record))
	{
		case LOOKUP_WANTED:
			return true;
		case LOOKUP_NOT_DONE:
			break;
		default:
			return false;
	}
	switch (connector_lookup_when(delivery->connector))
	{
		case LOOKUP_NEVER:
		case LOOKUP_ON_CONFLICT:
			return false;
		case LOOKUP_ALWAYS:
			return true;
		case LOOKUP_MISSING:
			break;
	}
	if (may_not_be_there(delivery, loaded, record))
		return true;
	return bundle->operation != OPERATION_CREATE &&
		((known->id.length == 0 &&
		  connector_needs_id(delivery->connector, bundle->operation)) ||
		 (known->version.length == 0 &&
		  connector_needs_version(delivery->connector, bundle->operation)));
}

/* Queues a lookup of the record and of those behind it that want one too. */
static void
begin_lookup(Delivery *delivery, LoadedBundle *loaded, int record)
{
	int			limit = connector_lookup_size(delivery->connector);
	int		   *records = palloc(limit * sizeof(int));
	int			count = 0;

	for (; record < loaded->bundle->record_count && count < limit; record++)
	{
		if (!is_wanted(delivery, loaded, record))
			continue;
		record_lookup(loaded, record)->state = LOOKUP_UNDER_WAY;
		records[count++] = record;
	}
	batch_queue_add_lookup(delivery->queue, loaded, records, count);
	pfree(records);
}

/* Does the batch have to wait for a lookup?  If so, sees to it. */
static bool
awaits_lookup(Delivery *delivery, PendingBatch *pending)
{
	bool		waits = false;

	for (int i = 0; i < pending->count; i++)
	{
		int			record = pending->first + i;

		if (is_wanted(delivery, pending->loaded, record))
			begin_lookup(delivery, pending->loaded, record);
		waits |= pending->loaded->bundle->outcomes[record] == OUTCOME_OPEN &&
			lookup_state(pending->loaded, record) == LOOKUP_UNDER_WAY;
	}
	return waits;
}

/* What is done to the record, given what a lookup has found. */
static Operation
record_operation(const Delivery *delivery, const PendingBatch *pending, int record)
{
	Operation	planned = pending->loaded->bundle->operation;

	switch (lookup_state(pending->loaded, record))
	{
		case LOOKUP_FOUND:
			return planned == OPERATION_CREATE ? OPERATION_UPDATE : planned;
		case LOOKUP_ABSENT:
			return planned == OPERATION_UPDATE ? OPERATION_CREATE : planned;
		default:
			return planned;
	}
}

/*
 * Settles a record for which there is nothing to do, or nothing that the mode
 * allows.
 */
static bool
settle_without_sending(Delivery *delivery, PendingBatch *pending, int index)
{
	LoadedBundle *loaded = pending->loaded;
	int			record = pending->first + index;
	Operation	planned = loaded->bundle->operation;
	Operation	operation = record_operation(delivery, pending, record);
	bool		is_absent = lookup_state(loaded, record) == LOOKUP_ABSENT;

	if (planned == OPERATION_DELETE && is_absent)
		delivery_acknowledge_record(delivery, pending, index, OPERATION_DELETE, NULL);
	else if (operation == planned)
		return false;
	else if (planned == OPERATION_CREATE && delivery->definition->mode == MODE_APPEND)
		delivery_leave_record(delivery, pending, index);
	else if (may_not_be_there(delivery, loaded, record))
		delivery_skip_record(delivery, pending, index);
	else if (planned == OPERATION_UPDATE && delivery->definition->mode == MODE_UPDATE)
		delivery_fail_record(delivery, pending, index, false, 0, "not_found",
							 "the destination no longer has the record, and mode update creates none");
	else if (!connector_has_operation(delivery->connector, operation))
		delivery_fail_record(delivery, pending, index, false, 0,
							 is_absent ? "not_found" : "exists",
							 is_absent ? "the destination no longer has the record, and has no create operation" :
							 "the destination has the record already, and has no update operation");
	else
		return false;
	return true;
}

/* Returns whether any record was settled. */
static bool
settle_what_need_not_be_sent(Delivery *delivery, PendingBatch *pending)
{
	bool		settled = false;

	for (int i = 0; i < pending->count; i++)
	{
		if (pending->loaded->bundle->outcomes[pending->first + i] != OUTCOME_OPEN ||
			settle_without_sending(delivery, pending, i))
			settled = true;
	}
	return settled;
}

bool
lookup_prepare_batch(Delivery *delivery, PendingBatch *pending)
{
	if (pending->loaded->lookups == NULL &&
		connector_lookup_when(delivery->connector) <= LOOKUP_ON_CONFLICT)
		return true;
	if (awaits_lookup(delivery, pending))
	{
		batch_queue_put_back(delivery->queue, pending, AWAITS_LOOKUP);
		return false;
	}
	if (settle_what_need_not_be_sent(delivery, pending))
	{
		batch_queue_done(delivery->queue, pending, 0);
		return false;
	}
	pending->operation = record_operation(delivery, pending, pending->first);
	for (int i = 1; i < pending->count; i++)
		if (record_operation(delivery, pending, pending->first + i) != pending->operation)
		{
			batch_queue_cut(delivery->queue, pending, i);
			return false;
		}
	return true;
}

/* --- answers to lookups --- */

static Slice
keep_slice(const LoadedBundle *loaded, Slice slice)
{
	char	   *copy = MemoryContextAlloc(loaded->context, slice.length + 1);

	memcpy(copy, slice.data, slice.length);
	return (Slice) {copy, slice.length};
}

/* What is known of the record from now on. */
static void
note_found(LoadedBundle *loaded, int record, const RecordOutcome *outcome)
{
	Record	   *known = &loaded->bundle->records[record];

	record_lookup(loaded, record)->state = LOOKUP_FOUND;
	if (outcome->id.length > 0)
		known->id = keep_slice(loaded, outcome->id);
	if (outcome->version.length > 0)
		known->version = keep_slice(loaded, outcome->version);
}

static void
note_absent(LoadedBundle *loaded, int record)
{
	Record	   *known = &loaded->bundle->records[record];

	record_lookup(loaded, record)->state = LOOKUP_ABSENT;
	known->id.length = 0;
	known->version.length = 0;
}

/*
 * Notes what the answer says of each record; those that it does not settle are
 * asked for again.
 */
static void
take_outcomes(Delivery *delivery, PendingBatch *lookup, const HttpAnswer *answer,
			  const RecordOutcome *outcomes, bool give_up)
{
	LoadedBundle *loaded = lookup->loaded;

	for (int i = 0; i < lookup->count; i++)
	{
		int			record = lookup->records[i];
		const RecordOutcome *outcome = &outcomes[i];

		switch (outcome->class)
		{
			case CLASS_OK:
				note_found(loaded, record, outcome);
				break;
			case CLASS_GONE_OK:
				note_absent(loaded, record);
				break;
			case CLASS_THROTTLED:
			case CLASS_AUTH:
			case CLASS_FATAL:
				record_lookup(loaded, record)->state = LOOKUP_WANTED;
				break;
			case CLASS_RETRY:
			case CLASS_UNKNOWN:
				if (!give_up)
				{
					record_lookup(loaded, record)->state = LOOKUP_WANTED;
					break;
				}
				/* FALLTHROUGH */
			default:
				delivery_fail_record(delivery, lookup, i, false, answer->status,
									 "lookup_failed",
									 describe_outcome(delivery, answer, outcome));
				break;
		}
	}
}

/* Those of a lookup that are still wanted, as one of the same age. */
static void
ask_again(Delivery *delivery, PendingBatch *lookup, int64 not_before_ms)
{
	int			count = 0;

	for (int i = 0; i < lookup->count; i++)
	{
		struct RecordLookup *record = record_lookup(lookup->loaded, lookup->records[i]);

		if (record->state != LOOKUP_WANTED)
			continue;
		record->state = LOOKUP_UNDER_WAY;
		lookup->records[count++] = lookup->records[i];
	}
	lookup->count = count;
	if (count > 0)
		batch_queue_put_back(delivery->queue, lookup, not_before_ms);
	else
		batch_queue_drop(delivery->queue, lookup);
}

void
lookup_handle_answer(Delivery *delivery, PendingBatch *lookup, const HttpAnswer *answer)
{
	LoadedBundle *loaded = lookup->loaded;
	RecordOutcome *outcomes = palloc0(lookup->count * sizeof(RecordOutcome));
	int64		delay_ms;

	delay_ms = attribute_answer(delivery, lookup, answer, outcomes);
	if (lookup->count > 1 && outcomes_are(outcomes, lookup->count, CLASS_REJECT_BATCH,
										  CLASS_TOO_LARGE))
	{
		batch_queue_split(delivery->queue, lookup);
		return;
	}
	take_outcomes(delivery, lookup, answer, outcomes,
				  lookup->attempts >= delivery->definition->max_attempts);
	ask_again(delivery, lookup, monotonic_ms() + delay_ms);
	batch_queue_release(delivery->queue, loaded);
}

/* --- answers that a lookup can repair --- */

/* A create of what exists becomes an update, once its id is known. */
static bool
repair_existing(Delivery *delivery, LoadedBundle *loaded, int record,
				const RecordOutcome *outcome)
{
	const Connector *connector = delivery->connector;
	bool		lacks_id = outcome->id.length == 0 &&
	connector_needs_id(connector, OPERATION_UPDATE);
	bool		lacks_version = outcome->version.length == 0 &&
	connector_needs_version(connector, OPERATION_UPDATE);

	if (connector_lookup_when(connector) != LOOKUP_NEVER &&
		(lacks_id || lacks_version || !connector_updates_otherwise(connector)))
	{
		record_lookup(loaded, record)->state = LOOKUP_WANTED;
		return true;
	}
	if (lacks_id || lacks_version || !connector_updates_otherwise(connector))
		return false;
	note_found(loaded, record, outcome);
	return true;
}

bool
lookup_repair(Delivery *delivery, PendingBatch *pending, int index,
			  const RecordOutcome *outcome)
{
	LoadedBundle *loaded = pending->loaded;
	int			record = pending_record(pending, index);

	if (record_lookup(loaded, record)->repeated)
		return false;
	record_lookup(loaded, record)->repeated = true;
	if (outcome->class == CLASS_EXISTS && loaded->bundle->operation == OPERATION_CREATE)
		return repair_existing(delivery, loaded, record, outcome);
	if (connector_lookup_when(delivery->connector) != LOOKUP_NEVER)
		record_lookup(loaded, record)->state = LOOKUP_WANTED;
	else if (outcome->version.length > 0)
		note_found(loaded, record, outcome);
	else
		return false;
	return true;
}

/* --- keys --- */

uint64
lookup_revision(const PendingBatch *pending, int index)
{
	const LoadedBundle *loaded = pending->loaded;
	int			record = pending_record(pending, index);
	LookupState state = lookup_state(loaded, record);
	const Record *known = &loaded->bundle->records[record];
	uint64		revision = state;

	if (state != LOOKUP_FOUND && state != LOOKUP_ABSENT)
		return 0;
	revision = hash_bytes_extended((const unsigned char *) known->id.data,
								   known->id.length, revision);
	return hash_bytes_extended((const unsigned char *) known->version.data,
							   known->version.length, revision);
}
