/*
 * acknowledgement.c
 *		What answers have settled, recorded in groups.
 *
 * Grouping is what makes small batches affordable: a commit costs a flush of
 * the log.  A group is recorded once it has GROUP_RECORDS records or is
 * GROUP_MS old, and its oldest answer waits no longer than that.
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "utils/memutils.h"

#include "base/backoff.h"
#include "base/fault.h"
#include "run/acknowledgement.h"
#include "store/scope.h"
#include "store/snapshot.h"
#include "store/transaction.h"

#define GROUP_RECORDS 16000
#define GROUP_MS 200

/* A run that waits renews its lease this often. */
#define HEARTBEAT_MS (LEASE_SECONDS * 1000 / 3)

struct AcknowledgementGroup
{
	const RunClaim *claim;
	bool		supersedes;		/* these keys may be in the snapshot already */
	SegmentBuilder *segment;
	MemoryContext context;		/* of the group: emptied when recorded */
	List	   *failures;		/* of RowFailure */
	List	   *bundles;		/* of Bundle, whose outcomes have changed */
	RunDeliveryFigures figures;
	int			records;
	bool		pending;		/* anything to record */
	int64		began_ms;
	int64		clock_ms;		/* up to when deliver_ms has been counted */
	int64		written_ms;		/* the same, once what is written commits */
	int			lease_seconds;
};

AcknowledgementGroup *
acknowledgement_group_create(const RunClaim *claim, int key_width,
							 bool with_identities, bool supersedes)
{
	AcknowledgementGroup *group = palloc0(sizeof(AcknowledgementGroup));

	group->claim = claim;
	group->supersedes = supersedes;
	group->segment = segment_builder_create(claim->sync_id, key_width,
											with_identities);
	group->context = AllocSetContextCreate(CurrentMemoryContext,
										   "signalsmith acknowledgements",
										   ALLOCSET_DEFAULT_SIZES);
	group->clock_ms = monotonic_ms();
	group->lease_seconds = LEASE_SECONDS;
	return group;
}

static void
touch_group(AcknowledgementGroup *group)
{
	if (!group->pending)
		group->began_ms = monotonic_ms();
	group->pending = true;
}

/* The outcome of one record, in its bundle. */
static void
settle_record(AcknowledgementGroup *group, Bundle *bundle, int index, uint8 outcome)
{
	MemoryContext old_context = MemoryContextSwitchTo(group->context);

	Assert(bundle->outcomes[index] == OUTCOME_OPEN);
	bundle->outcomes[index] = outcome;
	if (group->bundles == NIL || llast(group->bundles) != bundle)
		group->bundles = list_append_unique_ptr(group->bundles, bundle);
	group->records++;
	touch_group(group);
	MemoryContextSwitchTo(old_context);
}

/* What is now known of a record at the destination. */
static void
note_snapshot(AcknowledgementGroup *group, Bundle *bundle, int index, uint64 hash)
{
	segment_builder_add(group->segment, bundle->keys[index], hash,
						&bundle->records[index], group->supersedes || bundle->operation != OPERATION_CREATE);
}

void
acknowledge_record(AcknowledgementGroup *group, Bundle *bundle, int index,
				   Operation operation)
{
	bool		deleted = operation == OPERATION_DELETE;

	settle_record(group, bundle, index, OUTCOME_ACKNOWLEDGED);
	group->figures.confirmed[operation]++;
	note_snapshot(group, bundle, index,
				  deleted ? ROW_HASH_DELETED : bundle->hashes[index]);
}

void
leave_record(AcknowledgementGroup *group, Bundle *bundle, int index)
{
	settle_record(group, bundle, index, OUTCOME_ACKNOWLEDGED);
	note_snapshot(group, bundle, index, bundle->hashes[index]);
}

/* The destination does not have it: the next run asks again. */
void
skip_record(AcknowledgementGroup *group, Bundle *bundle, int index)
{
	settle_record(group, bundle, index, OUTCOME_ACKNOWLEDGED);
}

/*
 * A rejected row leaves the snapshot as it was: the destination has not
 * changed, and the next run plans it again.  An unknown one marks it unknown,
 * so that it is sent again even if the row goes back to what it was.
 */
void
fail_record(AcknowledgementGroup *group, Bundle *bundle, int index, bool unknown,
			int attempts, int http_status, const char *code, const char *message)
{
	MemoryContext old_context;
	RowFailure *failure;

	settle_record(group, bundle, index, OUTCOME_FAILED);
	group->figures.failed++;

	old_context = MemoryContextSwitchTo(group->context);
	failure = palloc0(sizeof(RowFailure));
	failure->operation = bundle->operation;
	failure->key.length = bundle->records[index].key.length;
	failure->key.data = pnstrdup(bundle->records[index].key.data,
								 bundle->records[index].key.length);
	failure->unknown = unknown;
	failure->attempts = attempts;
	failure->http_status = http_status;
	failure->code = code ? pstrdup(code) : NULL;
	failure->message = message ? pstrdup(message) : NULL;
	failure->skippable = true;
	failure->packed_key = bundle->keys[index];
	failure->row_hash = bundle->hashes[index];
	group->failures = lappend(group->failures, failure);
	MemoryContextSwitchTo(old_context);

	if (unknown)
		note_snapshot(group, bundle, index,
					  bundle->operation == OPERATION_UPDATE ?
					  ROW_HASH_UNKNOWN : ROW_HASH_MAYBE);
}

void
acknowledgement_count_request(AcknowledgementGroup *group, int requests,
							  int64 bytes, int64 microseconds, bool new_batch)
{
	group->figures.requests += requests;
	group->figures.bytes_sent += bytes;
	group->figures.batches += new_batch ? 1 : 0;
	group->figures.request_times[request_time_bucket(microseconds)]++;
	touch_group(group);
}

int64
acknowledgement_wait_ms(const AcknowledgementGroup *group)
{
	int64		due_ms = group->clock_ms + HEARTBEAT_MS;

	if (group->records >= GROUP_RECORDS)
		return 0;
	if (group->pending)
		due_ms = Min(due_ms, group->began_ms + GROUP_MS);
	return Max(0, due_ms - monotonic_ms());
}

bool
acknowledgement_pending(const AcknowledgementGroup *group)
{
	return group->pending;
}

static void
empty_group(AcknowledgementGroup *group)
{
	group->failures = NIL;
	group->bundles = NIL;
	group->records = 0;
	group->pending = false;
	memset(&group->figures, 0, sizeof(group->figures));
	MemoryContextReset(group->context);
}

void
acknowledgement_write(AcknowledgementGroup *group)
{
	Scope		scope;

	group->written_ms = monotonic_ms();
	group->figures.deliver_ms = group->written_ms - group->clock_ms;
	group->figures.lease_seconds = group->lease_seconds;

	FAULT_POINT("before-acknowledgement");
	scope_enter(&scope);
	if (!run_record_progress(group->claim, &group->figures))
		run_lease_lost(group->claim);
	segment_builder_flush(group->segment);
	row_failure_insert(group->claim->run_id, group->claim->sync_id,
					   group->failures);
	outbox_store_outcomes(group->claim->run_id, group->bundles);
	scope_leave(&scope);
}

void
acknowledgement_written(AcknowledgementGroup *group)
{
	FAULT_POINT("after-acknowledgement");
	group->clock_ms = group->written_ms;
	empty_group(group);
}

void
acknowledgement_discard(AcknowledgementGroup *group)
{
	segment_builder_clear(group->segment);
	empty_group(group);
}

void
acknowledgement_lease(AcknowledgementGroup *group, int seconds)
{
	group->lease_seconds = seconds;
}

void
acknowledgement_record(AcknowledgementGroup *group)
{
	transaction_begin();
	acknowledgement_write(group);
	transaction_commit();
	acknowledgement_written(group);
}
