/*
 * changes.c
 *		What becomes of rows that are not as they were.
 *
 * The sync's mode decides which changes are planned; a row that cannot be sent
 * is rejected, with a reason, and the run goes on.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/fault.h"
#include "plan/identity.h"
#include "plan/planner.h"

static const Slice no_slice = {"", 0};

#define no_record {{"", 0}, {"", 0}, {"", 0}, {"", 0}, {"", 0}}

static void
plan_change(Planner *planner, PlannedChange *change)
{
	planner->sink->change(planner->sink, change);
	planner->figures->changes[change->operation]++;
}

static void
reject_row(Planner *planner, const RejectedRow *row)
{
	planner->sink->reject(planner->sink, row);
	planner->figures->rows_rejected++;
}

/* A change that cannot be made, of a row that can be told from others. */
static void
reject_change(Planner *planner, const PlannedChange *change, const char *code,
			  const char *message)
{
	RejectedRow row = {
		.operation = change->operation,
		.key = change->record.key,
		.skippable = true,
		.packed_key = change->key,
		.hash = change->hash,
		.code = code,
		.message = message
	};

	reject_row(planner, &row);
}

/* Did it fail before, and has somebody accepted that? */
static bool
is_skipped(Planner *planner, RecordKey key, uint64 hash)
{
	SkipList   *skips = planner->options->skips;

	if (skips == NULL || !skip_list_meets(skips, key, hash))
		return false;
	planner->figures->rows_skipped++;
	return true;
}

bool
planner_leaves_alone(const Planner *planner, bool known)
{
	switch (planner->definition->mode)
	{
		case MODE_APPEND:
			return known;
		case MODE_UPDATE:
			return !known && !planner->options->update_unknown;
		default:
			return false;
	}
}

Operation
planner_operation(const Planner *planner, bool known)
{
	return known || planner->definition->mode == MODE_UPDATE ?
		OPERATION_UPDATE : OPERATION_CREATE;
}

static bool
render_record(Planner *planner, const Datum *values, const bool *nulls,
			  Record *record, RecordProblem *problem)
{
	record->key = no_slice;
	record->id = no_slice;
	record->version = no_slice;
	return record_write_key(planner->writer, values, nulls, &record->key, problem) &&
		record_write_identifier(planner->writer, values, nulls, &record->identifier, problem) &&
		record_write_data(planner->writer, values, nulls, &record->data, problem);
}

/* The identity that the destination knows an entry's record by, if stored. */
static bool
read_identity(Planner *planner, uint32 entry, Record *identity)
{
	const SnapshotMap *map = planner->diff->map;
	const SegmentStart *segment = &map->segments[snapshot_map_segment(map, entry)];
	MemoryContext old_context = MemoryContextSwitchTo(planner->context);
	bool		found;

	if (planner->identities == NULL)
		planner->identities = identity_reader_create(planner->definition->sync_id);
	found = segment_read_identity(planner->identities, segment->segment_id,
								  (int) (entry - segment->first), identity);
	MemoryContextSwitchTo(old_context);
	return found;
}

static bool
slices_equal(Slice a, Slice b)
{
	return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

/* What the destination calls an entry's record, and its version, if stored. */
static void
add_id(Planner *planner, uint32 entry, Record *record)
{
	Record		identity;

	if (!planner->options->with_ids || entry >= planner->diff->map->entry_count ||
		!read_identity(planner, entry, &identity))
		return;
	record->id = identity.id;
	record->version = identity.version;
}

/*
 * In a mirror, a record whose identifier has changed is another record at the
 * destination: the old one goes, the new one comes.  Returns whether that is
 * so.
 */
static bool
plan_delete_of_old_identity(Planner *planner, const PlannedChange *change, uint32 entry)
{
	PlannedChange delete = {.record = no_record};

	if (planner->definition->mode != MODE_MIRROR || !planner->stores_identities ||
		entry >= planner->diff->map->entry_count ||
		!read_identity(planner, entry, &delete.record) ||
		slices_equal(delete.record.identifier, change->record.identifier))
		return false;

	delete.operation = OPERATION_DELETE;
	delete.key = change->key;
	delete.hash = ROW_HASH_DELETED;
	plan_change(planner, &delete);
	return true;
}

bool
planner_changed_row(Planner *planner, const Datum *values, const bool *nulls,
					RecordKey key, uint64 hash, uint32 entry, bool known)
{
	PlannedChange change = {0};
	RecordProblem problem;

	if (planner_leaves_alone(planner, known))
	{
		planner->figures->rows_left_alone++;
		return true;
	}
	if (is_skipped(planner, key, hash))
		return true;

	change.operation = planner_operation(planner, known);
	change.key = key;
	change.hash = hash;
	if (!render_record(planner, values, nulls, &change.record, &problem))
	{
		reject_change(planner, &change, value_status_code(problem.status),
					  psprintf(problem.in_key ? "key column \"%s\" %s" : "field \"%s\" %s",
							   problem.field, value_status_reason(problem.status)));
		return false;
	}

	if (plan_delete_of_old_identity(planner, &change, entry))
	{
		change.operation = OPERATION_CREATE;
		planner->figures->creates_supersede = true;
	}
	else if (known)
		add_id(planner, entry, &change.record);
	plan_change(planner, &change);
	return true;
}

/* None of the rows of one key is sent, since nobody could say which. */
void
planner_repeated_row(Planner *planner, const Datum *values, const bool *nulls,
					 bool known, int rows)
{
	RejectedRow row = {
		.operation = known ? OPERATION_UPDATE : OPERATION_CREATE,
		.key = no_slice,
		.code = "duplicate_key",
		.message = _("duplicate key: another row of the model has the same one")
	};
	RecordProblem problem;

	(void) record_write_key(planner->writer, values, nulls, &row.key, &problem);
	for (int i = 0; i < rows; i++)
		reject_row(planner, &row);
}

void
planner_keyless_row(Planner *planner, const Datum *values, const bool *nulls)
{
	RejectedRow row = {
		.operation = OPERATION_CREATE,
		.key = no_slice,
		.code = "null_key",
		.message = _("a key column is NULL")
	};
	RecordProblem problem;

	(void) record_write_key(planner->writer, values, nulls, &row.key, &problem);
	reject_row(planner, &row);
}

static bool
is_rejected(void *planner, RecordKey key)
{
	return diff_whole_is_rejected(((Planner *) planner)->diff, key);
}

void
planner_withdraw_repeated(Planner *planner)
{
	int64	   *withdrawn = planner->withdrawn;

	if (withdrawn[OPERATION_CREATE] + withdrawn[OPERATION_UPDATE] == 0)
		return;
	diff_whole_complete(planner->diff);
	planner->sink->withdraw(planner->sink, is_rejected, planner, withdrawn);
	for (int i = 0; i < OPERATION_COUNT; i++)
		planner->figures->changes[i] -= withdrawn[i];
}

static void
plan_delete(Planner *planner, RecordKey key, uint32 entry, StringInfo key_text,
			StringInfo identifier_text)
{
	const SyncDefinition *definition = planner->definition;
	bool		exact = identity_key_is_exact(definition);
	bool		has_identity = false;
	PlannedChange change = {.record = no_record};

	change.operation = OPERATION_DELETE;
	change.key = key;
	change.hash = ROW_HASH_DELETED;
	if (is_skipped(planner, key, change.hash))
		return;

	if (planner->stores_identities)
		has_identity = read_identity(planner, entry, &change.record);
	else
		add_id(planner, entry, &change.record);
	if (exact)
	{
		resetStringInfo(key_text);
		identity_append_key(definition, change.key, key_text);
		change.record.key.data = key_text->data;
		change.record.key.length = key_text->len;
	}
	if (!planner->stores_identities)
	{
		resetStringInfo(identifier_text);
		identity_append_value(definition, change.key, identifier_text);
		change.record.identifier.data = identifier_text->data;
		change.record.identifier.length = identifier_text->len;
	}
	else if (!has_identity)
	{
		reject_change(planner, &change, "no_identity",
					  _("the record was sent before its identifier was stored; it cannot be deleted"));
		return;
	}
	plan_change(planner, &change);
}

/* What the deletes of unseen entries need, one after the other. */
typedef struct UnseenDeletes
{
	Planner    *planner;
	StringInfoData key_text;
	StringInfoData identifier_text;
} UnseenDeletes;

static void
delete_entry(UnseenDeletes *deletes, RecordKey key, uint32 entry)
{
	Planner    *planner = deletes->planner;
	MemoryContext old_context = MemoryContextSwitchTo(planner->row_context);

	CHECK_FOR_INTERRUPTS();
	FAULT_POINT("plan-delete");
	plan_delete(planner, key, entry, &deletes->key_text, &deletes->identifier_text);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(planner->row_context);
}

static void
delete_unseen_of_whole(UnseenDeletes *deletes, Diff *diff)
{
	bool		complete = false;

	for (uint32 entry = 0; entry < diff->map->entry_count; entry++)
	{
		if (diff_state(diff, entry) != ENTRY_UNSEEN ||
			key_table_value(diff->table, entry) == ROW_HASH_DELETED)
			continue;
		if (!complete)
			diff_whole_complete(diff);
		complete = true;
		if (!diff_whole_is_superseded(diff, entry))
			delete_entry(deletes, key_table_key(diff->table, entry), entry);
	}
}

static void
delete_unseen_of_stream(UnseenDeletes *deletes, const Diff *diff)
{
	SegmentScan *scan = segment_scan_begin(diff->map->sync_id, PG_INT64_MIN);
	Segment    *segment;

	for (int i = 0; (segment = segment_scan_next(scan)) != NULL; i++)
	{
		uint32		first = diff->map->segments[i].first;

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < segment->count; j++)
			if (diff_state(diff, first + j) == ENTRY_UNSEEN)
				delete_entry(deletes, segment_key(segment, j), first + j);
	}
	segment_scan_end(scan);
}

void
planner_delete_unseen(Planner *planner)
{
	UnseenDeletes deletes;

	deletes.planner = planner;
	initStringInfo(&deletes.key_text);
	initStringInfo(&deletes.identifier_text);
	if (planner->diff->streaming)
		delete_unseen_of_stream(&deletes, planner->diff);
	else
		delete_unseen_of_whole(&deletes, planner->diff);
}
